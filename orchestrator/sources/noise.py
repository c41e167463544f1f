"""What callers send that is no HTTP: counted, and not logged.

It is nobody's fault here, anybody can send any amount of it, and the server's own line would quote it:
a broken request for an inbox has its token in it.
"""

from __future__ import annotations

import logging
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from orchestrator.sources import metrics

_THEIRS: Final = (HttpProcessingError, web.RequestPayloadError)


class _CallersFault(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, _THEIRS):
            return True
        metrics.refused.labels("http", "bad_http").inc()
        return False


_filter = _CallersFault()


def server_logger() -> logging.Logger:
    """Return the logger of a server that is open to the world."""
    logger = logging.getLogger("aiohttp.server")
    logger.addFilter(_filter)  # once, however often
    return logger
