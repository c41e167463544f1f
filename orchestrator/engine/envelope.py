"""What travels in headers, by the codec's rules: CloudEvents, the trace, the backfill mark."""

from __future__ import annotations

from orchestrator.codec import headers_for, read_headers
from orchestrator.engine.ports import Headers
from orchestrator.stages.protocol import Emit


class CloudEvents:
    """Headers of everything that stages emit; ``source`` names the deployment."""

    def __init__(self, source: str) -> None:
        self._source = source

    def write(self, emit: Emit, original: Headers) -> list[tuple[str, bytes]]:
        """Return the headers of an emitted record; bytes that pass through keep theirs."""
        if emit.record is None:
            return list(original)
        return headers_for(emit.record, self._source, trace=emit.trace, backfill=emit.backfill)

    def read(self, headers: Headers) -> tuple[bool, str | None]:
        """Return (backfill, traceparent)."""
        found = read_headers(headers)
        return found.backfill, found.trace
