"""What goes with a dead letter: Kafka Connect's header names, so that existing tools read ours.

The record itself is the original: same key, same bytes, its own headers first. The exception's text
may quote the input, so it is cut; traces never travel.
"""

from __future__ import annotations

from collections.abc import Sequence

Headers = Sequence[tuple[str, bytes]]
MAX_MESSAGE = 500
"""Characters of an error's text that travel."""
_PREFIX = "__connect.errors."


def dead_letter_headers(
    component: str,
    cause: str,
    message: str,
    *,
    topic: str = "",
    partition: int = -1,
    offset: int = -1,
    original: Headers = (),
) -> list[tuple[str, bytes]]:
    """Return the headers of one dead letter.

    Args:
        component: Who refused it, for example ``collect`` or ``deliver-email``.
        cause: The closed word for metrics, as in ``PoisonError.cause``.
        message: What an operator reads.
        topic: Where the input came from; a topic, or the path of a file or request.
        partition: -1 if it did not come from Kafka.
        offset: The same; for files the byte offset.
        original: Headers of the input.
    """
    said = {
        "topic": topic,
        "partition": str(partition),
        "offset": str(offset),
        "connector.name": component,
        "stage": component,
        "cause": cause,
        "exception.class.name": cause,
        "exception.message": message[:MAX_MESSAGE],
    }
    kept = [(name, value) for name, value in original if not name.startswith(_PREFIX)]
    return kept + [(_PREFIX + name, value.encode()) for name, value in said.items()]
