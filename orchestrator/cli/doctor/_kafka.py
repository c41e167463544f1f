"""Broker, topics, and the broker's clock."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient

from orchestrator.cli.doctor._checks import Check, finding, note, ok, skipped
from orchestrator.errors import BrokerUnavailable
from orchestrator.kafka.clients import admin_config, bootstrap_servers, producer_config
from orchestrator.kafka.topics import STRUCTURE, Topology

if TYPE_CHECKING:
    from orchestrator.settings import Settings

ANSWER_S: Final = 10.0
SKEW_S: Final = 5.0
"""As the worker's own alarm."""
RECREATE: Final = "a topic is not repartitioned: use a new topics.prefix, or the former number"
PRECISE_S: Final = 1.0
"""An acknowledgement that took longer says nothing about the clock."""


def broker(settings: Settings) -> Iterator[Check]:
    """Look whether Kafka answers, and whether all copies of our topics are in step."""
    servers = ",".join(bootstrap_servers(settings))
    try:
        found = AdminClient(admin_config(settings)).list_topics(timeout=ANSWER_S)
    except KafkaException as error:
        yield finding(
            "broker",
            f"no answer from Kafka at {servers}: {error.args[0].str()}",
            "check the address, the network, and the security settings of the section kafka",
        )
        return
    yield ok("broker", f"{len(found.brokers)} answer at {servers}")
    ours = {spec.name for spec in Topology(settings).specs()}
    partitions = [
        (f"{name} [{number}]", partition)
        for name, topic in found.topics.items()
        if name in ours
        for number, partition in topic.partitions.items()
    ]
    headless = [name for name, partition in partitions if partition.leader < 0]
    behind = [name for name, one in partitions if len(one.isrs) < len(one.replicas)]
    if headless:
        yield finding("replicas", f"without a leader: {_some(headless)}", "bring brokers back")
    elif behind:
        yield finding("replicas", f"copies behind: {_some(behind)}", "look at the brokers")
    elif partitions:
        yield ok("replicas", f"all copies of {len(partitions)} partitions are in step")


def _some(names: list[str]) -> str:
    return f"{len(names)} partitions, for example {names[0]}"


def topics(settings: Settings) -> Iterator[Check]:
    """Look whether the topics are as planned."""
    topology = Topology(settings)
    try:
        changes = topology.plan()
    except BrokerUnavailable as error:
        yield finding("topics", str(error), "grant Describe and DescribeConfigs on the topics")
        return
    for change in changes:
        name, text = f"topic {change.topic}", f"{change.action}: {change.detail}"
        if change.action == "configure" and not STRUCTURE & change.config.keys():
            remedy = "`orchestrator topics apply`, or say so in topics.config"
            yield note(name, text, remedy)
        else:
            refused = change.action == "refuse"
            yield finding(name, text, RECREATE if refused else "run `orchestrator topics apply`")
    if not changes:
        yield ok("topics", f"all {len(topology.specs())} are as planned")


def clock(settings: Settings) -> Iterator[Check]:
    """Append a tick, which is harmless at any time, and compare its time with ours."""
    name, topology = "clock", Topology(settings)
    if topology.log_clock:
        yield skipped(name, "clock.mode is log: the records bring their own time")
        return
    answers: list[tuple[KafkaError | None, int]] = []

    def on_delivery(error: KafkaError | None, message: Message) -> None:
        answers.append((error, message.timestamp()[1]))

    producer = Producer(
        producer_config(settings, **{"linger.ms": 0, "delivery.timeout.ms": 10_000})
    )
    topic = topology.name("timeline")
    producer.list_topics(topic, timeout=ANSWER_S)  # else the first record would wait for this
    sent = time.time()
    producer.produce(topic, partition=0, on_delivery=on_delivery)
    producer.flush(ANSWER_S)
    received = time.time()
    error, at = answers[0] if answers else (None, 0)
    if not answers or error is not None:
        why = "no acknowledgement" if error is None else error.str()
        yield finding(name, f"a tick cannot be appended to {topic}: {why}", "grant Write on it")
        return
    skew = at / 1000 - (sent + received) / 2
    text = f"the broker's clock is {abs(skew):.2f} s {'ahead of' if skew > 0 else 'behind'} ours"
    if received - sent > PRECISE_S:
        yield note(name, f"{text}, but the answer took {received - sent:.1f} s", "run it again")
    elif abs(skew) > SKEW_S:
        yield finding(
            name,
            text,
            "synchronise the clocks (NTP): timers go by the broker's, expiry in sinks by ours",
        )
    else:
        yield ok(name, text)
