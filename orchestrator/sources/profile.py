"""The identity kinds of the catalog in force, for connectors that run for long."""

from __future__ import annotations

from orchestrator.sources.applied import Applied, arrived, in_force
from orchestrator.sources.identities import IdentityKinds

PROFILE = "profile/"


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
        catalog = in_force(self._store)
        names = (hash_ for name, hash_ in catalog.definitions.items() if name.startswith(PROFILE))
        applied = next(names, "")
        if self._kinds is None or applied != self._hash:
            self._kinds, self._hash = self._read(applied), applied
        return self._kinds

    def _read(self, applied: str) -> IdentityKinds:
        if not applied:
            return IdentityKinds.of_profile("{}")
        return IdentityKinds.of_profile(arrived(self._store, applied).source)
