"""Lines in the order of their time, whatever fits into memory."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.sources.sorting import TimedLine, in_order

lines = st.lists(
    st.builds(
        TimedLine,
        st.integers(0, 50),
        st.integers(0, 3),
        st.integers(0, 9),
        st.integers(-1, 2),
        st.binary(),
    )
)


@given(lines, st.integers(1, 10))
def test_spilling_changes_nothing(given_lines: list[TimedLine], run: int) -> None:
    assert list(in_order(given_lines, run)) == sorted(given_lines)
