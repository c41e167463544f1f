"""The catalog in force and its definitions, as connectors need them: here, or a word on what is awaited."""

from __future__ import annotations

from typing import Protocol

from orchestrator.errors import DefinitionMissing
from orchestrator.records import CatalogSwitch, Definition


class Applied(Protocol):
    """What is in force; a ``DefinitionStore`` follows it."""

    @property
    def catalog(self) -> CatalogSwitch | None:
        """The newest catalog."""
        ...

    def get(self, hash_: str) -> Definition | None:
        """Return a definition if it has arrived."""
        ...


def in_force(store: Applied) -> CatalogSwitch:
    """Return the catalog in force.

    Raises:
        DefinitionMissing: None was applied yet.
    """
    if store.catalog is None:
        raise DefinitionMissing(
            "no catalog is in force: run `orchestrator journeys apply` on a workspace"
        )
    return store.catalog


def arrived(store: Applied, hash_: str) -> Definition:
    """Return a definition of that catalog.

    Raises:
        DefinitionMissing: It is still on its way.
    """
    definition = store.get(hash_)
    if definition is None:
        raise DefinitionMissing(f"definition {hash_} has not arrived yet")
    return definition
