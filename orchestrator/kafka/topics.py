"""Every topic of a deployment: its name, partitions, cleanup and clock; a function of the settings.

This module knows what should be; ``orchestrator.kafka.cluster`` compares it with what is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from orchestrator.errors import SettingsError
from orchestrator.kafka import dead_letters
from orchestrator.kafka.properties import suggestion

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.kafka.cluster import Change
    from orchestrator.settings import Settings

Logical = Literal[
    "events",
    "timeline",
    "actions",
    "deliveries",
    "inbox",
    "decisions",
    "outcomes",
    "models",
    "definitions",
    "dead-letters",
]
PER_CHANNEL: Final = frozenset({"actions", "deliveries"})
CHANGELOGS: Final[Mapping[str, Logical]] = {"identities": "events", "customers": "timeline"}
"""Table -> the topic that its stage reads: a changelog has as many partitions as that."""

DAY_MS: Final = 86_400_000
NO_LIMIT: Final = str(2**63 - 1)
MAX_MESSAGE_BYTES: Final = 1_048_588
"""Kafka's own default, said aloud: a state (256 KB at most) travels in one record."""
MIN_INSYNC: Final = 2
STRUCTURE: Final = frozenset({"cleanup.policy", "message.timestamp.type", "max.message.bytes"})
"""What ``verify`` checks at every start; the rest is the operator's to tune."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """Cleanup, retention in days (0 = none) and partitions (0 = as many as customers' topics)."""

    cleanup: str
    days: int = 0
    partitions: int = 0


_KINDS: Final[Mapping[Logical, _Kind]] = {
    "events": _Kind("delete", 7),
    "timeline": _Kind("delete", 30),
    "actions": _Kind("delete", 7),
    "deliveries": _Kind("compact,delete", 14),
    "inbox": _Kind("compact", partitions=4),
    "decisions": _Kind("delete", 90),
    "outcomes": _Kind("delete", 30, partitions=4),
    "models": _Kind("compact", partitions=1),
    "definitions": _Kind("compact", partitions=1),
    "dead-letters": _Kind("delete", 30, partitions=4),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicSpec:
    """One topic as it should be; ``logical`` is ``changelog`` for a table's changelog.

    ``channel`` is empty for topics that all channels share.
    """

    name: str
    logical: str
    partitions: int
    replication_factor: int
    config: Mapping[str, str] = field(default_factory=dict)
    channel: str = ""


class Topology:
    """The topics of the deployment that ``settings`` describes."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.log_clock = settings.clock.mode == "log"
        for logical, config in settings.topics.config.items():
            if logical not in {*_KINDS, "changelog"}:
                near = suggestion(logical, _KINDS)
                raise SettingsError(f"topics.config: no topic {logical!r}{near}")
            if fixed := sorted({"cleanup.policy", "message.timestamp.type"} & config.keys()):
                raise SettingsError(f"topics.config.{logical}: {fixed[0]} is not to be changed")

    def name(self, logical: Logical, channel: str = "") -> str:
        """Return a topic's full name; ``actions`` and ``deliveries`` need a channel."""
        if (logical in PER_CHANNEL) != bool(channel):
            raise ValueError(f"{logical}: a channel goes with actions and deliveries only")
        middle = f"{logical}.{channel}" if channel else logical
        return f"{self.settings.topics.prefix}.{middle}.v1"

    def changelog(self, table: str) -> str:
        """Return the full name of a table's changelog."""
        return f"{self.settings.app.id}-{table}-changelog"

    def partitions(self, logical: Logical) -> int:
        """Return how many partitions a topic has."""
        if self.log_clock:
            return 1
        return _KINDS[logical].partitions or self.settings.topics.partitions

    def specs(self) -> list[TopicSpec]:
        """Return every topic of the deployment, the customers' way through it."""
        topics = [
            self._spec(logical, channel)
            for logical in _KINDS
            for channel in (self.settings.channels if logical in PER_CHANNEL else ("",))
        ]
        return topics + [self._changelog_spec(table) for table in CHANGELOGS]

    def names(self, *logical: Logical) -> dict[str, str]:
        """Return full name -> logical name of these topics on all channels, for ``Codec.prepare``."""
        return {spec.name: spec.logical for spec in self.specs() if spec.logical in logical}

    def plan(self) -> list[Change]:
        """Return what ``apply`` would change in the cluster."""
        from orchestrator.kafka import cluster

        return cluster.plan(self)

    def apply(self) -> list[Change]:
        """Create and configure topics; return what was changed and what cannot be."""
        from orchestrator.kafka import cluster

        return cluster.apply(self)

    def verify(self, *needed: str, channel: str = "") -> None:
        """Check at a role's start that the cluster has what it needs.

        Args:
            needed: Logical names, or ``changelog``; none = all topics.
            channel: Of the topics that each channel has, only this one's.

        Raises:
            AccessRefused: The cluster does not let this role in, or not look at a topic.
            TopologyError: A topic is missing or of another structure; names the remedy.
            BrokerUnavailable: No broker answers.
        """
        from orchestrator.kafka import cluster

        cluster.verify(self, frozenset(needed), channel)

    def _spec(self, logical: Logical, channel: str) -> TopicSpec:
        kind = _KINDS[logical]
        config = {"cleanup.policy": kind.cleanup}
        if kind.days:
            config["retention.ms"] = str(kind.days * DAY_MS)
        if logical == "inbox":  # an erased customer's messages are gone within this time
            config["max.compaction.lag.ms"] = str(7 * DAY_MS)
        if logical == "timeline":
            config["message.timestamp.type"] = "LogAppendTime"
        return TopicSpec(
            name=self.name(logical, channel),
            logical=logical,
            partitions=self.partitions(logical),
            replication_factor=self.settings.topics.replication_factor,
            config=self._config(logical, config),
            channel=channel,
        )

    def _changelog_spec(self, table: str) -> TopicSpec:
        config = {
            "cleanup.policy": "compact",
            # Small segments: only closed ones are compacted, and replay reads what is not.
            "segment.bytes": str(64 * 1024 * 1024),
            "segment.ms": str(DAY_MS),
            # A worker that was away for a week still sees every deletion.
            "delete.retention.ms": str(7 * DAY_MS),
            # An erased customer is gone from the closed segments within this time.
            "max.compaction.lag.ms": str(7 * DAY_MS),
        }
        return TopicSpec(
            name=self.changelog(table),
            logical="changelog",
            partitions=self.partitions(CHANGELOGS[table]),
            replication_factor=self.settings.topics.replication_factor,
            config=self._config("changelog", config),
        )

    def _config(self, logical: str, config: dict[str, str]) -> dict[str, str]:
        config = {
            **config,
            "max.message.bytes": str(
                dead_letters.MAX_BYTES if logical == "dead-letters" else MAX_MESSAGE_BYTES
            ),
            "min.insync.replicas": str(min(MIN_INSYNC, self.settings.topics.replication_factor)),
        }
        if self.log_clock:
            # Records carry the time of what they tell, years ago or ahead: nothing may expire,
            # be refused or roll a segment for each week of that time.
            config |= {
                "message.timestamp.type": "CreateTime",
                "message.timestamp.before.max.ms": NO_LIMIT,
                "message.timestamp.after.max.ms": NO_LIMIT,
                "retention.ms": "-1",
                "segment.ms": NO_LIMIT,
            }
            config.pop("max.compaction.lag.ms", None)
        overrides = self.settings.topics.config.get(logical, {})
        return config | {name: str(value) for name, value in overrides.items()}
