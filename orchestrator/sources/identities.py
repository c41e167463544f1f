"""Which identity an event is keyed by: the strongest one that the profile declares.

Read from the applied ``profile`` definition's canonical JSON: a connector needs these names and
nothing else of the catalog, and must not depend on the journey compiler.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from orchestrator.identities import strongest_first


@dataclass(frozen=True, slots=True)
class IdentityKinds:
    """The declared kinds, strongest first: primary, then the order of ``also``."""

    primary: str
    also: tuple[str, ...] = ()
    block: frozenset[str] = frozenset()

    @classmethod
    def of_profile(cls, source: str) -> IdentityKinds:
        """Read ``identities`` of a profile definition's canonical JSON."""
        identities = msgspec.json.decode(source).get("identities", {})
        return cls(
            identities.get("primary", "customer_id"),
            tuple(identities.get("also", ())),
            frozenset(identities.get("block", ())),
        )

    def declares(self, kind: str) -> bool:
        """Whether profile.yaml names this kind."""
        return kind == self.primary or kind in self.also

    def key(self, identities: Mapping[str, str]) -> str:
        """Return ``kind:value`` of the strongest identity, the record key of an event.

        Raises:
            InputError: No declared identity, or a primary value that no customer id may have.
        """
        return strongest_first(identities, self.primary, self.also, self.block)[0].key
