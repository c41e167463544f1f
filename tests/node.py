"""Programs of other teams, in another language: Node.js with packages from the npm registry."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

INSTALL_S = 180


def node_project(folder: Path) -> Path:
    """Return a copy of ``folder`` with its packages installed; made once for each lock file.

    Skips the test, and says why, where Node.js is not installed or its registry is not reachable.
    """
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("no Node.js here: consumers and SDKs in JavaScript were not tried")
    sources = sorted(path for path in folder.iterdir() if path.suffix in {".js", ".json"})
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    project = cache / "orchestrator" / f"node-{folder.name}-{digest}"
    if not (project / ".installed").exists():
        shutil.rmtree(project, ignore_errors=True)
        project.mkdir(parents=True)
        for path in sources:
            shutil.copy(path, project)
        command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        done = subprocess.run(
            command, cwd=project, capture_output=True, text=True, timeout=INSTALL_S, check=False
        )
        if done.returncode:
            pytest.skip(f"npm ci: {done.stderr.strip()[-300:]}: JavaScript was not tried")
        project.joinpath(".installed").touch()
    return project
