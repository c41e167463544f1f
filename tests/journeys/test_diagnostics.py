"""Every diagnostic, word for word: one change in a sound workspace, one finding at its token."""

from __future__ import annotations

import pytest

from orchestrator.journeys.diagnostics import NUMBERS
from tests.journeys.diagnostics_of_meaning import MEANING
from tests.journeys.diagnostics_of_shape import SHAPE

CASES = [*SHAPE, *MEANING]


def test_the_workspace_itself_is_sound(sound):
    """Without the change there is nothing to say."""
    assert sound.findings() == []


@pytest.mark.parametrize(
    ("file", "old", "new", "finding"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_one_cause_one_finding(sound, file, old, new, finding):
    """One cause gives one finding, at its token, with its remedy."""
    if new is None:
        (sound.folder / file).unlink()
    elif file in sound.files:
        sound.change(file, old, new)
    else:
        sound.write(file, new)
    assert sound.findings() == [finding]


def test_every_number_has_a_case():
    """No diagnostic is without its golden line."""
    shown = {tuple(case[4].split(": ")[1].split(" ")) for case in CASES}
    shown.add(("J054", "missing-value"))  # needs two journeys: in test_findings
    assert shown == {(number, name) for name, number in NUMBERS.items()}
