"""The condition language: CEL syntax, a checked subset, compiled to closures.

``compile_expression(text, environment)`` gives an ``Expression``; calling it with a ``Scope`` never
raises. Null rules: ``== null`` and ``!= null`` with the literal test for missing; every other
comparison with null is false; arithmetic with null, division by zero and bad casts are null; a null
condition is false.
"""

from orchestrator.expressions.environment import ANYTHING, Environment, Names
from orchestrator.expressions.errors import ExpressionError
from orchestrator.expressions.expression import Expression, References, compile_expression
from orchestrator.expressions.scope import Scope, Value
from orchestrator.expressions.types import Type

__all__ = [
    "ANYTHING",
    "Environment",
    "Expression",
    "ExpressionError",
    "Names",
    "References",
    "Scope",
    "Type",
    "Value",
    "compile_expression",
]
