"""Which identity an event is keyed by: the strongest one that the profile declares.

Read from the applied ``profile`` definition's canonical JSON: a connector needs these names and
nothing else of the catalog, and must not depend on the journey compiler.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from orchestrator.errors import InputError
from orchestrator.ids import MAX_CUSTOMER_ID_BYTES, PROVISIONAL_PREFIX

CUSTOMER = "customer"
"""Reserved kind: the customer id itself, as receipts carry it."""


@dataclass(frozen=True, slots=True)
class IdentityKinds:
    """The declared kinds, strongest first: primary, then the order of ``also``."""

    primary: str
    also: tuple[str, ...] = ()

    @classmethod
    def of_profile(cls, source: str) -> IdentityKinds:
        """Read ``identities`` of a profile definition's canonical JSON."""
        identities = msgspec.json.decode(source).get("identities", {})
        return cls(identities.get("primary", "customer_id"), tuple(identities.get("also", ())))

    def declares(self, kind: str) -> bool:
        """Whether profile.yaml names this kind."""
        return kind == self.primary or kind in self.also

    def key(self, identities: Mapping[str, str]) -> str:
        """Return ``kind:value`` of the strongest identity, the record key of an event.

        Raises:
            InputError: No declared identity, or a primary value that no customer id may have.
        """
        for kind in (CUSTOMER, self.primary, *self.also):
            value = normalise(kind, identities.get(kind, ""))
            if value and self._fits(kind, value):
                return f"{kind}:{value}"
        declared = ", ".join((self.primary, *self.also))
        raise InputError(f"no identity that profile.yaml declares ({declared})", "no_identity")

    def _fits(self, kind: str, value: str) -> bool:
        """Whether this identity can be a key; a weaker one that cannot is passed over."""
        short = len(value.encode()) <= MAX_CUSTOMER_ID_BYTES
        if kind in self.also:
            return short
        if not short:
            raise InputError(
                f"identity {kind} exceeds {MAX_CUSTOMER_ID_BYTES} bytes", "bad_identity"
            )
        if kind == self.primary and value.startswith(PROVISIONAL_PREFIX):
            raise InputError(
                f"identity {kind} begins with {PROVISIONAL_PREFIX!r}, which is reserved",
                "bad_identity",
            )
        return True


def normalise(kind: str, value: str) -> str:
    """Return the value as the identity table knows it: e-mail trimmed and lower-cased."""
    return value.strip().lower() if kind == "email" else value.strip()
