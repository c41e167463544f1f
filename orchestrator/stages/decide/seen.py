"""Memory of recent events: a second arrival of the same (source, event_id) is ignored.

Remembered are the ids of the last 48 h, at least the last 32, at most 1,000, 8 bytes each. What is
forgotten depends on the log alone: it happens when the next event is remembered. Receipts are
remembered like all others; beyond this memory their flags make them idempotent.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.records import Event
    from orchestrator.stages.decide.state import Profile

KEPT_MS = 48 * 3_600_000
LEAST = 32
MOST = 1_000
ID_BYTES = 8
TIME_BYTES = 6


def event_key(event: Event) -> bytes:
    """Return the 8 bytes by which an event is remembered."""
    return sha256(f"{event.source}\x1f{event.event_id}".encode()).digest()[:ID_BYTES]


def knows(profile: Profile, key: bytes) -> bool:
    """Return whether the memory holds ``key``."""
    seen = profile.seen
    at = seen.find(key)
    while at >= 0:
        if at % ID_BYTES == 0:
            return True
        at = seen.find(key, at + 1)
    return False


def check_and_remember(profile: Profile, event: Event, now: int) -> bool:
    """Return whether ``event`` is a duplicate; if it is new, remember it as of log time ``now``."""
    key = event_key(event)
    if key in profile.seen and knows(profile, key):
        return True
    profile.seen += key
    profile.seen_at += max(now, 0).to_bytes(TIME_BYTES, "big")
    if len(profile.seen_at) > LEAST * TIME_BYTES:
        forget(profile, now)
    return False


def forget(profile: Profile, now: int) -> None:
    """Drop what need not be remembered at ``now``."""
    times = profile.seen_at
    count = len(times) // TIME_BYTES
    drop = max(count - MOST, 0)
    while (
        count - drop > LEAST
        and int.from_bytes(times[drop * TIME_BYTES : (drop + 1) * TIME_BYTES], "big")
        <= now - KEPT_MS
    ):
        drop += 1
    if drop:
        profile.seen = profile.seen[drop * ID_BYTES :]
        profile.seen_at = times[drop * TIME_BYTES :]


def forget_all_but_least(profile: Profile) -> None:
    """Keep the last 32 ids alone."""
    profile.seen = profile.seen[-LEAST * ID_BYTES :]
    profile.seen_at = profile.seen_at[-LEAST * TIME_BYTES :]


def last_heard(profile: Profile) -> int:
    """Return the log time of the newest event (epoch ms); 0 = there was none."""
    return int.from_bytes(profile.seen_at[-TIME_BYTES:], "big")


def remembered(profile: Profile) -> Iterator[tuple[bytes, bytes]]:
    """Yield the ids with their log times, oldest first, as they are stored."""
    for number in range(len(profile.seen) // ID_BYTES):
        yield (
            profile.seen[number * ID_BYTES : (number + 1) * ID_BYTES],
            profile.seen_at[number * TIME_BYTES : (number + 1) * TIME_BYTES],
        )
