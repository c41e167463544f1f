"""What the journeys of several modules consist of."""

from orchestrator.expressions.durations import Duration
from orchestrator.records import Absorb
from orchestrator.stages import catalog as c
from orchestrator.stages.decide.state import encode
from orchestrator.stages.protocol import Input

NIGHT = c.QuietHours(name="night", start=21 * 60, end=8 * 60)
REST = c.Wait(duration=Duration(2, 0))
HEAT = c.Trait(
    name="heat",
    kind="score",
    type="double",
    on=("page.viewed",),
    scores={"page.viewed": 8.0},
    half_life_ms=86_400_000,
)
"""A score that a view raises by 8 and a day halves."""


def sent(lines):
    """Leave the movements out."""
    return [line for line in lines if not line.startswith(("entered", "exited", "advanced"))]


def steps_after(define, wait, **more):
    """A journey that waits and then tells sales; ``go`` starts it."""
    return define.journey(
        "j",
        more.pop("entry", "go"),
        ("w", wait),
        ("late", define.send("late", "sales")),
        ("end", c.Stop()),
        ("hit", define.send("hit", "sales")),
        ("end2", c.Stop()),
        ("hit2", define.send("hit2", "sales")),
        **more,
    )


def internal(define, *names):
    return [define.message(n, class_="mandatory") for n in names or ("late", "hit", "hit2")]


def wait_for(define, *patterns, mode="first", timeout="P2D", **more):
    return c.WaitFor(mode=mode, patterns=patterns, timeout=define.dur(timeout), **more)


def absorbed(w, state, merge_id="x"):
    """Let the life of another customer arrive, as it left its own partition."""
    record = Absorb(merge_id=merge_id, loser="anon:9", state=encode(state), state_version=1)
    return w.append(Input(key="anna", record=record))
