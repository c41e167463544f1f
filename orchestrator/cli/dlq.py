"""Look at dead letters and send them back to where they came from."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import click

from orchestrator.cli.output import output_option

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from orchestrator.cli.session import Session
    from orchestrator.kafka.dead_letters import DeadLetter
    from orchestrator.settings import Settings
    from orchestrator.sources.producer import Outgoing

FINDINGS: Final = 1
NEWEST: Final = 50
"""So many rows are printed; ``--output json`` has all."""
BYTES_SHOWN: Final = 2_000
FLUSH_S: Final = 30.0


class Place(click.ParamType):
    """``PARTITION:OFFSET`` of a dead letter, as `dlq list` prints it."""

    name = "PARTITION:OFFSET"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Return (partition, offset)."""
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(\d{1,9}):(\d{1,18})", str(value))
        if match is None:
            self.fail(f"{value}: write PARTITION:OFFSET, for example 2:1041", param, ctx)
        return int(match[1]), int(match[2])


@click.group()
def command() -> None:
    """List, show and replay dead letters."""


@command.command("list", epilog="Example: orchestrator dlq list --cause unknown_schema")
@click.option("--cause", help="Only those with this cause.")
@output_option
@click.pass_obj
def list_(session: Session, cause: str | None) -> None:
    """List dead letters, oldest first, and how many there are of each cause."""
    found = [
        letter
        for letter in sorted(read_all(session.settings), key=lambda one: (one.at, one.name))
        if cause in {None, letter.cause}
    ]
    counts: dict[str, int] = {}
    for letter in found:
        counts[letter.cause] = counts.get(letter.cause, 0) + 1
    session.output.result(
        {"counts": counts, "dead_letters": [_data(letter) for letter in found]},
        lambda console: _print_list(console, session, found, counts),
    )


def _print_list(
    console: Console, session: Session, found: list[DeadLetter], counts: dict[str, int]
) -> None:
    from orchestrator.explain import instant

    if not found:
        console.print("No dead letters.")
        return
    rows = [
        (
            letter.name,
            instant(letter.at),
            letter.stage,
            letter.cause,
            _origin(letter),
            _text(letter.key),
        )
        for letter in found[-NEWEST:]
    ]
    session.output.table("", ("letter", "UTC", "stage", "cause", "from", "key"), rows)
    if len(found) > NEWEST:
        console.print(f"({len(found) - NEWEST} earlier ones: --output json)")
    by_number = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    console.print(", ".join(f"{count} x {name}" for name, count in by_number), markup=False)


@command.command(epilog="Example: orchestrator dlq show 2:1041")
@click.argument("place", type=Place())
@output_option
@click.pass_obj
def show(session: Session, place: tuple[int, int]) -> None:
    """Show the dead letter at PARTITION:OFFSET: why, headers, bytes, and what to do about it."""
    from orchestrator.explain import instant
    from orchestrator.kafka.dead_letters import remedy

    settings = session.settings
    letter = read_one(settings, place)
    decoded = _decoded(settings, letter)
    data = _data(letter) | {
        "headers": {name: _text(value) for name, value in letter.headers},
        "value": _text(letter.value),
        "record": decoded,
        "remedy": remedy(letter),
    }

    def as_text(console: Console) -> None:
        import msgspec

        def line(name: str, text: str) -> None:
            console.print(f"{name:>10}  {text}", markup=False)

        line("letter", f"{letter.name} at {instant(letter.at)} UTC")
        line("refused by", letter.stage)
        line("cause", letter.cause)
        line("message", letter.message)
        line("from", _origin(letter))
        line("key", _text(letter.key))
        for name, value in letter.headers:
            line("header", f"{name}: {_text(value)}")
        if decoded is not None:
            line("record", msgspec.json.format(msgspec.json.encode(decoded), indent=2).decode())
        else:
            line("bytes", f"{len(letter.value or b'')}: {_text(letter.value)[:BYTES_SHOWN]}")
        line("remedy", remedy(letter))

    session.output.result(data, as_text)


@command.command(epilog="Example: orchestrator dlq replay --cause unknown_schema")
@click.argument("places", nargs=-1, metavar="[PARTITION:OFFSET]...", type=Place())
@click.option("--cause", help="All with this cause, instead of naming each.")
@output_option
@click.pass_obj
def replay(session: Session, places: tuple[tuple[int, int], ...], cause: str | None) -> int:
    """Send dead letters back: original key, bytes and headers, to the partition they came from.

    What was decided already is not decided again: identify and decide know event ids, sinks know
    action ids; so a second replay does no harm. The letter itself stays where it is. Letters of
    `connect` and of the collector go through the mappings in force, and their events to our events:
    they were none yet. What no mapping takes, bodies that hold no records, and lines of files (load
    them again) have no way back; they are listed, and the exit code is 1.
    """
    from orchestrator.errors import UsageError
    from orchestrator.kafka.dead_letters import why_not_replayable
    from orchestrator.kafka.topics import Topology
    from orchestrator.sources.again import is_mapped, map_again

    if bool(places) == (cause is not None):
        raise UsageError("name the letters (PARTITION:OFFSET...), or give --cause")
    settings = session.settings
    if cause is None:
        chosen = [read_one(settings, place) for place in dict.fromkeys(places)]
    else:
        chosen = sorted(
            (one for one in read_all(settings) if one.cause == cause), key=lambda one: one.at
        )
        if not chosen:
            raise UsageError(f"no dead letter has the cause {cause!r}: see `orchestrator dlq list`")
    topics = frozenset(spec.name for spec in Topology(settings).specs())
    foreign = [one for one in chosen if is_mapped(one)]
    ours = [one for one in chosen if not is_mapped(one)]
    events, refused = map_again(settings, foreign) if foreign else ([], {})
    refused |= {one.name: why for one in ours if (why := why_not_replayable(one, topics))}
    sent = [one for one in chosen if one.name not in refused]
    send_back(settings, [one for one in ours if one.name not in refused], events)

    def as_text(console: Console) -> None:
        for one in sent:
            what = "mapped again, of" if is_mapped(one) else "back on"
            console.print(f"{one.name}  {what} {_origin(one)}", markup=False)
        for name, why in refused.items():
            console.print(f"{name}  not replayed: {why}", style="red", markup=False)
        console.print(f"{len(sent)} replayed, {len(refused)} not.")

    session.output.result({"replayed": [one.name for one in sent], "refused": refused}, as_text)
    return FINDINGS if refused else 0


# ------------------------------------------------------------------------------------ the topic


def read_all(settings: Settings) -> Iterator[DeadLetter]:
    """Yield every dead letter that the topic holds, partition by partition.

    Raises:
        BrokerUnavailable: Kafka does not answer.
        TopologyError: The topic is missing.
    """
    from orchestrator.kafka.dead_letters import read_message
    from orchestrator.kafka.reading import read_partition
    from orchestrator.kafka.topics import Topology

    topology = Topology(settings)
    for partition in range(topology.partitions("dead-letters")):
        for message in read_partition(settings, topology.name("dead-letters"), partition):
            yield read_message(message)


def read_one(settings: Settings, place: tuple[int, int]) -> DeadLetter:
    """Return the dead letter at (partition, offset).

    Raises:
        UsageError: There is none.
        BrokerUnavailable: Kafka does not answer.
    """
    from orchestrator.errors import UsageError
    from orchestrator.kafka.dead_letters import read_message
    from orchestrator.kafka.reading import PartitionReader
    from orchestrator.kafka.topics import Topology

    topology = Topology(settings)
    partition, offset = place
    if partition < topology.partitions("dead-letters"):
        topic = topology.name("dead-letters")
        with PartitionReader(settings, topic, partition, offset) as reader:
            first, end = reader.bounds()
            message = reader.peek(offset + 1) if first <= offset < end else None
        if message is not None and message.offset() == offset:
            return read_message(message)
    raise UsageError(f"there is no dead letter {partition}:{offset}: see `orchestrator dlq list`")


def send_back(
    settings: Settings, letters: Sequence[DeadLetter], events: Sequence[Outgoing] = ()
) -> None:
    """Produce the originals to the partitions that they came from, in the order given, and events.

    The partition is named, not computed: a record without a key goes back to where it lay. Under
    ``clock.mode: log`` it carries the log time of the refusal, else the time is now.

    Raises:
        CouldNotRun: Kafka did not take all of them; those that it took are not taken back.
    """
    from confluent_kafka import Producer

    from orchestrator.errors import CouldNotRun
    from orchestrator.kafka.clients import producer_config

    failed: list[str] = []

    def delivered(error: Any, message: Any) -> None:
        if error is not None:
            failed.append(f"{message.topic()}: {error.str()}")

    producer = Producer(producer_config(settings))
    for letter in letters:
        producer.produce(
            letter.topic,
            letter.value,
            letter.key,
            letter.from_partition,
            headers=list[tuple[str, str | bytes | None]](letter.headers),
            timestamp=letter.at if settings.clock.mode == "log" else 0,
            on_delivery=delivered,
        )
    for one in events:
        producer.produce(
            one.topic,
            one.value,
            one.key,
            headers=one.headers,
            timestamp=one.timestamp,
            on_delivery=delivered,
        )
    left = producer.flush(FLUSH_S)
    if failed or left:
        why = "; ".join(sorted(set(failed))) or "no answer"
        count = len(letters) + len(events)
        raise CouldNotRun(f"{len(failed) + left} of {count} not replayed: {why}")


# -------------------------------------------------------------------------------------- showing


def _data(letter: DeadLetter) -> dict[str, object]:
    return {
        "letter": letter.name,
        "at": letter.at,
        "stage": letter.stage,
        "cause": letter.cause,
        "message": letter.message,
        "topic": letter.topic,
        "partition": letter.from_partition,
        "offset": letter.from_offset,
        "doing": letter.doing or None,
        "key": _text(letter.key),
        "bytes": len(letter.value or b""),
    }


def _origin(letter: DeadLetter) -> str:
    if letter.doing:
        return f"{letter.topic} {letter.from_partition}, {letter.doing}"
    if letter.from_partition < 0:
        behind = f" at byte {letter.from_offset}" if letter.from_offset >= 0 else ""
        return f"{letter.topic or 'outside'}{behind}"
    return f"{letter.topic} {letter.from_partition}:{letter.from_offset}"


def _text(data: bytes | None) -> str:
    """Return bytes as text if they are text, else as Python writes them."""
    if data is None:
        return ""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return repr(data)[2:-1]
    return text if text.isprintable() or text.strip().startswith(("{", "[")) else repr(data)[2:-1]


def _decoded(settings: Settings, letter: DeadLetter) -> Any:
    """Return the record as plain data if it is one of ours; None if not, or nobody can tell now."""
    import msgspec

    from orchestrator.codec import open_codec
    from orchestrator.errors import DecodeError, UnavailableError
    from orchestrator.kafka.decoding import decode_now

    if not letter.value:
        return None
    try:
        record = decode_now(open_codec(settings), letter.value)
    except (DecodeError, UnavailableError):
        return None
    return {"type": type(record).__name__, **msgspec.to_builtins(record)}
