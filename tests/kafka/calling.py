"""Calls verbs on a stack, whatever their exit code."""

from __future__ import annotations

import os
import subprocess
import sys

from orchestrator.testing.stack import Stack


def call(stack: Stack, *words: str) -> tuple[int, str, str]:
    """Return (exit code, stdout, stderr)."""
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator", "--settings", str(stack.settings_file), *words],
        check=False,
        capture_output=True,
        text=True,
        env={k: v for k, v in os.environ.items() if not k.startswith("ORCHESTRATOR_")},
        timeout=120,
    )
    return done.returncode, done.stdout, done.stderr
