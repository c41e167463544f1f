"""An independent judge of actions: caps, gaps, quiet hours, consent, counted from what left alone.

It shares no code with the product: zoneinfo and datetime, nothing else. Given are the policy as it
stands in YAML, the class of each message, the customer's zone and consent statements.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo


def wall(at, zone):
    return datetime.fromtimestamp(at / 1000, UTC).astimezone(ZoneInfo(zone))


def minutes(text):
    return int(text[:2]) * 60 + int(text[3:])


def is_quiet(at, zone, rule):
    """Whether a wall time lies in [from, to); days name the start's day."""
    now = wall(at, zone)
    start, end, minute = minutes(rule["from"]), minutes(rule["to"]), now.hour * 60 + now.minute
    if start < end:
        inside, day = start <= minute < end, now
    else:
        inside = minute >= start or minute < end
        day = now if minute >= start else now - timedelta(days=1)
    name = day.strftime("%a").lower()
    return inside and name in (rule.get("days") or [name])


def calendar_period(at, zone, per):
    day = wall(at, zone).date()
    match per:
        case "day":
            return day
        case "week":
            return day - timedelta(days=day.weekday())
        case "month":
            return (day.year, day.month)


def within_cap(times, zone, cap):
    """Whether no period, and no rolling window of whole days, holds more sends than the limit."""
    if cap["per"].startswith("rolling"):
        days = int(cap["per"].removeprefix("rolling P").removesuffix("D"))
        starts = [wall(at, zone) for at in times]
        return all(
            later.replace(tzinfo=None) - first.replace(tzinfo=None) >= timedelta(days=days)
            for first, later in zip(starts, starts[cap["limit"] :], strict=False)
        )
    periods = [calendar_period(at, zone, cap["per"]) for at in times]
    return all(periods.count(period) <= cap["limit"] for period in set(periods))


def violations(sends, zone, policy, classes, consents=()):
    """Yield what one customer's sends break; ``sends`` = (at, message, channel, category), by time.

    ``consents`` = (at, channel, category, granted); a category without a statement follows its default.
    """
    internal = {
        name for name, one in policy["channels"].items() if one.get("audience") == "internal"
    }
    customer = [send for send in sends if send[2] not in internal]
    for at, message, channel, category in customer:
        if classes[message] == "mandatory":
            continue
        for rule in policy.get("quiet_hours", ()):
            if channel in rule.get("channels", [channel]) and is_quiet(at, zone, rule):
                yield f"{message} at {wall(at, zone)} in {rule['name']}"
        if policy["channels"][channel].get("needs_consent", True):
            said = [
                one[3]
                for one in consents
                if one[0] <= at and one[1] == channel and one[2] == category
            ]
            default = policy["consent"]["default"].get(category) == "opt_out"
            if not (said[-1] if said else default):
                yield f"{message} at {wall(at, zone)} without consent"
    counted = [send for send in customer if classes[send[1]] == "promotional"]
    for cap in policy.get("caps", ()):
        times = [
            at
            for at, message, channel, category in counted
            if channel in cap.get("channels", [cap.get("channel", channel)])
            and category in cap.get("categories", [cap.get("category", category)])
            and message == cap.get("message", message)
        ]
        if not within_cap(times, zone, cap):
            yield f"cap {cap['name']}: {[str(wall(at, zone)) for at in times]}"
    if hours := policy.get("gap", {}).get("any"):
        span = int(hours.removeprefix("PT").removesuffix("H")) * 3_600_000
        for (first, *_), (second, *_) in pairwise(counted):
            if second - first < span:
                yield f"gap: {wall(first, zone)} and {wall(second, zone)}"
