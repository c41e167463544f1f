"""Identities as written ``kind:value``: normalised, checked, strongest first.

Connectors key events by them and the identify stage judges by them: one rule for both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from orchestrator.errors import InputError
from orchestrator.ids import MAX_CUSTOMER_ID_BYTES, PROVISIONAL_PREFIX, SEPARATOR

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

CUSTOMER = "customer"
"""Reserved kind: names the customer id itself, is never linked, never creates a customer."""
REFUSED_JOINS = frozenset({"blocked_identity", "known_customers", "join_limit"})
"""Causes of dead letters that say: these two are kept apart. The events themselves went their way."""
_CASELESS = frozenset({"email"})


class IdentityKey(NamedTuple):
    """One normalised identity."""

    kind: str
    value: str

    @property
    def key(self) -> str:
        """``kind:value``: the key of its row and of its records."""
        return f"{self.kind}:{self.value}"


class Owner(NamedTuple):
    """A customer as identities know it; ``first_seen`` is log time, epoch ms."""

    customer_id: str
    first_seen: int

    @property
    def known(self) -> bool:
        """Whether it stands for a primary identity, and is not provisional."""
        return not self.customer_id.startswith(PROVISIONAL_PREFIX)

    @property
    def rank(self) -> tuple[bool, int, str]:
        """Of customers who turn out to be one, the first in rank lives on.

        A total order: every redirect leads to a better rank, so chains end and never close a circle.
        """
        return not self.known, self.first_seen, self.customer_id


def may_join(one: Owner, other: Owner, *, merge_known: bool) -> bool:
    """Whether two customers may become one: two that are known only where the profile allows it."""
    return merge_known or not (one.known and other.known)


def normalise(kind: str, value: str) -> str:
    """Return ``value`` as identities of ``kind`` are compared; empty if nothing is left."""
    value = value.strip()
    return value.lower() if kind in _CASELESS else value


def strongest_first(
    identities: Mapping[str, str], primary: str, also: Sequence[str], block: Collection[str] = ()
) -> list[IdentityKey]:
    """Return those of an event's identities that tell customers apart, strongest first.

    ``customer`` stands alone: what else the event carries is then ignored. Kinds that profile.yaml
    does not declare and empty values are ignored. So are weaker identities of more than 200 bytes,
    and blocked ones (everybody's ``test@example.com``) as long as there is anything else.

    Raises:
        InputError: ``no_identity`` or ``bad_identity``; the text says why.
    """
    named = identities.get(CUSTOMER, "").strip()
    if named:
        _check_name(CUSTOMER, named)
        return [IdentityKey(CUSTOMER, named)]
    found: list[IdentityKey] = []
    for kind in (primary, *also):
        value = normalise(kind, identities.get(kind, ""))
        if not value:
            continue
        if kind == primary:
            _check_primary(kind, value)
        elif len(value.encode()) > MAX_CUSTOMER_ID_BYTES:
            continue
        found.append(IdentityKey(kind, value))
    if not found:
        declared = ", ".join((primary, *also))
        carried = ", ".join(sorted(identities)) or "none"
        raise InputError(
            f"no usable identity of the kinds that profile.yaml declares ({declared}); the event"
            f" carries: {carried}",
            "no_identity",
        )
    return [one for one in found if one.key not in block] or found[:1]


def _check_primary(kind: str, value: str) -> None:
    if value.startswith(PROVISIONAL_PREFIX):
        raise InputError(
            f"a {kind} must not begin with {PROVISIONAL_PREFIX!r}: that names provisional customers",
            "bad_identity",
        )
    _check_name(kind, value)


def _check_name(kind: str, value: str) -> None:
    size = len(value.encode())
    if size > MAX_CUSTOMER_ID_BYTES:
        raise InputError(
            f"a {kind} of {size} bytes is too long: it is a key everywhere; at most"
            f" {MAX_CUSTOMER_ID_BYTES}",
            "bad_identity",
        )
    if SEPARATOR in value:
        raise InputError(
            f"a {kind} must not hold the sign 0x1F: it stands between the parts of ids and keys",
            "bad_identity",
        )
