"""Writing an Event by hand, for the collector's sake: the same bytes as ``fastavro``'s, at a quarter of the cost.

A test holds the two writers against each other.
"""

from __future__ import annotations

from orchestrator.codec.pieces import Unusual, known, long, text, values
from orchestrator.records import Event


def write_event(event: Event, prefix: bytes) -> bytes:
    """Return ``prefix`` and the event, as our own schema has it.

    Raises one of ``pieces.NOT_PLAIN`` where ``fastavro`` must be asked.
    """
    return b"".join(
        (
            prefix,
            text(event.event_id),
            known[event.type],
            long(event.occurred_at),
            _identities(event.identities),
            known[event.source],
            values(event.properties),
        )
    )


def _identities(identities: dict[str, str]) -> bytes:
    if type(identities) is not dict:
        raise Unusual
    if not identities:
        return b"\0"
    parts = [long(len(identities))]
    for kind, identity in identities.items():
        parts += (known[kind], text(identity))
    parts.append(b"\0")
    return b"".join(parts)
