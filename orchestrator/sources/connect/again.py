"""Dead letters of ``connect`` mapped anew, with the mappings in force. Blocks."""

from __future__ import annotations

from collections.abc import Sequence
from time import sleep
from typing import Final

from orchestrator.codec import Codec, open_registry
from orchestrator.errors import InputError, RegistryUnavailable, SchemaNotLoaded
from orchestrator.kafka.dead_letters import AT, DeadLetter
from orchestrator.kafka.topics import Topology
from orchestrator.settings import Settings
from orchestrator.sources.applied import Applied
from orchestrator.sources.connect.applied import AppliedTopics
from orchestrator.sources.connect.connector import ROLE, Connector
from orchestrator.sources.connect.opening import Incoming
from orchestrator.sources.connect.schemas import WriterSchemas
from orchestrator.sources.producer import Outgoing
from orchestrator.sources.profile import AppliedKinds

_POLL_S: Final = 0.05


def is_of_connect(letter: DeadLetter) -> bool:
    """Whether a letter goes back through a mapping, and not to its topic, which is somebody else's."""
    return letter.stage == ROLE and letter.from_partition >= 0


class TopicsAgain:
    """Maps them by what is in force; ``close`` it."""

    def __init__(
        self, settings: Settings, codec: Codec, applied: Applied, kinds: AppliedKinds
    ) -> None:
        topology = Topology(settings)
        own = frozenset(spec.name for spec in topology.specs())
        self._events = topology.name("events")
        self._schemas = WriterSchemas(open_registry(settings.registry))
        self._topics = AppliedTopics(applied, self._schemas, own)
        self._connector = Connector(topology, codec, self._topics, kinds)

    def events(self, letter: DeadLetter) -> list[Outgoing]:
        """Return the records of a letter's events.

        Raises:
            InputError: No mapping in force takes it.
            RegistryUnavailable: The registry does not answer.
        """
        if letter.topic not in self._topics.routes():
            raise InputError(f"no mapping in force reads {letter.topic}")
        found = _records(self._connector, self._schemas, _incoming(letter))
        events = [one for one in found if one.topic == self._events]
        if len(events) < len(found):
            raise InputError("a mapping in force still refuses it; see its message")
        return events

    def close(self) -> None:
        """Let the registry go."""
        self._schemas.close()


def _records(
    connector: Connector, schemas: WriterSchemas, incoming: Incoming
) -> Sequence[Outgoing]:
    while True:
        try:
            return connector.records(incoming)
        except SchemaNotLoaded as missing:
            while not schemas.settled(missing.schema_id):
                if schemas.problem:
                    raise RegistryUnavailable(schemas.problem) from missing
                sleep(_POLL_S)


def _incoming(letter: DeadLetter) -> Incoming:
    told = next((value.decode() for name, value in letter.headers if name == AT), "")
    return Incoming(
        letter.topic,
        letter.from_partition,
        letter.from_offset,
        int(told) if told.isdecimal() else letter.at,
        letter.key,
        letter.value,
        [(name, value) for name, value in letter.headers if name != AT],
    )
