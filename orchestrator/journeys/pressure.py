"""Caps and quiet hours that cannot work: never met, always met, overlapping, all day long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.journeys.spots import MINUTES_OF_DAY, Spot
from orchestrator.journeys.world import World
from orchestrator.stages.catalog import Cap, Channel, QuietHours

_WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MINUTES_OF_WEEK = 7 * MINUTES_OF_DAY
_WITHIN = {"day": ("day", "week", "month"), "week": ("week",), "month": ("month",)}


# -------------------------------------------------------------------------------- quiet hours


def _spans(quiet: QuietHours) -> list[tuple[int, int]]:
    """Return the window as minutes of the week, half-open, none crossing Sunday's midnight."""
    spans: list[tuple[int, int]] = []
    if quiet.start == quiet.end:
        return spans  # reported where it stands
    for number, day in enumerate(_WEEK):
        if quiet.days and day not in quiet.days:
            continue
        start = number * MINUTES_OF_DAY + quiet.start
        end = (
            number * MINUTES_OF_DAY
            + quiet.end
            + (MINUTES_OF_DAY if quiet.end <= quiet.start else 0)
        )
        spans.append((start, min(end, _MINUTES_OF_WEEK)))
        if end > _MINUTES_OF_WEEK:
            spans.append((0, end - _MINUTES_OF_WEEK))
    return sorted(spans)


def check_quiet_hours(
    spot: Spot, windows: Sequence[QuietHours], external: Sequence[str], world: World
) -> None:
    """Report overlaps on one channel, and channels that are never allowed."""
    spots = list(spot)
    for number, window in enumerate(windows):
        mine = window.channels or set(external)
        for earlier in windows[:number]:
            shared = mine & (earlier.channels or set(external))
            if shared and _overlap(_spans(window), _spans(earlier)):
                world.report(
                    spots[number].mark,
                    "overlapping-quiet-hours",
                    f"{window.name!r} overlaps {earlier.name!r} on {', '.join(sorted(shared))}",
                    "give each its own hours, days or channels",
                )
                break
    closed = [channel for channel in external if _never_ends(windows, channel)]
    if closed:
        world.report(
            spot.mark,
            "never-allowed",
            f"quiet hours never end on {', '.join(closed)}",
            "leave a gap",
        )


def _never_ends(windows: Sequence[QuietHours], channel: str) -> bool:
    return _covers_week(
        [
            span
            for window in windows
            if not window.channels or channel in window.channels
            for span in _spans(window)
        ]
    )


def _overlap(left: Sequence[tuple[int, int]], right: Sequence[tuple[int, int]]) -> bool:
    return any(a < d and c < b for a, b in left for c, d in right)


def _covers_week(spans: Sequence[tuple[int, int]]) -> bool:
    ordered = sorted(spans)
    if not ordered or ordered[0][0] > 0:
        return False
    reached = 0
    for start, end in ordered:
        if start > reached:
            return False
        reached = max(reached, end)
    return reached >= _MINUTES_OF_WEEK


# --------------------------------------------------------------------------------------- caps


def check_caps(
    spot: Spot, caps: Sequence[Cap], channels: Mapping[str, Channel], world: World
) -> None:
    """Report caps that allow nothing, and caps that another one always meets first."""
    for number, (each, cap) in enumerate(zip(spot, caps, strict=True)):
        if cap.limit < 1:
            world.report(
                each["limit"].mark,
                "impossible-cap",
                f"a limit of {cap.limit} allows nothing",
                "pause the channel, or write a limit of at least 1",
            )
            continue
        if cap.channels and all(
            name in channels and channels[name].internal for name in cap.channels
        ):
            world.report(each.mark, "never-binding-cap", "internal channels are outside of caps")
            continue
        tighter = next(
            (
                other
                for place, other in enumerate(caps)
                if place != number and _always_first(other, cap, earlier=place < number)
            ),
            None,
        )
        if tighter is not None:
            world.report(
                each.mark, "never-binding-cap", f"{tighter.name!r} is always reached first"
            )


def _always_first(other: Cap, cap: Cap, *, earlier: bool) -> bool:
    if other.limit < 1 or other.limit > cap.limit or not _wider(other, cap):
        return False
    if not _lasts(other, cap):
        return False
    same = other.limit == cap.limit and _wider(cap, other) and _lasts(cap, other)
    return earlier or not same


def _wider(other: Cap, cap: Cap) -> bool:
    """Whether everything that counts for ``cap`` counts for ``other``."""
    return (
        (not other.channels or (bool(cap.channels) and cap.channels <= other.channels))
        and (not other.categories or (bool(cap.categories) and cap.categories <= other.categories))
        and other.message in (None, cap.message)
        and other.about in (None, cap.about)
    )


def _lasts(other: Cap, cap: Cap) -> bool:
    """Whether every window of ``cap`` lies within one of ``other``."""
    if cap.per == "rolling" or other.per == "rolling":
        if cap.rolling is None or other.rolling is None:
            return False
        return other.rolling.days >= cap.rolling.days and other.rolling.ms >= cap.rolling.ms
    return other.per in _WITHIN[cap.per]
