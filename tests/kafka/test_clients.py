"""Client configurations: what the operator says, what the roles insist on."""

from __future__ import annotations

import logging

from confluent_kafka import Consumer, Producer

from orchestrator.kafka.clients import (
    Calm,
    admin_config,
    bootstrap_servers,
    consumer_config,
    producer_config,
)
from orchestrator.settings import Settings


def kafka(**properties) -> Settings:
    return Settings(kafka={name.replace("_", "."): value for name, value in properties.items()})


def test_every_producer_hashes_keys_as_java_does():
    """librdkafka's own default would put customers on other partitions."""  # noqa: D403 - its name
    config = producer_config(kafka(bootstrap_servers="a:1"))
    assert config["partitioner"] == "murmur2_random"
    assert config["acks"] == "all"
    assert config["enable.idempotence"] is True


def test_every_consumer_reads_committed_and_commits_nothing_by_itself():
    config = consumer_config(kafka(bootstrap_servers="a:1"), "g")
    assert config["isolation.level"] == "read_committed"
    assert config["enable.auto.commit"] is False
    assert config["group.id"] == "g"


def test_the_operators_properties_win_over_defaults_and_the_roles_over_both():
    settings = kafka(linger_ms=50, **{"reconnect.backoff.max.ms": 7, "fetch.max.bytes": 9})
    config = producer_config(settings, **{"linger.ms": 1, "transactional.id": "t"})
    assert config["linger.ms"] == 1
    assert config["reconnect.backoff.max.ms"] == 7
    assert config["transactional.id"] == "t"


def test_each_client_gets_only_its_own_kind_of_properties():
    """Otherwise librdkafka warns at each start of each client."""
    settings = kafka(linger_ms=50, **{"session.timeout.ms": 9000})
    assert "session.timeout.ms" not in producer_config(settings)
    assert "linger.ms" not in consumer_config(settings, "g")
    assert not {"linger.ms", "session.timeout.ms"} & admin_config(settings).keys()


def test_a_transactional_producer_fits_its_deliveries_into_the_transaction():
    settings = kafka(bootstrap_servers="127.0.0.1:1", delivery_timeout_ms=300_000)
    short = {"transactional.id": "t", "transaction.timeout.ms": 5_000}
    Producer(producer_config(settings, **short))


def test_librdkafka_takes_every_configuration():
    settings = kafka(bootstrap_servers="127.0.0.1:1", sasl_password="x", sasl_username="y")
    Producer(producer_config(settings))
    Consumer(consumer_config(settings, "g")).close()


def test_secrets_are_revealed_to_the_client_alone():
    settings = kafka(sasl_password="hidden")
    assert "hidden" not in repr(settings)
    assert producer_config(settings)["sasl.password"] == "hidden"


def test_addresses():
    assert bootstrap_servers(kafka(bootstrap_servers="a:1, b:2,")) == ["a:1", "b:2"]
    assert bootstrap_servers(kafka(metadata_broker_list="c:3")) == ["c:3"]


# ------------------------------------------------------------------------------------- logs


def line(*args: str) -> logging.LogRecord:
    return logging.LogRecord("x", logging.WARNING, "", 0, "%s [%s] %s", args, None)


def test_an_outage_is_one_line_and_the_next_says_how_many_there_were(monkeypatch):
    now = 0.0
    monkeypatch.setattr("orchestrator.kafka.clients.monotonic", lambda: now)
    calm = Calm()
    assert calm.filter(line("FAIL", "p", "refused"))
    assert not any(calm.filter(line("FAIL", f"client-{n}", "refused")) for n in range(100))
    assert calm.filter(line("REQTMOUT", "p", "another matter"))
    now = 31.0
    later = line("FAIL", "p", "refused")
    assert calm.filter(later)
    assert later.getMessage() == "FAIL [p] refused (and 100 more of this kind)"
