"""Part of the orchestrator."""
