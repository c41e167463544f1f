"""Mappings that come with the product: one file per provider, used where a workspace has none of that name.

``orchestrator sources show NAME`` prints one, to be copied into a workspace and changed.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec
import yaml

_FOLDER = Path(__file__).parent


@cache
def names() -> tuple[str, ...]:
    """Return the providers that have one."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


def text(name: str) -> str | None:
    """Return a mapping as it is written; None = there is none."""
    return (_FOLDER / f"{name}.yaml").read_text() if name in names() else None


@cache
def definition(name: str) -> str | None:
    """Return a mapping as ``Mapper`` takes it; None = there is none."""
    written = text(name)
    return None if written is None else msgspec.json.encode(yaml.safe_load(written)).decode()
