"""The decide stage: from a customer's timeline to actions and decisions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from orchestrator.errors import InputError
from orchestrator.stages.decide import state as states
from orchestrator.stages.decide.state import Customer

if TYPE_CHECKING:
    from orchestrator.stages.catalog import Catalog
    from orchestrator.stages.protocol import Emit, Input


class Decide:
    """What happens next for one customer, if anything (see ``stages/protocol.py``).

    With ``assume_accepted`` every sent action is followed, within the same record, by its
    ``message.accepted`` receipt: for runs without sinks.
    """

    name: Literal["decide"] = "decide"
    source: Literal["timeline"] = "timeline"
    table: Literal["customers"] = "customers"
    sweeps: Literal[True] = True

    def __init__(self, *, assume_accepted: bool = False) -> None:
        self.assume_accepted = assume_accepted

    def key(self, item: Input) -> str:
        """Return the customer whose timeline ``item`` is part of."""
        if not item.key:
            raise InputError("a timeline record needs its customer as key", "bad_key")
        return item.key

    def new(self, key: str) -> Customer:
        """Return a customer that was never seen."""
        del key
        return Customer()

    def encode(self, state: Customer) -> bytes:
        """Return version byte + MessagePack."""
        return states.encode(state)

    def decode(self, data: bytes) -> Customer:
        """Inverse of ``encode``."""
        return states.decode(data)

    def apply(
        self, key: str, state: Customer, item: Input, now: int, catalog: Catalog
    ) -> list[Emit]:
        """Apply one timeline record."""
        raise NotImplementedError

    def fire(self, key: str, state: Customer, now: int, catalog: Catalog) -> list[Emit]:
        """Fire every timer with due <= ``now``."""
        raise NotImplementedError

    def switch(self, key: str, state: Customer, old: Catalog, new: Catalog, at: int) -> list[Emit]:
        """Bring a customer from one catalog to the next."""
        raise NotImplementedError
