"""What goes with a dead letter: Kafka Connect's header names, so that existing tools read ours.

The record itself is the original: same key, same bytes, its own headers first. The exception's text
may quote the input, so it is cut; traces never travel. ``read`` turns a dead letter back into what
it was and why it lies there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from confluent_kafka import Message

Headers = Sequence[tuple[str, bytes]]
MAX_MESSAGE = 500
"""Characters of an error's text that travel."""
_PREFIX = "__connect.errors."
MAX_BYTES = 8 * 1024 * 1024
"""The dead-letters topic's ``max.message.bytes``: what hosted Kafkas still allow. Compressed records
of other topics may unpack to more than those topics take."""
_OVERHEAD = 1024
"""Of a batch with one record, generously."""
DOING, AT = "orchestrator.doing", "orchestrator.at"
"""Headers of a dead letter that is no record: what a stage did with a key, and at which instant."""


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


class DeadLetter(Struct, kw_only=True):
    """One dead letter as an operator looks at it."""

    partition: int
    """Where it lies on the dead letters' own topic; with ``offset`` its name."""
    offset: int
    at: int
    """Kafka timestamp, epoch ms."""
    stage: str
    cause: str
    message: str
    topic: str
    """Where it came from: a topic, or a file or request."""
    from_partition: int
    from_offset: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]
    """The original's own."""
    truncated: int = 0
    """The original's size in bytes if only its beginning is here; 0: all of it is."""

    @property
    def name(self) -> str:
        """``PARTITION:OFFSET``."""
        return f"{self.partition}:{self.offset}"

    @property
    def doing(self) -> str:
        """What a stage did when it failed without a record (``fire``, ``switch``); else empty."""
        return next((value.decode() for name, value in self.headers if name == DOING), "")

    @property
    def instant(self) -> int:
        """At which log time that was, epoch ms; -1 for a record."""
        return next((_number(value.decode()) for name, value in self.headers if name == AT), -1)


def read(
    partition: int,
    offset: int,
    at: int,
    key: bytes | None,
    value: bytes | None,
    headers: Headers,
) -> DeadLetter:
    """Return the dead letter in a record of the dead letters' topic; headers may be missing."""
    said = {
        name.removeprefix(_PREFIX): text.decode(errors="replace")
        for name, text in headers
        if name.startswith(_PREFIX)
    }
    return DeadLetter(
        partition=partition,
        offset=offset,
        at=at,
        stage=said.get("stage", ""),
        cause=said.get("cause") or said.get("exception.class.name", ""),
        message=said.get("exception.message", ""),
        topic=said.get("topic", ""),
        from_partition=_number(said.get("partition", "")),
        from_offset=_number(said.get("offset", "")),
        key=key,
        value=value,
        headers=[(name, text) for name, text in headers if not name.startswith(_PREFIX)],
        truncated=max(_number(said.get("truncated", "")), 0),
    )


def read_message(message: Message) -> DeadLetter:
    """Return the dead letter in a fetched message."""
    given: Any = message.headers() or ()
    return read(
        message.partition() or 0,
        message.offset() or 0,
        message.timestamp()[1],
        message.key(),
        message.value(),
        [(name, value or b"") for name, value in given],
    )


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else -1


REMEDIES = {
    "truncated": "the producer does not write the Confluent wire format: correct it, send again",
    "wrong_magic": "the producer does not write the Confluent wire format: correct it, send again",
    "unknown_schema": "register the schema (or point registry.url at the registry that has it), "
    "then replay",
    "bad_schema": "correct the writer's schema in the registry, then replay",
    "foreign_record": "another record type was written to our topic: correct the producer",
    "undecodable": "the bytes do not fit their schema: correct the producer, send again",
    "tombstone": "our topics take no tombstones: correct the producer",
    "bad_key": "the producer must key by the strongest identity, kind:value: correct it, send again",
    "no_key": "the producer must key by the strongest identity, kind:value: correct it, send again",
    "bad_input": "the record breaks a rule, see the message: correct the producer, send again",
    "unknown_customer": "a receipt or event names a customer that was never seen: replay it once "
    "the customer's first event has come",
    "blocked_identity": "nothing to do: the value is on the block list of profile.yaml. If it does "
    "belong to one person, take it off, apply, then replay",
    "known_customers": "look at both with `customer show`: mostly a device or address that two people "
    "share, and nothing to do. If they are one person, set merge_known in profile.yaml, apply, "
    "then replay",
    "join_limit": "the value is shared by many: put it on the block list of profile.yaml and apply. "
    "If it is one person's, raise join_limit, apply, then replay",
    "no_identity": "declare the identity's kind in profile.yaml, or correct the mapping, and apply; then "
    "replay (files: load --again)",
    "state_oversize": "one customer has grown too large, a robot or a shared identity: block the "
    "identity in profile.yaml",
    "oversize": "an output is too large: shorten the message's content, apply, then replay",
    "bad_identity": "an identity is too long, or has the form of a provisional customer's: correct the "
    "source, send again",
    "bad_message": "it is no message of the tracking API: correct the sender, send again",
    "unencodable": "a value does not fit the schema, see the message: correct the source, send again",
    "out_of_range": "a number is larger than any double: correct the source, send again",
    "too_deep": "the source must send flatter objects, or its mapping take fewer fields: correct it and "
    "apply, then replay",
    "bad_consent": "a statement of consent names its channel or category by no name, see the message: "
    "correct the source, send again",
    "bad_link": "only identify writes links: correct the producer",
    "unexpected_record": "a record type that has no place on this topic: correct the producer",
    "wrong_record": "another record type was written to our topic: correct the producer",
    "unknown_kind": "it is of a newer version: upgrade the role that refused it, then replay",
    "too_large": "the source must send smaller events",
    "bad_record": "the record is not in the format of its mapping: correct the mapping and apply, then "
    "replay; or correct the producer",
    "bad_line": "the line is not in the format of its mapping: correct the file, load it again",
    "bad_time": "the mapping finds no instant: correct `occurred_at` or `zone` and apply, then replay "
    "(files: load --again)",
    "no_time": "the mapping finds no instant: correct `occurred_at` or `zone` and apply, then replay "
    "(files: load --again)",
    "no_group": "the mapping's `group_by` is null: correct it and apply, then load --again",
    "no_id": "the mapping's `id` is null: correct it and apply, then replay (files: load --again)",
    "skipped": "it killed its worker, and an operator passed over it: after an upgrade, replay",
    "stage_error": "a fault of this program or of a definition, see the message: after the "
    "upgrade or the next apply, replay",
}


def remedy(letter: DeadLetter) -> str:
    """Return what an operator can do about it."""
    if letter.doing:
        return (
            "a timer or a catalog switch failed, and the state was put back: there is no record to "
            "replay. Correct the definition that the message names and apply it"
        )
    return REMEDIES.get(letter.cause, "see the message; correct the source and send it again")


def why_not_replayable(letter: DeadLetter, topics: frozenset[str]) -> str:
    """Return why a letter has no way back, or an empty text.

    Args:
        letter: The dead letter.
        topics: The deployment's own topics.
    """
    if letter.doing:
        return f"it is no record: the stage {letter.stage} failed in {letter.doing}"
    if letter.from_partition < 0:
        return f"it did not come from Kafka but from {letter.topic or 'outside'}: send it again"
    if letter.topic not in topics:
        return f"{letter.topic or 'its topic'} is none of this deployment's topics"
    if letter.truncated:
        return (
            f"only a part of its {letter.truncated} bytes is here; the original lies on "
            f"{letter.topic} {letter.from_partition}:{letter.from_offset} until its retention"
        )
    return ""


def fitted(
    key: bytes | None, value: bytes | None, headers: Headers
) -> tuple[bytes | None, Headers]:
    """Return value and headers of a dead letter so that its topic takes it.

    Only what unpacks to megabytes is ever cut: the headers say so (``truncated`` = the original's
    size), and where the original lies, which stays readable there until its topic's retention.
    """
    size = sum(len(name) + len(said) for name, said in headers) + len(key or b"") + _OVERHEAD
    if value is None or len(value) + size <= MAX_BYTES:
        return value, headers
    told = [*headers, (_PREFIX + "truncated", str(len(value)).encode())]
    return value[: max(MAX_BYTES - size - _OVERHEAD, 0)], told
