"""Ends a process with its owner: whatever becomes of us, what we started must not outlive us."""

from __future__ import annotations

import subprocess


class Reaper:
    """Watches over one process of ours: when we die, even by SIGKILL, it is killed.

    A shell reads from a pipe that only we hold open: it wakes up when the pipe breaks.
    """

    def __init__(self, pid: int) -> None:
        self._shell = subprocess.Popen(
            ["sh", "-c", f"read _; kill -9 {pid}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def release(self) -> None:
        """The process is about to be ended, or has ended: its number may be used again."""
        self._shell.kill()
        self._shell.wait()
        if self._shell.stdin is not None:
            self._shell.stdin.close()
