"""Memory that a burst of work has left behind goes back to the system."""

from __future__ import annotations

import ctypes


def give_back() -> None:
    """Ask the C library for it; one that has no such call keeps what it has.

    A replay lets some hundred MB pass through many threads, and each thread's free lists would keep
    their share for ever.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
