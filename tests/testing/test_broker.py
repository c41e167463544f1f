"""The broker that tests and demos stand on: a real one, several at a time, none left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from orchestrator.errors import BrokerUnavailable, CouldNotRun
from orchestrator.testing.broker import Broker
from orchestrator.testing.jars import kafka_classpath

pytestmark = pytest.mark.kafka


def create(bootstrap, topic, **client):
    admin = AdminClient({"bootstrap.servers": bootstrap, **client})
    for done in admin.create_topics([NewTopic(topic, 1, 1)]).values():
        done.result(30)


def write(bootstrap, topic, value, **client):
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": topic, **client})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topic, value)
    producer.commit_transaction(30)


def read(bootstrap, topic, count, **client):
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": topic,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            **client,
        }
    )
    consumer.subscribe([topic])
    found = []
    while len(found) < count:
        message = consumer.poll(30)
        assert message is not None, "nothing came"
        assert message.error() is None
        found.append(message.value())
    consumer.close()
    return found


def is_open(address):
    host, port = address.split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def test_a_transaction_is_read_back(broker, prefix):
    create(broker.bootstrap, prefix)
    write(broker.bootstrap, prefix, b"one")
    assert read(broker.bootstrap, prefix, 1) == [b"one"]


def test_topics_are_not_created_by_use(broker, prefix):
    """As on most clusters in production: a forgotten topic must fail here, and not first there."""
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    assert prefix not in admin.list_topics(prefix, timeout=10).topics or (
        admin.list_topics(prefix, timeout=10).topics[prefix].error is not None
    )


def test_two_run_side_by_side_and_survive_kill_and_restart(broker, prefix):
    """What was committed is there after SIGKILL and after an orderly restart, at the same address."""
    with Broker() as other:
        address = other.bootstrap
        assert address != broker.bootstrap
        create(address, prefix)
        write(address, prefix, b"one")
        other.kill()
        assert not is_open(address)
        assert is_open(broker.bootstrap)
        other.start()
        write(address, prefix, b"two")
        other.restart()
        assert other.bootstrap == address
        assert read(address, prefix, 2) == [b"one", b"two"]
        folder = other.folder
    assert not is_open(address)
    assert not folder.exists()


def test_a_folder_that_is_given_stays(tmp_path):
    with Broker(folder=tmp_path / "kafka") as kept:
        assert kept.log_file.parent == tmp_path / "kafka"
    assert (tmp_path / "kafka" / "server.properties").exists()


def test_a_listener_with_sasl(prefix):
    """Extra listeners and properties are enough for the security setups of a platform team."""
    jaas = (
        "org.apache.kafka.common.security.plain.PlainLoginModule required "
        'user_app="right" username="app" password="right";'
    )
    with Broker(
        {
            "listener.name.sasl.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl.plain.sasl.jaas.config": jaas,
        },
        listeners={"SASL": "SASL_PLAINTEXT"},
    ) as secured:
        login = {
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "PLAIN",
            "sasl.username": "app",
            "sasl.password": "right",
        }
        create(secured.address("SASL"), prefix, **login)
        write(secured.address("SASL"), prefix, b"one", **login)
        assert read(secured.address("SASL"), prefix, 1, **login) == [b"one"]
        stranger = AdminClient(
            {"bootstrap.servers": secured.address("SASL"), **login, "sasl.password": "wrong"}
        )
        with pytest.raises(KafkaException):
            stranger.list_topics(timeout=3)


def test_a_broker_that_cannot_start_shows_its_log():
    with pytest.raises(CouldNotRun, match=r"num\.io\.threads"), Broker({"num.io.threads": "none"}):
        pass


def test_a_broker_that_was_not_started_has_no_address():
    broker = Broker()
    with pytest.raises(BrokerUnavailable):
        _ = broker.bootstrap
    with pytest.raises(BrokerUnavailable):
        _ = broker.pid
    assert broker.log_tail() == ""
    broker.close()
    assert not broker.folder.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["asked", "killed"])
def test_in_the_foreground_it_prints_its_address_and_leaves_nothing_running(number):
    """Also if its owner is killed: a test run that is shot leaves no broker behind."""
    owner = subprocess.Popen(
        [sys.executable, "-m", "orchestrator.testing.broker"], stdout=subprocess.PIPE, text=True
    )
    address = owner.stdout.readline().strip()
    assert is_open(address)
    owner.send_signal(number)
    owner.wait(60)
    owner.stdout.close()
    deadline = time.monotonic() + 60
    while is_open(address):
        assert time.monotonic() < deadline, "the broker outlived its owner"
        time.sleep(0.05)


def test_the_jars_are_resolved_once_even_if_many_ask(tmp_path):
    """The first resolution, in an empty cache, by three processes at once."""
    command = [
        sys.executable,
        "-c",
        "from orchestrator.testing.jars import kafka_classpath; print(kafka_classpath())",
    ]
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    with ThreadPoolExecutor(3) as pool:
        runs = [
            pool.submit(subprocess.run, command, env=env, capture_output=True, check=True)
            for _ in range(3)
        ]
        paths = {run.result().stdout for run in runs}
    assert len(paths) == 1
    assert len(list((tmp_path / "orchestrator").glob("*.classpath"))) == 1


def test_a_jar_that_vanished_is_fetched_again(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = kafka_classpath().split(os.pathsep)
    Path(first[3]).unlink()
    assert kafka_classpath().split(os.pathsep) == first
    assert Path(first[3]).exists()
