"""Decisions in words: what a person reads in ``customer why``, the demo and the console."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.records import Decision, Value

REASONS_IN_WORDS = {
    "not_live": "its entry had already ended",
    "condition": "the step's own condition was false",
    "obsolete": "the message had become pointless (obsolete_if)",
    "already_sent": "this message went out before and may not be repeated yet",
    "suppression": "a suppression rule holds it back",
    "no_consent": "there is no consent for this channel and category",
    "no_address": "there is no usable address on this channel",
    "no_content": "the message has no content for this channel",
    "channel_paused": "the channel is paused",
    "holdout": "the customer is in the control group",
    "quiet_hours": "it is quiet hours for this customer",
    "gap": "the last message is too recent (gap)",
    "cap": "the frequency cap is used up",
    "protected": "the slot is kept for a message of higher priority",
    "arbitration": "another message won this moment",
    "expired": "it came too late to be worth sending",
    "window": "its sending window closed before the sink could send it",
    "exit": "an exit condition ended the journey",
    "goal": "the goal was reached",
    "interrupted": "an interrupt took the entry elsewhere",
    "merged": "the customer was merged with another",
    "completed": "the journey was walked to its end",
    "stopped": "the journey came to a stop step",
    "loop_limit": "a step was passed too often",
    "max_life": "the entry lived too long (max_life)",
    "past_date": "the date to wait for is past",
    "error": "a definition failed at run time",
    "not_eligible": "the entry condition was false",
    "re_entry": "re-entry is not allowed yet",
    "already_live": "there is a live entry already",
    "no_key": "the entry event has no key",
    "late": "the event was too old to start anything",
    "paused": "the journey is paused",
    "exit_true": "an exit condition was true already",
    "cascade": "too many events followed from one",
}

PIPELINE = (
    ("the entry", frozenset({"not_live", "paused"})),
    ("the step's if", frozenset({"condition"})),
    ("obsolete_if and expires", frozenset({"obsolete", "expired", "window"})),
    ("repeat", frozenset({"already_sent"})),
    ("suppression", frozenset({"suppression"})),
    ("the channel", frozenset({"no_content", "channel_paused"})),
    ("consent", frozenset({"no_consent"})),
    ("address", frozenset({"no_address"})),
    ("holdout", frozenset({"holdout"})),
    ("quiet hours", frozenset({"quiet_hours"})),
    ("arbitration", frozenset({"arbitration"})),
    ("gap", frozenset({"gap"})),
    ("caps", frozenset({"cap"})),
    ("protect", frozenset({"protected"})),
)
"""What a send that falls due has to pass, in this order, with the reasons that each may give."""

INSTANTS = frozenset({"from", "to", "last"})
"""Values that are instants if they are numbers."""
_MINUTE_MS = 60_000


def stage_of(reason: str) -> str:
    """Return where in the send pipeline a reason arises; empty if it is none of a send's."""
    for number, (name, reasons) in enumerate(PIPELINE, start=1):
        if reason in reasons:
            return f"{name}, stage {number} of {len(PIPELINE)}"
    return ""


def instant(at: int, zone: tzinfo = UTC) -> str:
    """Return epoch ms as ``Mon 2026-03-02 10:00:00`` in ``zone``; milliseconds if there are any."""
    moment = datetime.fromtimestamp(at // 1000, zone)
    text = moment.strftime("%a %Y-%m-%d %H:%M:%S")
    return f"{text}.{at % 1000:03d}" if at % 1000 else text


def because(decision: Decision, zone: tzinfo = UTC) -> str:
    """Return why, in words, with rule and values; empty if the decision has no reason."""
    if not decision.reason:
        return ""
    words = REASONS_IN_WORDS.get(decision.reason, decision.reason)
    rule = f", rule {decision.rule}" if decision.rule else ""
    values = ", ".join(
        told(name, value, zone)
        for name, value in sorted(decision.rule_values.items())
        if value != ""
    )
    return f"{words}{rule}" + (f" ({values})" if values else "")


def told(name: str, value: Value, zone: tzinfo = UTC) -> str:
    """Return a value as a person reads it: instants as times, spans in hours."""
    if name in INSTANTS and isinstance(value, int):
        return f"{name}: {instant(value, zone)}"
    if name == "gap_ms" and isinstance(value, int):
        hours, rest = divmod(value // _MINUTE_MS, 60)
        return f"gap: {hours} h" + (f" {rest} min" if rest else "")
    return f"{name}: {value}"


def sentence(decision: Decision, zone: tzinfo = UTC) -> str:
    """Return one decision as one sentence without its instant."""
    what = decision.message or decision.journey or decision.step or "nothing"
    where = f" on {decision.channel}" if decision.channel else ""
    until = f" until {instant(decision.until, zone)}" if decision.until else ""
    done = {
        "sent": f"sent{where}",
        "deferred": f"deferred{where}{until}",
        "suppressed": f"not sent{where}",
        "held_out": f"held out{where}",
        "entered": "entered",
        "advanced": f"moved to step {decision.step}",
        "exited": "left",
        "nothing": "not entered",
    }.get(decision.outcome, f"{decision.outcome}{where}")
    why = because(decision, zone)
    return f"{what}: {done}" + (f"; {why}" if why else "")


def skipped(decision: Decision) -> list[str]:
    """Return the messages that never fell due because of this decision."""
    return [name for name in str(decision.rule_values.get("skipped", "")).split(",") if name]


def passed_over_by(decision: Decision) -> str:
    """Return what kept the skipped messages from falling due: the event, or the reason."""
    return decision.rule or decision.reason or decision.outcome


def concerning(decisions: Iterable[Decision], message: str) -> list[Decision]:
    """Return those that decided on ``message``, also by passing it over; oldest first."""
    found = [d for d in decisions if d.message == message or message in skipped(d)]
    return sorted(found, key=lambda d: d.decided_at)


def verdict(decisions: list[Decision], message: str, zone: tzinfo = UTC) -> str:
    """Return the one-sentence answer for ``message`` from the decisions that concern it."""
    if not decisions:
        return f"{message}: no decision so far"
    last = decisions[-1]
    at = instant(last.decided_at, zone)
    if last.message != message:
        return f"{message}: cancelled by {passed_over_by(last)} at {at}"
    return f"{sentence(last, zone)} ({at})"
