"""What the product's row runs."""

from pathlib import Path

from orchestrator.journeys import load_workspace

WORKSPACE = Path(__file__).parent / "journeybench" / "workspace"


def test_the_transcribed_job_compiles():
    """A word of the language that changes must not be noticed at the next measurement only."""
    workspace = load_workspace(WORKSPACE)
    assert workspace.catalog is not None
    assert list(workspace.catalog.journeys) == ["activation"]
    assert len(workspace.catalog.policy.caps) == 2
