"""policy.yaml: channels, consent, quiet hours, caps, gap, suppression, and what cannot work in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from orchestrator.expressions.durations import Duration, parse_duration
from orchestrator.journeys.arms import constant
from orchestrator.journeys.pressure import check_caps, check_quiet_hours
from orchestrator.journeys.spots import Spot, parse_clock, strip
from orchestrator.journeys.world import World, written_keys
from orchestrator.stages.catalog import Cap, Channel, Holdout, Policy, QuietHours, Suppression

_NO_JOURNEY = {
    "event": "the policy holds at any time",
    "entry": "the policy holds for every journey",
    "latest": "the policy holds for every journey",
    "history": "an address is a trait",
}


def duration_of(spot: Spot | None) -> Duration | None:
    """Return the duration, if there is one."""
    return None if spot is None else parse_duration(spot.value)


def holdout_of(spot: Spot | None) -> Holdout | None:
    """Return the holdout, its share in hundredths of a percent."""
    if spot is None:
        return None
    return Holdout(share=hundredths(spot["share"]), salt=spot["salt"].value)


def hundredths(spot: Spot) -> int:
    """Return a percentage in hundredths of a percent."""
    return round(float(spot.value) * 100)


def learn_policy(spot: Spot, world: World) -> None:
    """Tell ``world`` the channels and the categories of the policy."""
    world.channels = set(written_keys(spot.get("channels")))
    consent = spot.get("consent")
    world.categories = set(written_keys(None if consent is None else consent.get("default")))


def compile_policy(spot: Spot, world: World) -> Policy:
    """Return the compiled policy."""
    channels = {
        name: _channel(name, each, spot, world)
        for name, each in (spot["channels"].items() if "channels" in spot else [])
    }
    consent = spot.get("consent")
    quiet = tuple(_quiet_hours(each, world) for each in spot.value.get("quiet_hours", ()))
    caps = tuple(_cap(each, world) for each in spot.value.get("caps", ()))
    policy = Policy(
        timezone=spot["timezone"].value,
        channels=channels,
        consent_default={} if consent is None else dict(sorted(strip(consent["default"]).items())),
        quiet_hours=quiet,
        caps=caps,
        gap=_gap(spot.get("gap"), world),
        suppress=tuple(_suppression(each, world) for each in spot.value.get("suppress", ())),
        holdout=holdout_of(spot.get("holdout")),
        on_block=spot.plain("on_block", {}),
        arbitration_window=_window(spot.get("arbitration")),
        protect=duration_of(spot.get("protect")),
        spread_ms=parse_duration(spot.plain("spread", "PT10M")).milliseconds(),
        max_event_age_ms=parse_duration(spot.plain("max_event_age", "P7D")).milliseconds(),
    )
    for key in ("quiet_hours", "caps", "suppress"):
        _unique_names(spot.value.get(key), world)
    external = sorted(name for name, channel in channels.items() if not channel.internal)
    if "quiet_hours" in spot:
        check_quiet_hours(spot["quiet_hours"], quiet, external, world)
    if "caps" in spot:
        check_caps(spot["caps"], caps, channels, world)
    return policy


def _channel(name: str, spot: Spot, policy: Spot, world: World) -> Channel:
    internal = spot.plain("audience") == "internal"
    address = None
    if "address" in spot:
        place = world.place(profile=world.profile, history=False, missing=_NO_JOURNEY)
        address = world.expression(spot["address"], place, expect=("string",))
    elif not internal and name != "inapp":
        world.report(
            policy["channels"].key_mark(name),
            "missing-address",
            f"channel {name!r} goes to customers and has no address",
            f"write address: profile.{name}",
        )
    return Channel(
        name=name,
        address=address,
        audience="internal" if internal else "customer",
        needs_consent=spot.plain("needs_consent", not internal),
        paused=spot.plain("paused", False),
    )


def _channels(spot: Spot, world: World, *singular: str) -> frozenset[str]:
    found = [*spot.value.get("channels", ()), *(spot[key] for key in singular if key in spot)]
    return frozenset(world.channel(each) for each in found)


def _quiet_hours(spot: Spot, world: World) -> QuietHours:
    start, end = (cast("int", parse_clock(spot[key].value)) for key in ("from", "to"))
    if start == end:
        world.report(
            spot["to"].mark,
            "bad-time",
            "from and to are the same",
            'a whole day is "00:00" to "23:59"',
        )
    return QuietHours(
        name=spot["name"].value,
        start=start,
        end=end,
        channels=_channels(spot, world),
        days=frozenset(spot.plain("days", ())),
    )


def _cap(spot: Spot, world: World) -> Cap:
    word, _, span = spot["per"].value.partition(" ")
    categories = [
        *spot.value.get("categories", ()),
        *([spot["category"]] if "category" in spot else []),
    ]
    return Cap(
        name=spot["name"].value,
        limit=spot["limit"].value,
        per=word,
        rolling=parse_duration(span) if span else None,
        channels=_channels(spot, world, "channel"),
        categories=frozenset(world.category(each) for each in categories),
        message=world.message(spot["message"]) if "message" in spot else None,
        about=spot.plain("about"),
    )


def _gap(spot: Spot | None, world: World) -> Mapping[str, Duration]:
    if spot is None:
        return {}
    for key in spot.words():
        if key.value != "any":
            world.channel(key)
    return {name: parse_duration(each.value) for name, each in spot.items()}


def _window(spot: Spot | None) -> Duration | None:
    window = None if spot is None else duration_of(spot.get("window"))
    return window or None


def _suppression(spot: Spot, world: World) -> Suppression:
    then = spot.plain("then", "defer")
    place = world.place(profile=world.profile, missing=_NO_JOURNEY)
    # Only a deferral must know when it ends.
    condition = world.expression(spot["if"], place, expect=("boolean",), watched=then == "defer")
    if constant(condition) is True:
        world.report(spot["if"].mark, "never-allowed", "this is always true: nothing is ever sent")
    return Suppression(
        name=spot["name"].value,
        condition=condition,
        channels=_channels(spot, world),
        categories=frozenset(world.category(each) for each in spot.value.get("categories", ())),
        messages=frozenset(world.message(each) for each in spot.value.get("messages", ())),
        then=then,
    )


def _unique_names(spots: Any, world: World) -> None:
    seen: set[str] = set()
    for each in spots or ():
        name = each["name"]
        if name.value in seen:
            world.report(name.mark, "duplicate-name", f"{name.value!r} stands here twice")
        seen.add(name.value)
