"""The authoring language: YAML 1.2, checked, compiled to a catalog.

YAML text -> ``yaml`` (nodes with marks) -> ``check`` against ``grammar`` -> ``compile`` -> catalog;
on the way ``canonical`` gives each definition its JSON and its hash. Workers start from that JSON
and come to the same catalog.
"""

from orchestrator.journeys.canonical import catalog_hash, definition_of
from orchestrator.journeys.diagnostics import Diagnostic, Mark
from orchestrator.journeys.workspace import (
    Report,
    Workspace,
    check_source_file,
    check_workspace,
    compile_catalog,
    load_workspace,
)

__all__ = [
    "Diagnostic",
    "Mark",
    "Report",
    "Workspace",
    "catalog_hash",
    "check_source_file",
    "check_workspace",
    "compile_catalog",
    "definition_of",
    "load_workspace",
]
