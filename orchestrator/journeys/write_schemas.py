"""``python -m orchestrator.journeys.write_schemas FOLDER`` writes the editors' JSON Schemas."""

from __future__ import annotations

import sys
from pathlib import Path

from orchestrator.journeys.grammar import KINDS
from orchestrator.journeys.schemas import schema_text


def write(folder: Path) -> None:
    """Write ``KIND.schema.json`` for every kind of file."""
    for kind in KINDS:
        (folder / f"{kind}.schema.json").write_text(schema_text(kind), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
