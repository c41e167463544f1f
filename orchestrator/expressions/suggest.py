"""The remedy for a misspelt name."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(word: str, known: Iterable[str], *, listing: bool = True) -> str:
    """Return a remedy: the nearest known word, or (``listing``) the few that there are, or nothing."""
    words = sorted(known)
    near = get_close_matches(word, words, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]}?"
    if listing and 0 < len(words) <= 6:  # noqa: PLR2004 - what fits a line
        return f"known: {', '.join(words)}"
    return ""
