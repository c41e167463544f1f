"""Which messages an entry will never reach when it leaves a wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.stages.catalog import (
    Branch,
    Choose,
    Send,
    Split,
    Stop,
    Wait,
    WaitFor,
)

if TYPE_CHECKING:
    from orchestrator.stages.catalog import Journey, Step
    from orchestrator.stages.decide.state import Entry


def behind(journey: Journey, entry: Entry) -> list[str]:
    """Return the messages of the sends directly behind the wait at which an entry stands.

    Directly: with no further wait between, through branches and other sends.
    """
    here = journey.steps.get(entry.step)
    if here is None or not entry.wake:
        return []
    messages: list[str] = []
    seen: set[str] = set()
    todo = list(reversed(_next(here)))
    while todo:
        step_id = todo.pop()
        step = journey.steps.get(step_id)
        if step is None or step_id in seen:
            continue
        seen.add(step_id)
        for message in _messages(step):
            if message not in messages:
                messages.append(message)
        if not isinstance(step.do, Wait | WaitFor):
            todo.extend(reversed(_next(step)))
    return messages


def _messages(step: Step) -> list[str]:
    if isinstance(step.do, Send):
        return [step.do.message]
    if isinstance(step.do, Choose):
        return [option.send.message for option in step.do.among]
    return []


def _next(step: Step) -> list[str]:
    """Return the steps that may follow, in the order in which they are written."""
    do = step.do
    match do:
        case WaitFor():
            targets = [pattern.then for pattern in do.patterns]
        case Branch():
            targets = [arm.then for arm in do.arms]
            if any(arm.condition is None for arm in do.arms):
                return [target for target in targets if target]
        case Split():
            return [target for arm in do.arms if (target := arm.then or step.then)]
        case Choose():
            targets = [option.then for option in do.among]
        case Stop():
            return []
        case _:
            targets = []
    return [target for target in (*targets, step.then) if target]
