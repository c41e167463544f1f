"""What a customer may choose: the categories in which messages can reach them, by channel.

Read from the catalog in force. Left out is what consent has no say in: internal channels, channels
that need none, and mandatory messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import Struct

from orchestrator.sources.applied import Applied, arrived, in_force

Offer = Mapping[str, tuple[str, ...]]
"""Category -> channels, both sorted."""


class _Channel(Struct):
    audience: Literal["customer", "internal"] = "customer"
    needs_consent: bool = True


class _Policy(Struct):
    channels: dict[str, _Channel | None] = {}


class _Message(Struct):
    category: str
    channels: dict[str, Any] = {}
    class_: str = msgspec.field(name="class", default="promotional")


_policy = msgspec.json.Decoder(_Policy)
_message = msgspec.json.Decoder(_Message)


def offer_of(policy: str, messages: list[str]) -> Offer:
    """Return what the JSON of a policy and of messages lets a customer choose."""
    channels = _policy.decode(policy).channels
    asked = {
        name
        for name, one in channels.items()
        if one is None or (one.audience == "customer" and one.needs_consent)
    }
    found: dict[str, set[str]] = {}
    for source in messages:
        message = _message.decode(source)
        if message.class_ != "mandatory":
            found.setdefault(message.category, set()).update(asked & message.channels.keys())
    return {
        category: tuple(sorted(found[category])) for category in sorted(found) if found[category]
    }


class AppliedOffer:
    """The offer of the catalog in force; read anew when another one was applied."""

    def __init__(self, store: Applied) -> None:
        self._store = store
        self._hash = ""
        self._offer: Offer = {}

    def get(self) -> Offer:
        """Return what may be chosen now.

        Raises:
            DefinitionMissing: No catalog was applied yet, or a part of it has not arrived.
        """
        catalog = in_force(self._store)
        if catalog.catalog != self._hash:
            policy = [*self._sources(catalog.definitions, "policy/"), "{}"][0]
            messages = self._sources(catalog.definitions, "message/")
            self._offer, self._hash = offer_of(policy, messages), catalog.catalog
        return self._offer

    def _sources(self, definitions: Mapping[str, str], kind: str) -> list[str]:
        return [
            arrived(self._store, hash_).source
            for name, hash_ in sorted(definitions.items())
            if name.startswith(kind)
        ]
