"""The identity kinds of the catalog in force, for connectors that run for long."""

from __future__ import annotations

from typing import Protocol

from orchestrator.errors import DefinitionMissing
from orchestrator.records import CatalogSwitch, Definition
from orchestrator.sources.identities import IdentityKinds

PROFILE = "profile/"


class Applied(Protocol):
    """What is in force; a ``DefinitionStore`` follows it."""

    @property
    def catalog(self) -> CatalogSwitch | None:
        """The newest catalog."""
        ...

    def get(self, hash_: str) -> Definition | None:
        """Return a definition if it has arrived."""
        ...


class AppliedKinds:
    """Follows ``profile.yaml`` as it is applied; a lookup costs a comparison."""

    def __init__(self, store: Applied) -> None:
        self._store = store
        self._hash: str | None = None
        self._kinds: IdentityKinds | None = None

    def get(self) -> IdentityKinds:
        """Return the kinds in force.

        Raises:
            DefinitionMissing: No catalog was applied yet, or its profile has not arrived.
        """
        catalog = self._store.catalog
        if catalog is None:
            raise DefinitionMissing(
                "no catalog is in force: run `orchestrator journeys apply` on a workspace"
            )
        names = (hash_ for name, hash_ in catalog.definitions.items() if name.startswith(PROFILE))
        applied = next(names, "")
        if self._kinds is None or applied != self._hash:
            self._kinds, self._hash = self._read(applied), applied
        return self._kinds

    def _read(self, applied: str) -> IdentityKinds:
        if not applied:
            return IdentityKinds.of_profile("{}")
        definition = self._store.get(applied)
        if definition is None:
            raise DefinitionMissing(f"definition {applied} has not arrived yet")
        return IdentityKinds.of_profile(definition.source)
