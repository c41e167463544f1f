"""Who owns a partition now, and what a group has committed: asked by tools, not by roles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from orchestrator.kafka.access import Doorkeeper
from orchestrator.kafka.clients import admin_config

if TYPE_CHECKING:
    from orchestrator.settings import Settings

ANSWER_S: Final = 15.0
_NEVER: Final = frozenset({"GROUP_ID_NOT_FOUND", "INVALID_GROUP_ID"})


def owners(settings: Settings, group: str) -> dict[tuple[str, int], str]:
    """Return (topic, partition) -> the member that owns it, as people find it.

    Raises:
        AccessRefused: The group may not be described.
        BrokerUnavailable: No answer.
    """
    door = Doorkeeper(settings)
    admin = AdminClient(admin_config(settings, error_cb=door.hear))
    try:
        described = admin.describe_consumer_groups([group], request_timeout=ANSWER_S)
        members = described[group].result().members
    except KafkaException as error:
        if error.args[0].name() in _NEVER:
            return {}
        raise door.verdict(f"group {group} cannot be looked at", error, admin) from error
    return {
        (
            one.topic,
            one.partition,
        ): f"{member.group_instance_id or member.member_id} at {member.host}"
        for member in members
        if member.assignment is not None
        for one in member.assignment.topic_partitions
    }


def committed(settings: Settings, group: str, topic: str, partition: int) -> int:
    """Return the offset that the group has committed; -1 = none.

    Raises:
        AccessRefused: The group may not be described.
        BrokerUnavailable: No answer.
    """
    door = Doorkeeper(settings)
    admin = AdminClient(admin_config(settings, error_cb=door.hear))
    asked = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, partition)])
    try:
        answers = admin.list_consumer_group_offsets([asked], request_timeout=ANSWER_S)
        found = answers[group].result().topic_partitions or []
    except KafkaException as error:
        if error.args[0].name() in _NEVER:
            return -1
        raise door.verdict(f"group {group} cannot be looked at", error, admin) from error
    return max((one.offset for one in found), default=-1)
