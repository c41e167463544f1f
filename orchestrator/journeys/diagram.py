"""A journey as Mermaid text: for pull requests and documentation.

Only text comes from here; whoever shows it (GitHub, GitLab, an editor) draws it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from orchestrator.stages.catalog import (
    Branch,
    Choose,
    EntryRule,
    Journey,
    Pattern,
    Send,
    SetTraits,
    Split,
    Step,
    Stop,
    Wait,
    WaitFor,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orchestrator.expressions.durations import Duration

LONGEST = 60
"""Characters of a condition that are shown."""
_END = "completed"
_MINUTES = 60
_HUNDREDTHS = 100
_SECOND, _MINUTE, _HOUR = 1_000, 60_000, 3_600_000
_WEEK = 7
_ENTITIES = str.maketrans(
    {"#": "#35;", '"': "#quot;", "<": "#lt;", ">": "#gt;", "&": "#amp;", "`": "#96;"}
)
"""Mermaid's own way of writing what would mean something to it."""


def mermaid(journey: Journey, notes: Mapping[str, str] | None = None) -> str:
    """Return the flowchart of a journey.

    Args:
        journey: Compiled.
        notes: Step -> a line that is added to it, for example how many customers are parked there.
    """
    ids = {name: f"s{number}" for number, name in enumerate(journey.steps)}
    lines = [
        "flowchart TD",
        f"  entry([{_quoted(*_entry(journey.entry))}])",
        f"  entry --> {ids[journey.first]}",
    ]
    ends = False
    for name, step in journey.steps.items():
        note = (notes or {}).get(name, "")
        lines.append(f"  {ids[name]}{_box(step, note)}")
        for label, to in _arrows(step):
            ends = ends or to is None
            arrow = f"-->|{_quoted(label)}|" if label else "-->"
            lines.append(f"  {ids[name]} {arrow} {ids.get(to or '', 'finish')}")
    lines.extend(
        f"  entry -.->|{_quoted('interrupt: ' + _heard(each))}| {ids[each.then]}"
        for each in journey.interrupts
        if each.then is not None
    )
    if ends:
        lines.append(f"  finish(({_quoted(_END)}))")
    leaving = [f"goal: {_heard(journey.goal.pattern)}"] if journey.goal is not None else []
    leaving += [f"exit: {_heard(each)}" for each in journey.exits]
    if leaving:
        lines.append(f"  leaves[/{_quoted(*leaving)}/]")
    return "\n".join(lines) + "\n"


def _entry(rule: EntryRule) -> list[str]:
    if rule.when is not None:
        said = f"when {_short(rule.when.text)}"
    elif rule.absence_of is not None and rule.absence_for is not None:
        said = f"no {rule.absence_of} for {span(rule.absence_for)}"
    else:
        said = " or ".join(rule.on)
    lines = [said]
    if rule.condition is not None:
        lines.append(f"if {_short(rule.condition.text)}")
    return lines


def _box(step: Step, note: str) -> str:
    left, right = _shape(step)
    lines = [step.id, *_words(step)]
    if step.condition is not None:
        lines.append(f"if {_short(step.condition.text)}")
    if note:
        lines.append(note)
    return f"{left}{_quoted(*lines)}{right}"


def _shape(step: Step) -> tuple[str, str]:
    match step.do:
        case Send():
            return "[", "]"
        case Wait() | WaitFor():
            return "([", "])"
        case Branch() | Split() | Choose():
            return "{", "}"
        case SetTraits():
            return "[/", "/]"
        case Stop():
            return "((", "))"
        case _:
            assert_never(step.do)


def _words(step: Step) -> list[str]:  # noqa: PLR0911 - one for each kind of step
    do = step.do
    match do:
        case Send():
            return [f"send {do.message}", f"by {' or '.join(do.channels)}"]
        case Wait():
            return [_wait(do)]
        case WaitFor():
            best = " (the best)" if do.mode == "best" else ""
            return [f"wait for{best}, at most {span(do.timeout)}"]
        case Branch():
            return []
        case Split():
            return ["split"]
        case Choose():
            return [f"choose {do.decision}"]
        case SetTraits():
            return [f"set {', '.join(do.values)}"]
        case Stop():
            return ["stop"]
        case _:
            assert_never(do)


def _wait(wait: Wait) -> str:
    if wait.duration is not None:
        return f"wait {span(wait.duration)}"
    if wait.next_time is not None:
        days = f" on {', '.join(sorted(wait.weekdays))}" if wait.weekdays else ""
        return f"wait until the next {_clock(wait.next_time)}{days}"
    text = "" if wait.until is None else _short(wait.until.text)
    shift = f" + {span(wait.plus)}" if wait.plus else ""
    shift += f" - {span(wait.minus)}" if wait.minus else ""
    at = f" at {_clock(wait.at)}" if wait.at is not None else ""
    return f"wait until {text}{shift}{at}"


def _arrows(step: Step) -> Iterator[tuple[str, str | None]]:  # noqa: C901 - one arm for each kind of step
    """Yield (label, step); None = the end of the journey."""
    do = step.do
    match do:
        case Send() | Wait() | SetTraits():
            yield "", step.then
        case WaitFor():
            for pattern in do.patterns:
                yield _heard(pattern), pattern.then or step.then
            yield f"after {span(do.timeout)}", step.then
        case Branch():
            for arm in do.arms:
                yield "else" if arm.condition is None else _short(arm.condition.text), arm.then
            if all(arm.condition is not None for arm in do.arms):
                yield "else", step.then
        case Split():
            for share in do.arms:
                percent = share.share / _HUNDREDTHS
                yield f"{share.name} {percent:g} %", share.then or step.then
        case Choose():
            for option in do.among:
                yield f"{option.name}: {option.send.message}", option.then or step.then
            yield "none", step.then
        case Stop():
            return
        case _:
            assert_never(do)


def _heard(pattern: Pattern) -> str:
    said = " or ".join(pattern.on)
    if pattern.when is not None:
        said = f"when {_short(pattern.when.text)}"
    if pattern.of is not None:
        said += f" of {pattern.of}"
    if pattern.condition is not None:
        said += f" if {_short(pattern.condition.text)}"
    return said


def span(duration: Duration) -> str:
    """Return a duration in words: ``2 days``, ``36 hours``."""
    parts = []
    weeks, days = divmod(duration.days, _WEEK)
    if weeks and days:
        weeks, days = 0, duration.days
    for count, word in ((weeks, "week"), (days, "day")):
        if count:
            parts.append(_counted(count, word))
    rest = duration.ms
    for size, word in ((_HOUR, "hour"), (_MINUTE, "minute"), (_SECOND, "second")):
        count, rest = divmod(rest, size)
        if count:
            parts.append(_counted(count, word))
    return " ".join(parts) or "no time"


def _counted(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def _clock(minutes: int) -> str:
    return f"{minutes // _MINUTES:02d}:{minutes % _MINUTES:02d}"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _quoted(*lines: str) -> str:
    """Return a Mermaid text; its own marks are written as entities."""
    escaped = (line.translate(_ENTITIES) for line in lines)
    return f'"{"<br>".join(escaped)}"'
