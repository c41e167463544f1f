"""What is kept per customer: one struct, one row of the table ``customers``.

Layout on disk and in the changelog: ``due`` (8 bytes, by the engine), version byte, MessagePack
arrays. Rules for ever: fields are only appended, with a default; a field that is no longer used
keeps its place; a changed meaning gets a new version byte and an upcaster. Golden bytes in the
tests hold every released layout.

All instants are epoch ms, log time unless said. ``due`` and ``catalog`` are the engine's contract.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from orchestrator.errors import UnavailableError

VERSION = 1

TraitValue = bool | int | float | str | None


class TraitState(Struct, array_like=True, omit_defaults=True):
    """One stored trait. Which fields mean something depends on the trait's kind.

    plain, last, first, min, max: ``value`` (``at`` = occurred_at of its source). count, sum:
    ``value`` (and ``hits`` with a window). up: ``value``, or ``open`` with ``by``. set: ``open``,
    oldest first. score: ``value`` as of ``at``.
    """

    value: TraitValue = None
    at: int = 0
    open: list[TraitValue] = []
    hits: list[tuple[int, float]] = []
    """Windowed hits: (occurred_at, amount), oldest first; the newest 256 exactly."""
    older: list[tuple[int, float]] = []
    """Buckets for hits beyond the newest 256: (end of bucket, amount), at most 64."""


class Statement(Struct, array_like=True):
    """One consent statement; the newest one that covers (channel, category) decides."""

    channel: str
    """Empty = all, also later ones."""
    category: str
    granted: bool
    at: int
    """occurred_at."""


class Profile(Struct, array_like=True, omit_defaults=True):
    """What is known of a customer."""

    traits: dict[str, TraitState] = {}
    """Declared traits, and what live expressions count: ``#TYPE/WINDOW_MS`` and ``@TYPE`` (last)."""
    consent: list[Statement] = []
    unusable: dict[str, str] = {}
    """Channel -> address that bounced for good; usable again when it changes."""
    lifecycle: str = ""
    seen: list[tuple[bytes, int]] = []
    """Ids of recent events: (first 8 bytes of SHA-256 over source and event_id, log time)."""
    holdout: dict[str, bool] = {}
    """Salt -> control; decided once."""
    absorbed: list[str] = []
    """merge_ids already absorbed."""


class Sent(Struct, array_like=True, omit_defaults=True):
    """One action that left: for caps, gap, repeat and receipts."""

    action: bytes
    """First 16 bytes, that is the whole action id."""
    message: str
    channel: str
    category: str
    at: int
    """decided_at."""
    flags: int = 0
    """Bits of ``FLAGS``."""
    counts: bool = True
    entry: str = ""
    step: str = ""
    address: str = ""
    expires_at: int = 0


FLAGS = {
    name: 1 << bit
    for bit, name in enumerate(
        "accepted delivered opened clicked bounced complained unsubscribed dropped failed cancelled".split()
    )
}


class Pending(Struct, array_like=True, omit_defaults=True):
    """A send that fell due and is deferred."""

    step: str
    fell_due: int
    until: int
    """When it is tried again; 0 = only when something it reads changes, or at ``expires_at``."""
    expires_at: int
    reason: str
    rule: str = ""
    attempt: int = 0
    option: str = ""


class Hit(Struct, array_like=True, omit_defaults=True):
    """A match kept for ``best`` or for ``since: entry``."""

    pattern: str
    at: int
    properties: dict[str, TraitValue] = {}
    cause: str = ""


class Entry(Struct, array_like=True, omit_defaults=True):
    """One passage of the customer through a journey."""

    id: str
    journey: str
    version: str
    started: int
    cause: str
    step: str
    """Where it is parked."""
    key: str = ""
    wake: int = 0
    """When the wait at ``step`` ends by itself; 0 = not waiting."""
    arrived: int = 0
    passes: dict[str, int] = {}
    attempts: dict[str, int] = {}
    """Actions emitted in the latest pass of a step."""
    entry: dict[str, TraitValue] = {}
    latest: dict[str, TraitValue] = {}
    pending: Pending | None = None
    hits: list[Hit] = []
    interrupted: list[int] = []
    """Numbers of the interrupts that fired."""
    restarts: int = 0
    truths: dict[str, bool] = {}
    """Last truth of watched conditions, by their place."""
    ends_at: int = 0
    """max_life."""
    watch: int = 0
    """Earliest instant at which time alone may change a watched condition; 0 = none."""
    recorded: str = ""
    """The last deferral that was recorded, so that the same block is not recorded twice."""
    trace: str = ""


class Past(Struct, array_like=True, omit_defaults=True):
    """What remains of ended entries of one journey and key."""

    ended: int
    last_entry: str = ""
    goal_until: int = 0
    """A goal is still counted until then."""


class Customer(Struct, array_like=True, omit_defaults=True):
    """One customer's whole life."""

    due: int = 0
    catalog: int = 0
    first_seen: int = 0
    redirect: str = ""
    """The winner's id: this customer was merged away."""
    profile: Profile = msgspec.field(default_factory=Profile)
    sends: list[Sent] = []
    entries: list[Entry] = []
    """Live ones, oldest first."""
    past: dict[str, Past] = {}
    """By journey, or journey + 0x1F + key."""
    truths: dict[str, bool] = {}
    """Last truth of entry conditions (``when``), by journey."""
    absences: dict[str, int] = {}
    """Armed absence timers, by journey."""
    watch: int = 0
    """Earliest instant at which time alone may change lifecycle or an entry condition; 0 = none."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Customer).decode
_HEAD = bytes([VERSION])


def encode(state: Customer) -> bytes:
    """Return version byte + MessagePack."""
    return _HEAD + _encode(state)


def decode(data: bytes) -> Customer:
    """Return the state; inverse of ``encode``.

    Raises:
        UnavailableError: Written by a newer version: the partition waits for the upgrade.
    """
    if data[0] > VERSION:
        msg = f"state version {data[0]} is newer than {VERSION}: upgrade this worker"
        raise UnavailableError(msg)
    return _decode(memoryview(data)[1:])
