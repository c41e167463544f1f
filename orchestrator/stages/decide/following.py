"""Where an entry goes when its journey has a new definition and follows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.stages.catalog import Journey, Pattern, Step


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


def same_patterns(
    former: Sequence[Pattern] | None, patterns: Sequence[Pattern], live: Journey
) -> Mapping[int, int]:
    """Return what the numbers of patterns have become: they are known by what they listen for.

    ``former`` None: it is not known any more; all are taken to stand where they stood.
    """
    if former is None:
        return {number: number for number in range(len(patterns))}
    said = [_listens(pattern, pattern.of) for pattern in patterns]
    found: dict[int, int] = {}
    for number, pattern in enumerate(former):
        step = same_step(live, pattern.of) if pattern.of is not None else None
        listens = _listens(pattern, step.id if step is not None else pattern.of)
        places = (n for n, one in enumerate(said) if one == listens and n not in found.values())
        place = next(places, None)
        if place is not None:
            found[number] = place
    return found


def _listens(pattern: Pattern, of: str | None) -> tuple[object, ...]:
    texts = (one.text if one is not None else None for one in (pattern.when, pattern.condition))
    return (pattern.on, of, *texts)
