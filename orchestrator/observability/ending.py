"""The end of a process that can no longer trust itself: said aloud, then at once."""

from __future__ import annotations

import os
import sys
from typing import Final, NoReturn

from orchestrator.observability.logs import get_logger

EXIT_FATAL: Final = 70
_log = get_logger(__name__)


def end_now(error: BaseException, code: int, remedy: str) -> NoReturn:
    """End the process without waiting for any thread; a supervisor starts it again."""
    _log.critical(
        "process ends",
        why=f"{type(error).__name__}: {error}",
        code=code,
        remedy=remedy,
        exc_info=error,
    )
    sys.stderr.flush()
    sys.stdout.flush()
    os._exit(code)
