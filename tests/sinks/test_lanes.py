"""Order per customer, and a position that never passes an open item."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.sinks.lanes import Item, Lanes
from orchestrator.sinks.ledger import Write
from orchestrator.sinks.pacing import BASE_S, CAP_S, TokenBucket, retry_delay

DEAD = Write("t", None, None)


class _Customer(Item):
    """An item of a chosen customer, without the rest of an action."""

    @property
    def lane(self) -> int:
        return self.offset % 3


@given(st.lists(st.sampled_from(["add", "take", "finish", "back", "untake", "pass"])))
def test_any_order_of_work(steps: list[str]) -> None:
    """Position = oldest open item; one item of a customer at a time; first come, first served."""
    lanes, offset, taken, opened, done = Lanes(0), 0, [], [], []
    for step in steps:
        match step:
            case "add":
                lanes.add(_Customer(offset, None, DEAD))
                opened.append(offset)
                offset += 1
            case "pass":
                lanes.pass_over(offset)
                offset += 1
            case "take" if item := lanes.take():
                assert item.lane not in {other.lane for other in taken}
                taken.append(item)
            case "back" if taken:
                lanes.put_back(taken.pop())
            case "untake" if taken:
                lanes.untake(item := taken.pop())
                assert lanes.take() is item
                lanes.untake(item)
            case "finish" if taken:
                item = taken.pop(0)
                lanes.finish(item)
                opened.remove(item.offset)
                done.append(item)
        assert lanes.position == (min(opened) if opened else offset)
        assert len(lanes) == len(opened)
    for lane in range(3):
        offsets = [one.offset for one in done if one.lane == lane]
        assert offsets == sorted(offsets)


@given(st.integers(1, 1000), st.none() | st.floats(0, 1e6), st.floats(0, 1, exclude_max=True))
def test_delays(attempt: int, after: float | None, chance: float) -> None:
    """Full jitter under a growing ceiling; the provider's own word is never undercut, up to an hour."""
    delay = retry_delay(attempt, after, chance)
    least = min(after or 0.0, 3600.0)
    assert least <= delay <= least + min(CAP_S, BASE_S * 2 ** min(attempt, 20))


@given(st.floats(0.5, 1000), st.lists(st.floats(0, 5), min_size=1, max_size=100))
def test_the_bucket_holds_its_rate(rate: float, pauses: list[float]) -> None:
    """In any stretch from the beginning: at most its length times the rate, plus one second's worth."""
    bucket, now = TokenBucket(rate, 0.0), 0.0
    for number, pause in enumerate(pauses, 1):
        now += pause
        while wait := bucket.take(now):
            now += wait + 1e-9
        assert number <= now * rate + max(1.0, rate) + 1e-6


def test_no_limit() -> None:
    assert TokenBucket(0, 0.0).take(0.0) == 0.0
