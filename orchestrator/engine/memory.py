"""What Linux can do for a large heap: take back what a burst left behind, and map it in large pages.

States lie all over hundreds of megabytes, and each input touches a few dozen places of one of them:
in pages of 4 KB every touch costs the processor a walk through the page table (two, in a virtual
machine). In pages of 2 MB the same work takes a tenth to an eighth less of its time.
"""

from __future__ import annotations

import ctypes
import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

PERIOD_S: Final = 2.0
HUGE: Final = 2 * 1024 * 1024
"""Bytes of a large page, on amd64 and on arm64 with pages of 4 KB."""
THREADS_HEAP: Final = 64 * 1024 * 1024
"""At multiples of it the GNU C library puts the heaps of other threads than the main one: what passes
through them does not stay."""
DENSE: Final = 0.75
"""A part of memory that is filled less than this would only grow."""
MADV_HUGEPAGE, MADV_COLLAPSE = 14, 25
"""``linux/mman.h``; the second one since Linux 6.1: now, instead of some hours later."""
_ENABLED = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_MAPS = Path("/proc/self/smaps")
_HEAD = re.compile(r"([0-9a-f]+)-([0-9a-f]+) rw-p \S+ \S+ 0 *(?:\[heap\])?$")
_SIZES = re.compile(r"(Rss|AnonHugePages): +(\d+) kB")


def give_back() -> None:
    """Ask the C library for it; one that has no such call keeps what it has.

    A replay lets some hundred MB pass through many threads, and each thread's free lists would keep
    their share for ever.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


class Area(NamedTuple):
    """A private, writable part of this process' memory without a file behind it; sizes in bytes."""

    begin: int
    end: int
    resident: int
    huge: int
    """Of ``resident``: in large pages."""


def areas(smaps: str) -> Iterator[Area]:
    """Yield the areas that ``/proc/PID/smaps`` tells of."""
    head: re.Match[str] | None = None
    resident = 0
    for line in smaps.splitlines():
        if line[:1] in "0123456789abcdef":
            head = _HEAD.match(line)
        elif head is not None and (size := _SIZES.match(line)) is not None:
            if size[1] == "Rss":
                resident = int(size[2]) * 1024
            else:
                yield Area(int(head[1], 16), int(head[2], 16), resident, int(size[2]) * 1024)


def worth_it(area: Area) -> tuple[int, int] | None:
    """Return the whole large pages of an area that is densely filled, as (begin, bytes)."""
    begin, end = -(-area.begin // HUGE) * HUGE, area.end // HUGE * HUGE
    if area.begin % THREADS_HEAP == 0:
        return None
    if area.resident < DENSE * (area.end - area.begin) or area.huge >= end - begin:
        return None
    return begin, end - begin


class LargePages(threading.Thread):
    """Every two seconds maps in large pages what has grown dense.

    A system whose ``transparent_hugepage/enabled`` says ``never``, or that is no Linux, is left alone.
    """

    def __init__(self, period_s: float = PERIOD_S) -> None:
        super().__init__(name="large-pages", daemon=True)
        self._period_s = period_s
        self._over = threading.Event()
        self._madvise = ctypes.CDLL(None).madvise
        self._madvise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int

    def run(self) -> None:
        """Look at the whole memory from time to time."""
        with suppress(OSError):  # no such file: no Linux, or a container without /proc
            while "[never]" not in _ENABLED.read_text():
                self.look()
                if self._over.wait(self._period_s):
                    return

    def look(self) -> None:
        """Look once."""
        for area in areas(_MAPS.read_text(errors="replace")):
            part = worth_it(area)
            if part is not None:  # a refusal is none of our business: it stays as it was
                self._madvise(*part, MADV_HUGEPAGE)
                self._madvise(*part, MADV_COLLAPSE)

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
