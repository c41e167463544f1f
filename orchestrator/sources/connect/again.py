"""Dead letters of ``connect`` mapped anew, with the mappings in force: for ``dlq replay``. Blocks."""

from __future__ import annotations

from collections.abc import Sequence
from time import sleep
from typing import Final

from orchestrator.codec import open_codec, open_registry
from orchestrator.errors import CouldNotRun, RegistryUnavailable, SchemaNotLoaded
from orchestrator.kafka.dead_letters import AT, DeadLetter
from orchestrator.kafka.definitions import Definitions, read_definitions
from orchestrator.kafka.topics import Topology
from orchestrator.records import CatalogSwitch, Definition
from orchestrator.settings import Settings
from orchestrator.sources.connect.applied import AppliedTopics
from orchestrator.sources.connect.connector import ROLE, Connector
from orchestrator.sources.connect.opening import Incoming
from orchestrator.sources.connect.schemas import WriterSchemas
from orchestrator.sources.producer import Outgoing
from orchestrator.sources.profile import AppliedKinds

_POLL_S: Final = 0.05


class _Snapshot:
    """What was in force when it was read."""

    def __init__(self, known: Definitions) -> None:
        self._known = known

    @property
    def catalog(self) -> CatalogSwitch | None:
        return self._known.catalog

    def get(self, hash_: str) -> Definition | None:
        return self._known.by_hash.get(hash_)


def is_mapped(letter: DeadLetter) -> bool:
    """Whether a letter goes back through a mapping, and not to its topic, which is somebody else's."""
    return letter.stage == ROLE and letter.from_partition >= 0


def map_again(
    settings: Settings, letters: Sequence[DeadLetter]
) -> tuple[list[Outgoing], dict[str, str]]:
    """Return the events of letters, under the ids that they would have had, and why others have none.

    Raises:
        CouldNotRun: Kafka or the registry does not answer, or no catalog is in force.
    """
    codec, topology = open_codec(settings), Topology(settings)
    codec.prepare(topology.names("events"))
    applied = _Snapshot(read_definitions(settings, codec))
    if applied.catalog is None:
        raise CouldNotRun("no catalog is in force: run `orchestrator journeys apply`")
    schemas = WriterSchemas(open_registry(settings.registry))
    own = frozenset(spec.name for spec in topology.specs())
    topics = AppliedTopics(applied, schemas, own)
    connector = Connector(topology, codec, topics, AppliedKinds(applied))
    made: list[Outgoing] = []
    refused: dict[str, str] = {}
    try:
        for letter in letters:
            if letter.truncated:
                refused[letter.name] = f"only a part of its {letter.truncated} bytes is here"
                continue
            if letter.topic not in topics.routes():
                refused[letter.name] = f"no mapping in force reads {letter.topic}"
                continue
            found = _records(connector, schemas, _incoming(letter))
            events = [one for one in found if one.topic == topology.name("events")]
            if len(events) < len(found):
                refused[letter.name] = "a mapping in force still refuses it; see its message"
            made += events
    finally:
        schemas.close()
    return made, refused


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
