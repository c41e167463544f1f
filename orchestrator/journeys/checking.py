"""Nodes against shapes: findings with marks, and what is left is sound, canonical and typed.

The result is a tree of ``Spot``: the canonical value together with the place it came from.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from orchestrator.expressions.suggest import did_you_mean
from orchestrator.journeys import nodes
from orchestrator.journeys.diagnostics import Diagnostic
from orchestrator.journeys.nodes import Node, Scalar
from orchestrator.journeys.scalars import BAD, Bad, ScalarChecker, kind_of
from orchestrator.journeys.shapes import (
    NOTHING,
    Anything,
    ByKey,
    Key,
    Keys,
    Many,
    MapOf,
    OneOrMany,
    Shape,
)
from orchestrator.journeys.spots import Spot, strip


def check(node: Node, shape: Shape, found: list[Diagnostic]) -> Spot | None:
    """Return the sound part of ``node``; what is not sound is reported and left out.

    None = nothing of it is.
    """
    spot = _Checker(found).spot(node, shape)
    return spot if isinstance(spot, Spot) else None


class _Checker:
    def __init__(self, found: list[Diagnostic]) -> None:
        self._scalars = ScalarChecker(found)

    def spot(self, node: Node, shape: Shape) -> Spot | Bad:  # noqa: PLR0911 - one case for each form
        """Return the sound part of ``node``."""
        match shape:
            case OneOrMany(of):
                return self._many(node, Many(of, 1), single=True)
            case Many():
                return self._many(node, shape)
            case MapOf():
                return self._map(node, shape)
            case Keys():
                return self._keys(node, shape)
            case ByKey():
                return self._by_key(node, shape)
            case Anything():
                return Spot(nodes.plain(node), node)
            case _:
                return self._scalars.scalar(node, shape)

    # -------------------------------------------------------------------------- containers

    def _many(self, node: Node, shape: Many, *, single: bool = False) -> Spot | Bad:
        if not isinstance(node, nodes.Sequence):
            if single:
                one = self.spot(node, shape.of)
                return Spot([one], node) if isinstance(one, Spot) else BAD
            return self._scalars.report(
                node.mark, "wrong-type", f"here stands a list, not {kind_of(node)}"
            )
        if len(node.items) < shape.least:
            return self._scalars.report(
                node.mark, "wrong-type", f"this list needs at least {_number(shape.least)}"
            )
        spots = [self.spot(item, shape.of) for item in node.items]
        return Spot([spot for spot in spots if isinstance(spot, Spot)], node)

    def _mapping(self, node: Node, what: str) -> nodes.Mapping | None:
        if isinstance(node, nodes.Mapping):
            return node
        if isinstance(node, Scalar) and node.value is None:
            return nodes.Mapping(node.mark, ())
        self._scalars.report(node.mark, "wrong-type", f"here stand {what}, not {kind_of(node)}")
        return None

    def _map(self, node: Node, shape: MapOf) -> Spot | Bad:
        mapping = self._mapping(node, "keys with values")
        if mapping is None:
            return BAD
        if len(mapping.items) < shape.least:
            return self._scalars.report(node.mark, "wrong-type", "this needs at least one key")
        values: dict[str, Spot] = {}
        for key, value in mapping.items:
            if not shape.key.fits(key.text):
                self._scalars.report(
                    key.mark, "wrong-type", f"{key.text!r} is not {shape.key.what}"
                )
                continue
            spot = self.spot(value, shape.value)
            if isinstance(spot, Spot):
                values[key.text] = spot
        return Spot(values, mapping)

    def _by_key(self, node: Node, shape: ByKey) -> Spot | Bad:
        mapping = self._mapping(node, f"the keys of {shape.what}, such as {{type: string}}")
        if mapping is None:
            return BAD
        written = {key.text for key, _ in mapping.items}
        for word, keys in shape.variants.items():
            if word in written:
                return self._keys(mapping, keys)
        if mapping.items:
            key = mapping.items[0][0]
            return self._scalars.report(
                key.mark,
                "unknown-key",
                f"{key.text!r} does not make {shape.what}",
                did_you_mean(key.text, shape.variants) or f"begin with {', '.join(shape.variants)}",
            )
        return self._scalars.report(
            node.mark, "missing-key", f"{shape.what} needs one of {', '.join(shape.variants)}"
        )

    def _keys(self, node: Node, shape: Keys) -> Spot | Bad:
        mapping = self._mapping(node, shape.what or f"keys ({', '.join(shape.keys)})")
        if mapping is None:
            return BAD
        values: dict[str, Spot] = {}
        bad: set[str] = set()
        strange: set[str] = set()
        for key, value in mapping.items:
            known = shape.keys.get(key.text)
            if known is None:
                strange.add(self._unknown(key, value, mapping, shape))
                continue
            spot = self.spot(value, known.shape)
            if isinstance(spot, Spot):
                values[key.text] = spot
            else:
                bad.add(key.text)
        written = {key.text: key for key, _ in mapping.items}
        complete = self._together(mapping, shape, written, values)
        for name, known in shape.keys.items():
            if known.required and name not in written:
                said = any(
                    remedy == f"did you mean {name}?" or remedy.startswith(f"write {name}:")
                    for remedy in strange
                )
                if not said:  # else it is there, by another name
                    self._scalars.report(node.mark, "missing-key", f"{name!r} is missing")
                complete = False
        self._leave_out_defaults(shape.keys, values)
        incomplete = any(shape.keys[name].required or name in shape.one_of for name in bad)
        return Spot(values, mapping) if complete and not incomplete else BAD

    def _unknown(self, key: Scalar, value: nodes.Node, beside: nodes.Mapping, shape: Keys) -> str:
        """Report a key; return the remedy."""
        remedy = shape.elsewhere.get(key.text) or did_you_mean(key.text, shape.keys)
        if isinstance(value, Scalar) and value.plain and not value.text:
            # {channel: email, push}: to YAML the second one is a key without a value.
            for (name, first), (following, _) in pairwise(beside.items):
                if following is key and isinstance(first, Scalar) and first.text:
                    remedy = f"a list stands in brackets: {name.text}: [{first.text}, {key.text}]"
        self._scalars.report(key.mark, "unknown-key", f"{key.text!r} is not known here", remedy)
        return remedy

    def _together(
        self,
        mapping: nodes.Mapping,
        shape: Keys,
        written: Mapping[str, Scalar],
        values: dict[str, Spot],
    ) -> bool:
        """Check what must, and what must not, stand side by side."""
        given = [name for name in written if name in shape.one_of]
        if shape.one_of and not given:
            if written.keys() <= shape.keys.keys():  # else the strange key is what was meant
                self._scalars.report(
                    mapping.mark, "missing-key", f"one of {', '.join(shape.one_of)} is missing"
                )
            return False
        for name, key in written.items():
            beside = shape.keys[name].beside if name in shape.keys else ()
            if beside and not any(word in written for word in beside):
                self._scalars.report(
                    key.mark, "unknown-key", f"{name!r} stands only beside {' or '.join(beside)}"
                )
                values.pop(name, None)
        if len(given) > 1:
            self._scalars.report(
                written[given[1]].mark,
                "unknown-key",
                f"{given[1]!r} cannot stand beside {given[0]!r}",
                f"write exactly one of {', '.join(shape.one_of)}",
            )
            return False
        return True

    @staticmethod
    def _leave_out_defaults(keys: Mapping[str, Key], values: dict[str, Spot]) -> None:
        told = {name: spot.value for name, spot in values.items()}
        for name, key in keys.items():
            default = key.default if key.preset is None else key.preset(told)
            if name in values and default is not NOTHING and _same(strip(values[name]), default):
                del values[name]


def _same(value: Any, default: Any) -> bool:
    return bool(value == default) and isinstance(value, bool) == isinstance(default, bool)


def _number(count: int) -> str:
    return "one entry" if count == 1 else f"{count} entries"
