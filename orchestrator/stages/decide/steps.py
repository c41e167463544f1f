"""An entry's walk from step to step until it parks, stands at a due send, or ends."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, assert_never

from orchestrator import ids
from orchestrator.stages.catalog import (
    Branch,
    Choose,
    Send,
    SetTraits,
    Split,
    Stop,
    Wait,
    WaitFor,
)
from orchestrator.stages.decide import waits
from orchestrator.stages.decide.entries import end
from orchestrator.stages.decide.traits import set_trait

if TYPE_CHECKING:
    from orchestrator.stages.catalog import Journey, Step
    from orchestrator.stages.decide.state import Entry
    from orchestrator.stages.decide.turn import Turn

MAX_PASSES = 100


def go_on(turn: Turn, entry: Entry, step_id: str | None) -> None:
    """Send an entry on its way to a step; None = after the last."""
    entry.wake = 0
    entry.watch = 0
    entry.moving = False
    entry.after = ""
    entry.pending = None
    if step_id is None:
        end(turn, entry, "completed")
        return
    entry.step = step_id
    turn.ready.append(entry)


def walk(turn: Turn, entry: Entry) -> None:
    """Walk until the entry parks, is due to send, has changed a trait, or has ended."""
    place = turn.place_of(entry)
    if place is None:
        end(turn, entry, "not_live", leaving=True)
        return
    journey, step = place
    step_id: str | None = step.id
    while step_id is not None:
        step = journey.steps[step_id]
        entry.step = step_id
        if not _arrive(turn, entry, step):
            return
        step_id, stays = _take(turn, entry, journey, step)
        if stays:
            return
        if turn.changed and step_id is not None:
            # The consequences of a changed trait come first: an exit may be due.
            entry.step = step_id
            turn.ready.insert(0, entry)
            return
    end(turn, entry, "completed")


def _arrive(turn: Turn, entry: Entry, step: Step) -> bool:
    passes = entry.passes.get(step.id, 0) + 1
    if passes > MAX_PASSES:
        end(turn, entry, "loop_limit", values={"step": step.id})
        return False
    entry.passes[step.id] = passes
    entry.attempts.pop(step.id, None)
    entry.arrived = turn.now
    return True


def _take(turn: Turn, entry: Entry, journey: Journey, step: Step) -> tuple[str | None, bool]:
    """Take one step: (the next step, whether the entry stays here or has ended)."""
    do = step.do
    if isinstance(do, Send | Choose):
        turn.due.append(entry)
        return None, True
    if step.condition is not None and not step.condition.holds(turn.at(entry)):
        return step.then, False
    if isinstance(do, Stop):
        end(turn, entry, "stopped")
        return None, True
    if isinstance(do, Wait):
        return _wait(turn, entry, step, do)
    if isinstance(do, WaitFor):
        return _wait_for(turn, entry, step, do)
    return _pass(turn, entry, journey, step, do), False


def _pass(
    turn: Turn, entry: Entry, journey: Journey, step: Step, do: Branch | Split | SetTraits
) -> str | None:
    """Take a step at which nobody ever stands; return the next one."""
    match do:
        case Branch():
            return _branch(turn, entry, step, do)
        case Split():
            return _split(turn, entry, journey, step, do)
        case SetTraits():
            _set(turn, entry, do)
            return step.then
        case _:  # pragma: no cover - a new kind of step fails type checking here
            assert_never(do)


def _wait_for(turn: Turn, entry: Entry, step: Step, wait: WaitFor) -> tuple[str | None, bool]:
    number = waits.park(turn, entry, step, wait)
    if number is not None:
        return won(turn, entry, step, wait, number), False
    if entry.wake <= turn.now:
        return timed_out(turn, entry, step, wait), False
    return None, True


def _wait(turn: Turn, entry: Entry, step: Step, wait: Wait) -> tuple[str | None, bool]:
    due = waits.deadline(turn, entry, wait)
    if due is not None and due > turn.now:
        entry.wake = due
        return None, True
    if wait.if_past == "exit" and (due is None or due < turn.now):
        values = {"step": step.id, "date": due}
        end(turn, entry, "past_date", values=values)
        return None, True
    return step.then, False


def won(turn: Turn, entry: Entry, step: Step, wait: WaitFor, number: int) -> str | None:
    """Record which pattern of a ``wait_for`` won; return where the entry goes."""
    pattern = wait.patterns[number]
    hit = waits.stored_hit(entry, step, number)
    if hit is not None and pattern.on:
        entry.latest = hit.properties
    rule = ",".join(pattern.on) or (pattern.when.text if pattern.when is not None else None)
    target = pattern.then or step.then
    values = {"pattern": number, "to": target}
    turn.decide("advanced", entry=entry, step=step.id, rule=rule, values=values)
    leave_wait(entry, step)
    return target


def timed_out(turn: Turn, entry: Entry, step: Step, wait: WaitFor) -> str | None:
    """Return where the entry goes at the timeout: to the best hit's step, if there is one."""
    if wait.mode == "best":
        hit = waits.best(entry, step)
        if hit is not None:
            return won(turn, entry, step, wait, hit.pattern)
    turn.decide("advanced", entry=entry, step=step.id, rule="timeout", values={"to": step.then})
    leave_wait(entry, step)
    return step.then


def leave_wait(entry: Entry, step: Step) -> None:
    """Forget what was heard during one stay; what ``since: entry`` keeps outlasts it."""
    do = step.do
    if not isinstance(do, WaitFor) or do.since == "step":
        entry.hits = tuple(hit for hit in entry.hits if hit.step != step.id)
    entry.wake = 0


def _branch(turn: Turn, entry: Entry, step: Step, branch: Branch) -> str | None:
    scope = turn.at(entry)
    for arm in branch.arms:
        if arm.condition is None or arm.condition.holds(scope):
            rule = arm.condition.text if arm.condition is not None else "default"
            turn.decide("advanced", entry=entry, step=step.id, rule=rule, values={"to": arm.then})
            return arm.then
    turn.decide("advanced", entry=entry, step=step.id, rule="none", values={"to": step.then})
    return step.then


def _split(turn: Turn, entry: Entry, journey: Journey, step: Step, split: Split) -> str | None:
    place = ids.bucket(journey.name, step.id, turn.key)
    ends = accumulate(arm.share for arm in split.arms)
    arm = next(arm for arm, end in zip(split.arms, ends, strict=True) if place < end)
    target = arm.then or step.then
    turn.decide("advanced", entry=entry, step=step.id, rule=arm.name, values={"to": target})
    return target


def _set(turn: Turn, entry: Entry, do: SetTraits) -> None:
    values = {name: expression(turn.at(entry)) for name, expression in do.values.items()}
    for name, value in values.items():
        if set_trait(turn.customer, name, value, turn.now, turn.catalog):
            turn.changed.add(name)
    turn.scope.forget_zone()
