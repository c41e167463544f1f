"""What is wrong with an expression, where, and what to write instead."""

from __future__ import annotations

from typing import Literal

from orchestrator.errors import UsageError

Problem = Literal[
    "bad-expression",
    "type-error",
    "no-event-here",
    "unwatchable",
    "unknown-trait",
    "unknown-event",
    "unknown-property",
    "unknown-step",
    "wrong-step",
    "unknown-channel",
    "unknown-category",
    "bad-duration",
]


class ExpressionError(UsageError):
    """An expression does not compile.

    Attributes:
        problem: The name of the diagnostic.
        offset: Where in the text the offending token begins, 0-based.
        text: What is wrong.
        remedy: What to do; may be empty.
    """

    def __init__(self, problem: Problem, offset: int, text: str, remedy: str = "") -> None:
        super().__init__(f"{text}; {remedy}" if remedy else text)
        self.problem: Problem = problem
        self.offset = offset
        self.text = text
        self.remedy = remedy
