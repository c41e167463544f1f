"""What is kept per customer: one struct, one row of the table ``customers``.

Layout on disk and in the changelog: ``due`` (8 bytes, by the engine), version byte, MessagePack
arrays. Rules for ever: fields are only appended, with a default; a field that is no longer used
keeps its place; a changed meaning gets a new version byte and an upcaster. Golden bytes in the
tests hold every released layout.

All instants are epoch ms, log time unless said. ``due`` and ``catalog`` are the engine's contract.

Hundreds of thousands of these lie in memory, so the garbage collector shall have little to walk
through: no struct here can be part of a cycle (``gc=False``), and sequences are tuples, whose empty
one is shared. They are replaced, never changed.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from orchestrator.errors import UnavailableError

VERSION = 1

TraitValue = bool | int | float | str | None


class TraitState(Struct, array_like=True, gc=False):
    """One stored trait. Which fields mean something depends on the trait's kind.

    plain, last, first, min, max: ``value`` (``at`` = occurred_at of its source; a cleared trait
    keeps ``at``). count, sum: ``value``, or the hits with a window. up: ``value``, or ``open`` with
    ``by``. set: ``open``. score: ``value`` as of ``at``. A number keeps its type: an int is never
    stored as a float, else bytes would differ after a restart.
    """

    value: TraitValue = None
    at: int = 0
    open: tuple[TraitValue, ...] = ()
    """Distinct values, the one seen longest ago first; ``hits`` has the instant of each."""
    hits: tuple[int, ...] = ()
    """occurred_at of the newest 256 hits of a window, oldest first."""
    amounts: tuple[int | float, ...] = ()
    """What each of ``hits`` adds; empty for counts, where each adds 1."""
    older: tuple[int, ...] = ()
    """Ends of the buckets that hold the hits beyond the newest 256; oldest first."""
    older_amounts: tuple[int | float, ...] = ()


class Statement(Struct, array_like=True, frozen=True, order=True, gc=False):
    """One consent statement; the newest one that covers (channel, category) decides."""

    channel: str
    """Empty = all, also later ones."""
    category: str
    granted: bool
    at: int
    """occurred_at."""


class Profile(Struct, array_like=True, gc=False):
    """What is known of a customer."""

    traits: dict[str, TraitState] = {}
    """Declared traits, and what live expressions ask: ``#TYPE/WINDOW_MS`` (count), ``@TYPE`` (last)."""
    consent: tuple[tuple[Statement, ...], ...] = ()
    """One list for each customer that came together here: a merge lets revoked win over granted
    whatever the time, while within one list, and for all that is said later, the newest wins."""
    unusable: dict[str, tuple[bytes, ...]] = {}
    """Channel -> digests of addresses that bounced for good, at most 8."""
    lifecycle: str = ""
    seen: bytes = b""
    """Ids of recent events, 8 bytes each, oldest first: of SHA-256 over source and event_id."""
    seen_at: bytes = b""
    """Their log times, 6 bytes each, big-endian."""
    holdout: dict[str, int] = {}
    """Salt (of a journey: 0x1F and its name behind it) -> bucket of one who was drawn into the control group; 10,000 = was not, or is no more."""
    absorbed: tuple[str, ...] = ()
    """merge_ids already absorbed, sorted."""


class Sent(Struct, array_like=True, gc=False):
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
    entry: bytes = b""
    """Its entry's id."""
    step: str = ""
    address: bytes = b""
    """Digest of where it went (``consent.digest``): device tokens are long, and nobody's business."""
    journey: str = ""
    pass_: int = 1
    fell_due: int = 0
    """When the send first fell due; 0 = at ``at``."""

    @property
    def entry_id(self) -> str:
        """The id of its entry, as records carry it."""
        return self.entry.hex()

    @property
    def returned(self) -> bool:
        """Whether its slot was given back: the sink dropped it or failed."""
        return bool(self.flags & _RETURNED)

    @property
    def cancellable(self) -> bool:
        """Whether a sink may still hold it: not accepted, not given back, not yet cancelled."""
        return not self.flags & _SETTLED


FLAGS = {
    name: 1 << bit
    for bit, name in enumerate(
        "accepted delivered opened clicked bounced complained unsubscribed dropped failed cancelled".split()
    )
}


_RETURNED = FLAGS["dropped"] | FLAGS["failed"]
_SETTLED = _RETURNED | FLAGS["accepted"] | FLAGS["cancelled"]


class Pending(Struct, array_like=True, gc=False):
    """A send that fell due and is deferred. It was recorded with ``reason``, ``rule``, ``until``."""

    fell_due: int
    until: int
    """When it is tried again; 0 = only when something it reads changes, or at ``expires_at``."""
    expires_at: int
    reason: str = ""
    """Empty: it has not been decided since it came (back) here."""
    rule: str = ""
    blocks: tuple[str, ...] = ()
    """The reasons of all its channels: what must change to wake it early."""
    retry: int = 0
    """A new catalog has it looked at again then; 0 = no."""
    way: int = 0
    """Which of its step's ways to send it was recorded for."""

    @property
    def due(self) -> int:
        """When it is next looked at by itself; 0 = never."""
        return min((one for one in (self.until, self.retry, self.expires_at) if one), default=0)


class Hit(Struct, array_like=True, gc=False):
    """A match kept for ``best`` or for ``since: entry``."""

    step: str
    pattern: int
    """Number of the pattern at ``step``."""
    at: int
    properties: dict[str, TraitValue] = {}
    cause: str = ""


class Entry(Struct, array_like=True, gc=False):
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
    latest: dict[str, TraitValue] | None = None
    """None = ``entry``."""
    pending: Pending | None = None
    hits: tuple[Hit, ...] = ()
    interrupted: tuple[int, ...] = ()
    """Numbers of the interrupts that fired."""
    restarts: int = 0
    ends_at: int = 0
    """max_life."""
    watch: int = 0
    """Earliest instant at which time alone may change a watched condition; 0 = none."""
    after: str = ""
    """The send that was sent directly before it parked here: ``window`` returns to it."""
    trace: str = ""
    moving: bool = False
    """A new definition moved it: at ``wake`` it arrives at ``step``."""

    @property
    def waiting(self) -> bool:
        """Whether it stands at a wait, and is not only held before its arrival at a step."""
        return self.wake != 0 and not self.moving

    @property
    def parked(self) -> bool:
        """Whether it stands at a wait or at a deferred send, and not on its way."""
        return self.wake != 0 or self.pending is not None


class Past(Struct, array_like=True, gc=False):
    """What remains of ended entries of one journey and key."""

    ended: int
    entry_id: str = ""
    """Only while a goal is counted."""
    goal_until: int = 0
    """A goal is still counted until then; what follows is kept for it alone."""
    version: str = ""
    entry: dict[str, TraitValue] = {}
    latest: dict[str, TraitValue] = {}


class Customer(Struct, array_like=True, gc=False):
    """One customer's whole life."""

    due: int = 0
    catalog: int = 0
    first_seen: int = 0
    redirect: str = ""
    """The winner's id: this customer was merged away."""
    profile: Profile = msgspec.field(default_factory=Profile)
    sends: tuple[Sent, ...] = ()
    entries: tuple[Entry, ...] = ()
    """Live ones, oldest first."""
    past: dict[str, Past] = {}
    """By journey, or journey + 0x1F + key."""
    truths: dict[str, bool] = {}
    """Entry conditions (``when``) that were true last, by journey; absent = false."""
    absences: dict[str, int] = {}
    """Armed absence timers, by journey."""
    watch: int = 0
    """Earliest instant at which time alone may change lifecycle or an entry condition; 0 = none."""
    scheduled: dict[str, int] = {}
    """When the customer enters a journey that took in those for whom it already held."""
    contest: int = 0
    """End of the latest arbitration window."""
    ever: dict[str, int] = {}
    """Message -> decided_at of its newest send that is no longer in ``sends``."""
    merged: tuple[str, ...] = ()
    """Ids of customers who came together here, sorted, at most 64: so ``customer why`` finds what was
    decided for them before."""
    winner_seen: int = 0
    """When the customer of ``redirect`` was first seen, by identity: part of its rank."""
    silences: dict[str, int] = {}
    """Since when the silences of ``absences`` last: their zone or their length may change."""


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
    return _decode(data[1:])  # copying it is cheaper than a memoryview
