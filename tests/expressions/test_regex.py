"""Patterns: the same answers as Python's engine on the shared subset, in linear time."""

from __future__ import annotations

import random
import re

import pytest

from orchestrator.expressions import regex
from orchestrator.expressions.regex import PatternError, compile_pattern


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("", "", True),
        ("^$", "", True),
        ("^$", "a", False),
        (r"\Aab\z", "ab", True),
        (r"\Aab\z", "abc", False),
        ("a{2}", "aa", True),
        ("a{2,}", "aaa", True),
        ("^a{1,2}$", "aaa", False),
        ("a{,2}", "a{,2}", True),
        ("^(?:ab|cd)+?$", "abcd", True),
        ("(?i)STRASSE", "strasse", True),
        ("(?i)[a-z]+9", "ABC9", True),
        ("(?s)a.b", "a\nb", True),
        ("a.b", "a\nb", False),
        ("(?is)A.B", "a\nb", True),
        (r"^\w+\s\d\D\S\W$", "ab 1x.!", True),
        (r"[\d_]x", "_x", True),
        (r"[^\w]", "a", False),
        (r"[^\w]", "-", True),
        ("[]a]", "]", True),
        ("[a-]", "-", True),
        ("[a-c-]", "-", True),
        (r"\x41\t", "A\t", True),
        (r"\.", "a", False),
        ("x*", "", True),
        ("(a*)*b", "aaab", True),
        ("a|b|^c", "xc", False),
        ("[^a]", "a", False),
        (r"[\x00-\x7f]", "é", False),
        ("é", "é", True),
        ("(?i)É", "é", True),
        ("$a", "a", False),
        ("a$|b", "ba", True),
    ],
)
def test_search(pattern, text, found):
    """A pattern is found anywhere in the text unless it is anchored."""
    assert compile_pattern(pattern).search(text) is found


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("(", "not closed"),
        ("a)", "closes nothing"),
        ("[a", "not closed"),
        ("[", "not closed"),
        ("*a", "nothing to repeat"),
        ("a**", "two repetitions"),
        ("a+?+", "two repetitions"),
        ("a{101}", "m <= n <= 100"),
        ("a{3,2}", "m <= n <= 100"),
        (r"\b", "not part of the subset"),
        (r"\pL", "not part of the subset"),
        (r"\1", "not part of the subset"),
        (r"\xZZ", "not part of the subset"),
        ("\\", "not part of the subset"),
        ("\\é", "not part of the subset"),
        ("[[:alpha:]]", "not part of the subset"),
        ("[z-a]", "no range"),
        (r"[\d-z]", "no range"),
        ("(?=a)", "are known"),
        ("(?P<n>a)", "are known"),
        ("a(?i)b", "are known"),
        ("(" * 30 + ")" * 30, "nest at most"),
        ("(a{100}){100}", "1000 states"),
    ],
)
def test_refused(pattern, words):
    """Outside the subset, too large, or broken: refused with a reason."""
    with pytest.raises(PatternError, match=re.escape(words)):
        compile_pattern(pattern)


def generated(pick: random.Random, depth: int = 0) -> str:
    """Return a random pattern of the subset that Python reads the same way."""
    kind = pick.randrange(9 if depth < 4 else 4)
    match kind:
        case 0 | 1:
            return pick.choice("abc")
        case 2:
            return pick.choice([".", "[ab]", "[^a]", r"\d", r"\w", "[a-c]", r"\.", r"\S"])
        case 3:
            return pick.choice(["^", "$", "a", "b"])
        case 4:
            return f"({generated(pick, depth + 1)}|{generated(pick, depth + 1)})"
        case 5:
            return f"(?:{generated(pick, depth + 1)})" + pick.choice(
                ["*", "+", "?", "{2}", "{1,3}", "{0,}", "*?"]
            )
        case _:
            return generated(pick, depth + 1) + generated(pick, depth + 1)


def test_the_same_as_python():
    """Ten thousand random patterns and texts give Python's answers."""
    pick = random.Random(7)
    for _ in range(10_000):
        pattern = generated(pick)
        text = "".join(pick.choice("abc.1\n") for _ in range(pick.randrange(8)))
        expected = re.search(pattern.replace("$", r"\Z"), text, re.ASCII) is not None
        assert compile_pattern(pattern).search(text) is expected, (pattern, text)


def test_linear(monkeypatch):
    """What makes a backtracking engine explode takes one step a character."""
    steps = 0
    real = regex.Pattern._step

    def counted(self, current, character):
        nonlocal steps
        steps += 1
        return real(self, current, character)

    monkeypatch.setattr(regex.Pattern, "_step", counted)
    assert not compile_pattern("^(a+)+$").search("a" * 50_000 + "b")
    assert steps < 10


def test_the_memory_is_bounded(monkeypatch):
    """Steps are forgotten beyond a bound, and answers stay right."""
    monkeypatch.setattr(regex, "MAX_REMEMBERED", 3)
    pattern = compile_pattern("abcdefg$")
    for _ in range(3):
        assert pattern.search("xxabcdefg")
        assert len(pattern._steps) <= 3


def test_a_negated_class_may_reach_either_end_of_unicode():
    """What is left of all characters: nothing before the first, nothing behind the last."""
    last = 0x10FFFF
    assert regex._negated(((0, 5),)) == ((6, last),)
    assert regex._negated(((7, last),)) == ((0, 6),)
    assert regex._negated(((0, last),)) == ()
