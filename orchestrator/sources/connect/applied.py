"""Which topics are read, and through which mappings: ``sources/*.yaml`` as they are applied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from msgspec import MsgspecError

from orchestrator.errors import UsageError
from orchestrator.expressions.records import KEY
from orchestrator.observability import get_logger
from orchestrator.sources.applied import Applied, arrived, in_force
from orchestrator.sources.connect.opening import Opener
from orchestrator.sources.connect.schemas import WriterSchemas
from orchestrator.sources.mappings import Mapper

SOURCE: Final = "source/"
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Route:
    """One mapping of one topic."""

    mapper: Mapper
    opener: Opener


class AppliedTopics:
    """Follows the catalog in force; each mapping is compiled once.

    Args:
        store: Where catalogs and definitions arrive.
        schemas: Writers' schemas.
        own: The deployment's own topics: to read them here would feed events to themselves.
    """

    def __init__(self, store: Applied, schemas: WriterSchemas, own: frozenset[str]) -> None:
        self._store = store
        self._schemas = schemas
        self._own = own
        self._catalog: object = None
        self._compiled: dict[str, Route | str | None] = {}
        """Hash of a mapping -> it, or why it cannot be used; None = it is of no topic."""
        self._routes: Mapping[str, tuple[Route, ...]] = {}
        self.problems: Mapping[str, str] = {}
        """Source -> why nothing is read for it; an operator must act."""

    def routes(self) -> Mapping[str, tuple[Route, ...]]:
        """Return topic -> mappings as of now; the same object as long as nothing changed.

        Raises:
            DefinitionMissing: No catalog was applied yet, or a mapping has not arrived.
        """
        catalog = in_force(self._store)
        if catalog is not self._catalog:
            self._read(catalog.definitions)
            self._catalog = catalog
        return self._routes

    def _read(self, definitions: Mapping[str, str]) -> None:
        found: dict[str, tuple[Route, ...]] = {}
        problems: dict[str, str] = {}
        for name, hash_ in sorted(definitions.items()):
            if not name.startswith(SOURCE):
                continue
            if hash_ not in self._compiled:
                self._compiled[hash_] = self._compile(hash_)
            route = self._compiled[hash_]
            if route is None:
                continue
            if isinstance(route, str):
                problems[name.removeprefix(SOURCE)] = route
                continue
            for topic in route.mapper.topics:
                if topic in self._own:
                    problems[route.mapper.source] = f"{topic} is this deployment's own topic"
                else:
                    found[topic] = (*found.get(topic, ()), route)
        for source, problem in problems.items():
            _log.error("source cannot be read", source=source, error=problem)
        self._routes, self.problems = found, problems

    def _compile(self, hash_: str) -> Route | str | None:
        definition = arrived(self._store, hash_)
        try:
            mapper = Mapper(definition.source)
            if not mapper.topics:
                return None
            reads_key = bool(mapper.fields(KEY))
            opener = Opener(mapper.format, self._schemas, mapper.fields(), reads_key=reads_key)
        except (UsageError, MsgspecError, KeyError) as error:
            return f"this version cannot use its mapping: {error}"
        return Route(mapper, opener)
