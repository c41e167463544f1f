"""Dead letters of the collector and of ``connect`` mapped anew, by what is in force: for ``dlq replay``.

Blocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing

from orchestrator.codec import open_codec
from orchestrator.errors import CouldNotRun, InputError
from orchestrator.kafka.dead_letters import DeadLetter
from orchestrator.kafka.definitions import Definitions, read_definitions
from orchestrator.kafka.topics import Topology
from orchestrator.records import CatalogSwitch, Definition
from orchestrator.settings import Settings
from orchestrator.sources.applied import Applied, arrived, in_force
from orchestrator.sources.arrivals import HEADER, Hooked, decode_told
from orchestrator.sources.connect.again import TopicsAgain, is_of_connect
from orchestrator.sources.intake import ROLE, Intake
from orchestrator.sources.mapping import Clock, Origin
from orchestrator.sources.mappings import Arrival, Mapper
from orchestrator.sources.mappings.rows import json_record
from orchestrator.sources.producer import Outgoing
from orchestrator.sources.profile import AppliedKinds
from orchestrator.sources.webhooks import defaults
from orchestrator.sources.webhooks.hooks import SOURCE


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
    """Whether a letter goes through a mapping: it was no record of ours yet."""
    return is_of_connect(letter) or (letter.stage == ROLE and _told(letter) is not None)


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
    kinds = AppliedKinds(applied)
    arrivals = _ArrivalsAgain(Intake(topology, codec, kinds.get), applied, kinds, topology)
    made: list[Outgoing] = []
    refused: dict[str, str] = {}
    with closing(TopicsAgain(settings, codec, applied, kinds)) as topics:
        for letter in letters:
            again = topics if is_of_connect(letter) else arrivals
            try:
                if letter.truncated:
                    raise InputError(f"only a part of its {letter.truncated} bytes is here")
                made += again.events(letter)
            except InputError as error:
                refused[letter.name] = str(error)
    return made, refused


class _ArrivalsAgain:
    """Those of the collector."""

    def __init__(
        self, intake: Intake, applied: Applied, kinds: AppliedKinds, topology: Topology
    ) -> None:
        self._intake = intake
        self._applied = applied
        self._kinds = kinds
        self._log_clock = topology.log_clock
        self._mappers: dict[str, Mapper] = {}

    def events(self, letter: DeadLetter) -> list[Outgoing]:
        """Return the records of a letter's events.

        Raises:
            InputError: What is in force still refuses it.
        """
        raw, source = letter.value or b"", letter.topic
        told = decode_told(_told(letter) or b"")
        at = None if self._log_clock else told.at
        if not isinstance(told, Hooked):
            clock = Clock(at, told.sent_at)
            origin = Origin(source, told.scope)
            return [self._intake.record(raw, told.kind, origin, clock)]
        mapper, kinds = self._mapper(source), self._kinds.get()
        events = mapper.events([json_record(raw)], Arrival(at, told.stable, told.header))
        return [self._intake.outgoing(event, kinds.key(event.identities)) for event in events]

    def _mapper(self, source: str) -> Mapper:
        if source not in self._mappers:
            hash_ = in_force(self._applied).definitions.get(SOURCE + source)
            text = arrived(self._applied, hash_).source if hash_ else defaults.definition(source)
            if not text:
                raise InputError(f"no mapping in force is for the webhook {source}")
            self._mappers[source] = Mapper(text)
        return self._mappers[source]


def _told(letter: DeadLetter) -> bytes | None:
    headers: Mapping[str, bytes] = dict(letter.headers)
    return headers.get(HEADER)
