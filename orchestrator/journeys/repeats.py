"""How often again: never, always, or after a time."""

from __future__ import annotations

from typing import Literal, cast

from orchestrator.expressions.durations import Duration, parse_duration


def again_of(text: str) -> Literal["never", "always"] | Duration:
    """Return what the checked text says."""
    if text in ("never", "always"):
        return cast("Literal['never', 'always']", text)
    return parse_duration(text.removeprefix("after "))
