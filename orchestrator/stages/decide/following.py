"""Where an entry goes when its journey has a new definition and follows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.stages.catalog import Journey, Step


def same_step(live: Journey, step_id: str) -> Step | None:
    """Return the step that ``step_id`` has become: of the same id, or renamed with ``was``."""
    renamed = (step for step in live.steps.values() if step.was == step_id)
    return live.steps.get(step_id) or next(renamed, None)


def next_surviving(step_id: str, former: Journey | None, live: Journey) -> str | None:
    """Return the next step that survives, in the order of the definition that the entry had.

    None: nothing behind it has survived; the entry ends.
    """
    if former is None or step_id not in former.steps:
        return live.first
    order = list(former.steps)
    for following in order[order.index(step_id) + 1 :]:
        step = same_step(live, following)
        if step is not None:
            return step.id
    return None
