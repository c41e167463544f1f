"""When the last copy of something goes by itself, topic by topic, by the brokers' own settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined] # its stubs export nothing
    AdminClient,
    ConfigResource,
    ResourceType,
)
from msgspec import Struct

from orchestrator.kafka.access import Doorkeeper
from orchestrator.kafka.clients import admin_config
from orchestrator.kafka.topics import Topology

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.settings import Settings

ANSWER_S: Final = 30.0
NOBODYS: Final = frozenset({"definitions", "models"})
"""These hold nothing of any customer."""
_FOREVER: Final = 2**62


class Kept(Struct, kw_only=True):
    """One topic. ``until`` is epoch ms; None = no limit is set."""

    topic: str
    logical: str
    how: str
    """``delete``: old segments go. ``compact``: what was replaced or deleted goes."""
    until: int | None


def kept(settings: Settings, now: int) -> list[Kept]:
    """Return every topic that may hold something of a customer, and when the last of it goes.

    A segment goes as a whole: what was written now may have to wait for one that is closed only
    after ``segment.ms``. A deletion itself, and with it the key, stays ``delete.retention.ms`` more.

    Raises:
        AccessRefused: The broker does not let us look.
        BrokerUnavailable: It does not answer.
    """
    specs = [spec for spec in Topology(settings).specs() if spec.logical not in NOBODYS]
    door = Doorkeeper(settings)
    admin = AdminClient(admin_config(settings, error_cb=door.hear))
    try:
        answers = admin.describe_configs(
            [ConfigResource(ResourceType.TOPIC, spec.name) for spec in specs],
            request_timeout=ANSWER_S,
        )
        configs = {
            resource.name: {key: entry.value for key, entry in future.result().items()}
            for resource, future in answers.items()
        }
    except KafkaException as error:
        raise door.verdict("the topics' settings cannot be read", error, admin) from error
    return [
        Kept(
            topic=spec.name,
            logical=spec.logical,
            how="delete" if "delete" in configs[spec.name]["cleanup.policy"] else "compact",
            until=gone_by(configs[spec.name], now),
        )
        for spec in specs
    ]


def gone_by(config: Mapping[str, str], now: int) -> int | None:
    """Return when what is deleted or stops growing ``now`` is nowhere in a topic any more."""
    if "delete" in config["cleanup.policy"]:
        spans = [int(config["retention.ms"]), int(config["segment.ms"])]
    else:
        lag = int(config["max.compaction.lag.ms"])
        spans = [lag, int(config["delete.retention.ms"]), lag]
    if min(spans) < 0 or max(spans) > _FOREVER:
        return None
    return now + sum(spans)
