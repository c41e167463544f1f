"""What each role needs of a cluster with an authorizer, and nothing else; a function of the settings.

Read and Write imply Describe for Kafka's own authorizer; it is listed all the same, for those that
do not think so. From Kafka 2.8 on idempotent producers need no grant on the cluster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from orchestrator.kafka.topics import CHANGELOGS, Topology
from orchestrator.sender_settings import InappSender, KafkaSender

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.kafka.topics import Logical
    from orchestrator.settings import Settings

Resource = Literal["topic", "group", "transactionalId"]
Operation = Literal["Read", "Write", "Create", "Describe", "DescribeConfigs", "AlterConfigs"]

CHECKED: Final[tuple[Operation, ...]] = ("Describe", "DescribeConfigs")
"""Every role checks at its start that the topics it uses are as they should be."""
STAGES: Final = ("identify", "decide")
"""The stages that the worker runs: their names begin its transactional ids."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """One permission: ``operations`` on one resource, or on all whose names begin with ``name``."""

    resource: Resource
    name: str
    operations: tuple[Operation, ...]
    why: str
    prefixed: bool = False


def grants(settings: Settings) -> dict[str, list[Grant]]:
    """Return role -> its grants. A role is named as its command: ``deliver email``, ``worker``.

    ``apply`` changes what is in force (``journeys apply`` and its siblings), ``topics`` creates and
    configures topics, ``tools`` is what people ask with: it reads everything and writes nothing.
    The verbs of ``state`` do the worker's work and log in as it does.
    """
    needs = _Needs(settings)
    return {
        "collect": needs.collect(),
        "connect": needs.connect(),
        "load": needs.load(),
        "worker": needs.worker(),
        **{f"deliver {channel}": needs.deliver(channel) for channel in sorted(settings.deliver)},
        "apply": needs.apply(),
        "topics": needs.topics(),
        "tools": needs.tools(),
        "state skip": needs.skip(),
        "state reset": needs.reset(),
        "doctor": needs.doctor(),
        "dlq replay": needs.replay_dead_letters(),
        "customer forget": needs.forget(),
    }


class _Needs:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topology = Topology(settings)
        self._app = settings.app.id

    def collect(self) -> list[Grant]:
        return [
            self._writes("events", "what callers send"),
            self._inbox(),
            self._reads("definitions", "the identities of the profile"),
            self._writes("dead-letters", "what cannot be mapped"),
            *self._looks("definitions", "inbox"),
        ]

    def connect(self) -> list[Grant]:
        return [
            *(
                Grant(
                    resource="topic",
                    name=topic,
                    operations=("Read", "Describe"),
                    why="what mappings read",
                )
                for topic in self._settings.connect.topics
            ),
            self._writes("events", "what the records tell"),
            self._reads("definitions", "the mappings, the identities of the profile"),
            self._writes("dead-letters", "records that cannot be mapped"),
            self._group("-connect", "Read", why="membership and positions"),
            *self._looks("definitions"),
        ]

    def load(self) -> list[Grant]:
        found = [
            self._writes("events", "the files' lines"),
            self._reads("definitions", "the identities of the profile"),
            self._writes("dead-letters", "lines that cannot be mapped"),
        ]
        if not self._topology.log_clock:
            return [*found, self._checks("timeline"), *self._looks("tools")]
        return [
            *found,
            self._writes("timeline", "the closing tick"),
            *self._looks("tools"),
            self._group("", "Describe", why="how far the worker has come"),
        ]

    def worker(self) -> list[Grant]:
        return [
            self._both("events", "what happened; links between identities"),
            self._both("timeline", "every customer's one log"),
            *(self._writes("actions", "what is to be sent", c) for c in self._settings.channels),
            self._writes("decisions", "every decision and its reason"),
            self._writes("outcomes", "what decisions led to"),
            self._reads("definitions", "journeys, messages, policies"),
            self._writes("dead-letters", "records that cannot be handled"),
            *(self._changelog(table) for table in CHANGELOGS),
            self._group("", "Read", why="membership"),
            *self._looks("definitions", "replay", "watermarks", "tools"),
            *(self._transactions(f"{stage}-", "checkpoints") for stage in STAGES),
        ]

    def deliver(self, channel: str) -> list[Grant]:
        chosen = self._settings.deliver.get(channel)
        inapp = isinstance(chosen, InappSender)
        role = f"deliver-{channel}"
        return [
            self._reads("actions", "what is to be sent", channel),
            self._both("deliveries", "the ledger", channel),
            self._writes("events", "receipts"),
            *([self._inbox()] if inapp else []),
            *([_messages(chosen.topic)] if isinstance(chosen, KafkaSender) else []),
            self._reads("definitions", "the messages"),
            self._writes("dead-letters", "actions that cannot be handled"),
            self._group(f"-{role}", "Read", why="membership and positions"),
            *self._looks("definitions", "scout", *(["inbox"] if inapp else [])),
            self._transactions(f"{role}-", "claims and outcomes"),
        ]

    def apply(self) -> list[Grant]:
        return [
            self._writes("events", "the switch to a new catalog"),
            self._both("timeline", "the switch to a new catalog; what prune keeps"),
            self._writes("outcomes", "the switch to a new catalog"),
            self._both("definitions", "what is in force"),
            *(self._reads("actions", "what prune keeps", c) for c in self._settings.channels),
            Grant(
                resource="topic",
                name=self._topology.changelog("customers"),
                operations=("Read", *CHECKED),
                why="entries that journeys status counts and prune keeps",
            ),
            *self._looks("tools"),
            self._transactions("catalog", "all partitions switch at once", prefixed=False),
        ]

    def replay_dead_letters(self) -> list[Grant]:
        back = "letters go back where they came from"
        return [
            self._reads("dead-letters", "the letters"),
            self._reads("definitions", "the mappings, for letters of other teams' topics"),
            self._writes("events", back),
            self._writes("timeline", back),
            *(self._writes("actions", back, c) for c in self._settings.channels),
            *self._looks("tools"),
        ]

    def forget(self) -> list[Grant]:
        return [
            *self._everywhere(
                ("Read", *CHECKED), "where the customer stands, how long topics keep it"
            ),
            self._topic("events", "", ("Write",), "the orders to forget"),
            self._topic("inbox", "", ("Write",), "the in-app inbox is removed"),
            *self._looks("tools"),
        ]

    def topics(self) -> list[Grant]:
        return self._everywhere(("Create", *CHECKED, "AlterConfigs"), "topics plan, topics apply")

    def tools(self) -> list[Grant]:
        return [
            *self._everywhere(("Read", *CHECKED), "customer, journeys status, dlq list, replay"),
            *self._looks("tools"),
            self._group("", "Describe", why="how far the worker has come"),
        ]

    def doctor(self) -> list[Grant]:
        sinks = [f"-deliver-{channel}" for channel in sorted(self._settings.deliver)]
        return [
            *self._everywhere(("Read", *CHECKED), "topics, keys, offsets"),
            self._topic("timeline", "", ("Write",), "a tick, to compare the clocks"),
            *self._looks("tools"),
            *(self._group(end, "Describe", why="members and lag") for end in ["", *sinks]),
        ]

    def skip(self) -> list[Grant]:
        order = "an order to pass over a record, behind it"
        return [
            self._both("events", order),
            self._both("timeline", order),
            *self._looks("tools"),
        ]

    def reset(self) -> list[Grant]:
        return [
            self._reads("events", "identify is run again"),
            self._reads("timeline", "decide is run again"),
            self._reads("definitions", "journeys, messages, policies"),
            self._reads("dead-letters", "what an operator passed over"),
            *(self._changelog(table) for table in CHANGELOGS),
            self._group("", "Describe", why="who owns a partition, how far it had come"),
            *self._looks("definitions", "tools", "watermarks"),
            *(self._transactions(f"{stage}-", "shuts the worker out") for stage in STAGES),
        ]

    # ------------------------------------------------------------------- single grants

    def _everywhere(self, operations: tuple[Operation, ...], why: str) -> list[Grant]:
        return [
            Grant(resource="topic", name=spec.name, operations=operations, why=why)
            for spec in self._topology.specs()
        ]

    def _topic(
        self, logical: Logical, channel: str, operations: Iterable[Operation], why: str
    ) -> Grant:
        name = self._topology.name(logical, channel)
        return Grant(resource="topic", name=name, operations=tuple(operations), why=why)

    def _reads(self, logical: Logical, why: str, channel: str = "") -> Grant:
        return self._topic(logical, channel, ("Read", *CHECKED), why)

    def _writes(self, logical: Logical, why: str, channel: str = "") -> Grant:
        return self._topic(logical, channel, ("Write", *CHECKED), why)

    def _both(self, logical: Logical, why: str, channel: str = "") -> Grant:
        return self._topic(logical, channel, ("Read", "Write", *CHECKED), why)

    def _checks(self, logical: Logical) -> Grant:
        return self._topic(logical, "", CHECKED, "checked at the start")

    def _inbox(self) -> Grant:
        return self._both("inbox", "the in-app inboxes")

    def _changelog(self, table: str) -> Grant:
        return Grant(
            resource="topic",
            name=self._topology.changelog(table),
            operations=("Read", "Write", *CHECKED),
            why=f"the state of {table}",
        )

    def _group(self, end: str, operation: Operation, *, why: str) -> Grant:
        operations: tuple[Operation, ...] = (operation,)
        if operation == "Read":
            operations = ("Read", "Describe")
        return Grant(resource="group", name=f"{self._app}{end}", operations=operations, why=why)

    def _looks(self, *readers: str) -> list[Grant]:
        """Clients that follow partitions by themselves: their group is a name, never joined."""
        return [
            self._group(f"-{reader}", "Describe", why="a reader's name; never joined")
            for reader in readers
        ]

    def _transactions(self, end: str, why: str, *, prefixed: bool = True) -> Grant:
        return Grant(
            resource="transactionalId",
            name=f"{self._app}-{end}",
            operations=("Write", "Describe"),
            why=why,
            prefixed=prefixed,
        )


def _messages(topic: str) -> Grant:
    why = "rendered messages for a channel service of yours"
    return Grant(resource="topic", name=topic, operations=("Write", "Describe"), why=why)
