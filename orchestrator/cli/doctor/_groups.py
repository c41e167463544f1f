"""The consumer groups of the roles: who is in them, and how far they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from orchestrator.cli.doctor._checks import Check, finding, note, ok
from orchestrator.cli.doctor._offsets import bounds, remedy
from orchestrator.kafka.clients import admin_config, consumer_config
from orchestrator.kafka.topics import Topology

if TYPE_CHECKING:
    from orchestrator.settings import Settings

ANSWER_S: Final = 10.0


def groups(settings: Settings) -> Iterator[Check]:
    """Look at the workers' group and at each sink's."""
    topology, app = Topology(settings), settings.app.id
    sources = {
        topology.name(logical): topology.partitions(logical) for logical in ("events", "timeline")
    }
    yield _group(settings, app, "orchestrator worker", sources)
    for channel in sorted(settings.deliver):
        actions = {topology.name("actions", channel): topology.partitions("actions")}
        role = f"orchestrator deliver {channel}"
        yield _group(settings, f"{app}-deliver-{channel}", role, actions)


def _group(settings: Settings, group: str, role: str, topics: dict[str, int]) -> Check:
    name = f"group {group}"
    admin = AdminClient(admin_config(settings))
    asked = [
        TopicPartition(topic, number) for topic, count in topics.items() for number in range(count)
    ]
    try:
        described = admin.describe_consumer_groups([group], request_timeout=ANSWER_S)
        members = described[group].result().members
        offsets = admin.list_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(group, asked)], request_timeout=ANSWER_S
        )
        committed = offsets[group].result().topic_partitions or []
        known = [one for one in committed if one.offset >= 0]
        lag = _lag(settings, group, known) if known else 0
    except KafkaException as error:
        if error.args[0].name() in {"GROUP_ID_NOT_FOUND", "INVALID_GROUP_ID"}:
            return note(name, "has never had a member", f"start `{role}`")
        return finding(name, error.args[0].str(), remedy(error, "grant Describe on the group"))
    said = f"{len(members)} members, {lag} records behind as of their last commit"
    if not members and known:
        return finding(name, said, f"start `{role}`")
    if not members:
        return note(name, "has never had a member", f"start `{role}`")
    owned = {
        (one.topic, one.partition)
        for member in members
        if member.assignment is not None
        for one in member.assignment.topic_partitions
    }
    homeless = [one for one in asked if (one.topic, one.partition) not in owned]
    if homeless and owned:
        text = f"{said}; {len(homeless)} partitions belong to no member"
        return finding(name, text, "wait for the rebalance; if it lasts, see /readyz of the role")
    return ok(name, said)


def _lag(settings: Settings, group: str, committed: list[TopicPartition]) -> int:
    consumer = Consumer(consumer_config(settings, group))
    try:
        ends = (bounds(consumer, one)[1] for one in committed)
        return sum(max(0, end - one.offset) for end, one in zip(ends, committed, strict=True))
    finally:
        consumer.close()
