"""Files into a real broker: resumable, refused when finished, bad lines kept, the log clock's order."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pytest
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition
from pyarrow import parquet

from orchestrator.codec import open_codec
from orchestrator.errors import UsageError
from orchestrator.kafka.clients import consumer_config
from orchestrator.kafka.reading import fetched
from orchestrator.kafka.topics import Topology
from orchestrator.records import Event
from orchestrator.settings import Settings, load_settings
from orchestrator.sources import load
from orchestrator.sources.identities import IdentityKinds
from orchestrator.sources.inputs import BrokenFile, CanonicalFile
from orchestrator.sources.load import Loader, Summary, prepare
from orchestrator.sources.mappings import Mapper
from orchestrator.sources.mappings.files import MappedFile
from tests.ends import ENDS_AT_ONCE, LOOK_S

pytestmark = pytest.mark.kafka
KINDS = IdentityKinds("household_id", ("email",))


class Silent:
    """Progress for nobody; can end a load in the middle."""

    def __init__(self, stop_after: int = 10**9) -> None:
        self.left = stop_after

    def begin(self, phase: str, total: int | None) -> None:
        del phase, total

    def at(self, done: int) -> None:
        del done
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def read(settings: Settings, logical: Any) -> list[Message]:
    consumer = Consumer(consumer_config(settings, "reader", **ENDS_AT_ONCE))
    topology = Topology(settings)
    count = topology.partitions(logical)
    consumer.assign([TopicPartition(topology.name(logical), one, 0) for one in range(count)])
    found: list[Message] = []
    ended = set()
    while len(ended) < count:
        for message in fetched(consumer, 1000, LOOK_S):
            if error := message.error():
                assert error.code() == KafkaError._PARTITION_EOF
                ended.add(message.partition())
            else:
                found.append(message)
    consumer.close()
    return found


def run(
    settings: Settings, *files: Path, again: bool = False, progress: Any = None, **options: Any
) -> Summary:
    codec = open_codec(settings)
    prepare(settings, codec)
    until = options.pop("until", None)
    mapper = options.pop("mapper", None)
    inputs: list[Any] = [
        MappedFile(file, mapper) if mapper else CanonicalFile(file, "shop") for file in files
    ]
    loader = Loader(settings, codec, KINDS, progress or Silent(), **options)
    return loader.run(inputs, again=again, until=until)


def events(settings: Settings) -> list[Event]:
    codec = open_codec(settings)
    codec.prepare(Topology(settings).names("events"))
    return [codec.decode(one.value()) for one in read(settings, "events")]  # type: ignore[misc]


def line(number: int, at: int = 0, **fields: Any) -> str:
    return json.dumps(
        {
            "type": "order.completed",
            "occurred_at": at or 1_000_000 + number,
            "identities": {"household_id": str(number % 10)},
            "properties": {"n": number, "cart": {"size": 2}},
        }
        | fields
    )


def write(path: Path, lines: list[str]) -> Path:
    text = "".join(one + "\n" for one in lines).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


@pytest.fixture
def target(settings: Settings) -> Settings:
    Topology(settings).apply()
    return settings


def test_lines_become_events_and_bad_ones_dead_letters(target: Settings, tmp_path: Path) -> None:
    """Never in the way of the next; with their bytes, their place and the reason."""
    lines = [line(1), "{nonsense", line(2), line(3, identities={"phone": "1"}), line(4)]
    summary = run(target, write(tmp_path / "a.ndjson", lines), backfill=True)
    assert (summary.accepted, summary.refused) == (3, 2)
    assert {one.properties["n"] for one in events(target)} == {1, 2, 4}
    assert {one.properties["cart.size"] for one in events(target)} == {2}
    records = read(target, "events")
    assert {one.key() for one in records} == {
        b"household_id:1",
        b"household_id:2",
        b"household_id:4",
    }
    assert all(dict(one.headers())["backfill"] == b"true" for one in records)
    dead = {one.value(): dict(one.headers()) for one in read(target, "dead-letters")}
    headers = dead[b"{nonsense\n"]
    assert headers["__connect.errors.offset"] == str(len(lines[0]) + 1).encode()
    assert headers["__connect.errors.cause"] == b"bad_line"


def test_a_finished_file_is_refused(target: Settings, tmp_path: Path) -> None:
    """Also under another name; ``--again`` loads it under the same ids."""
    file = write(tmp_path / "a.ndjson", [line(1)])
    run(target, file)
    copy = write(tmp_path / "b.ndjson", [line(1)])
    for one in (file, copy):
        with pytest.raises(UsageError, match="--again"):
            run(target, one)
    run(target, file, again=True)
    assert len(events(target)) == 2
    assert len({one.event_id for one in events(target)}) == 1


@pytest.mark.parametrize("name", ["a.ndjson", "a.ndjson.gz"])
def test_a_load_continues_where_it_was_stopped(
    target: Settings, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Kafka has acknowledged before the stop is not sent again."""
    monkeypatch.setattr(load, "CHUNK_LINES", 10)
    file = write(tmp_path / name, [line(n) for n in range(100)])
    with pytest.raises(KeyboardInterrupt):
        run(target, file, progress=Silent(4))
    assert len(events(target)) == 40
    summary = run(target, file)
    assert summary.accepted == 100
    assert sorted(one.properties["n"] for one in events(target)) == list(range(100))


def test_the_log_clock(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several files in the order of their time, which is the records' time; then one tick."""
    monkeypatch.setattr(load, "CHUNK_LINES", 10)
    flags = {
        "dev": "true",
        "kafka.bootstrap.servers": settings.kafka["bootstrap.servers"],
        "registry.url": settings.registry.url,
        "topics.prefix": settings.topics.prefix,
        "worker.data_dir": settings.worker.data_dir,
        "clock.mode": "log",
    }
    target = load_settings(env={}, flags=flags)
    Topology(target).apply()
    one = write(tmp_path / "one.ndjson", [line(n) for n in range(60, 0, -2)])
    two = write(tmp_path / "two.ndjson.gz", [line(n) for n in range(59, 0, -2)])
    with pytest.raises(KeyboardInterrupt):
        run(target, one, two, progress=Silent(2))
    # The worker's part: it says how far it has read, at last the closing tick.
    topology = Topology(target)
    worker = Consumer(consumer_config(target, target.app.id))
    read_to = {"events": 60, "timeline": 1}
    offsets = [TopicPartition(topology.name(one), 0, at) for one, at in read_to.items()]
    worker.commit(offsets=offsets, asynchronous=False)
    worker.close()
    summary = run(target, one, two, until=9_000_000)
    assert [event.properties["n"] for event in events(target)] == list(range(1, 61))
    assert [r.timestamp()[1] for r in read(target, "events")] == [
        1_000_000 + n for n in range(1, 61)
    ]
    [tick] = read(target, "timeline")
    assert (tick.key(), tick.value(), tick.timestamp()[1]) == (None, None, 9_000_000)
    assert summary.tick_at == 9_000_000
    with pytest.raises(UsageError):
        run(target, two)


MAPPING = {
    "source": "tills",
    "files": ["*.csv"],
    "format": "csv",
    "events": [
        {
            "type": "order.completed",
            "occurred_at": "long(record.at)",
            "identities": {"household_id": "record.who"},
            "properties": {"n": "long(record.n)"},
        },
        {
            "type": "order.reviewed",
            "if": "has(record.reviewed)",
            "occurred_at": "long(record.reviewed)",
            "identities": {"household_id": "record.who"},
        },
    ],
}


@pytest.mark.parametrize("group_by", [[], ["record.n"]], ids=["lines", "groups"])
def test_records_through_a_mapping(
    target: Settings, tmp_path: Path, group_by: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Resumable, dead letters with their own bytes, offsets as ids, as for canonical events."""
    monkeypatch.setattr(load, "CHUNK_LINES", 10)
    mapper = Mapper(json.dumps({**MAPPING, "group_by": group_by}))
    rows = [f"{n},{n},{1000 + n}," for n in range(30)]
    rows[5], rows[7] = "5,5,when,", "7,7"
    file = write(tmp_path / "a.csv", ["n,who,at,reviewed", *rows])
    with pytest.raises(KeyboardInterrupt):
        run(target, file, mapper=mapper, progress=Silent(2))
    summary = run(target, file, mapper=mapper)
    assert (summary.accepted, summary.refused) == (28, 2)
    found = events(target)
    assert sorted(one.properties["n"] for one in found) == [n for n in range(30) if n not in {5, 7}]
    assert len({one.event_id for one in found}) == 28
    assert {one.source for one in found} == {"tills"}
    dead = {one.value(): dict(one.headers()) for one in read(target, "dead-letters")}
    assert dead[b"5,5,when,\n"]["__connect.errors.cause"] == b"no_time"
    assert dead[b"7,7\n"]["__connect.errors.cause"] == b"bad_line"
    with pytest.raises(UsageError, match="--again"):
        run(target, file, mapper=mapper)


ROWS = {
    "source": "warehouse",
    "files": ["*"],
    "events": [
        {
            "type": "order.completed",
            "occurred_at": "record.at",
            "identities": {"household_id": "string(record.who)"},
            "properties": {"n": "record.n"},
        }
    ],
}


def as_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    parquet.write_table(pa.Table.from_pylist(rows), path, row_group_size=7)


def as_avro(path: Path, rows: list[dict[str, Any]]) -> None:
    fields = [{"name": name, "type": ["null", "long"]} for name in ("n", "who", "at")]
    schema = {"type": "record", "name": "Row", "fields": fields}
    with path.open("wb") as file:
        fastavro.writer(file, fastavro.parse_schema(schema), rows, sync_interval=40)


@pytest.mark.parametrize(("format_", "write_rows"), [("parquet", as_parquet), ("avro", as_avro)])
def test_rows_of_a_warehouse(
    target: Settings, tmp_path: Path, format_: str, write_rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Resumed at the row behind the last kept one; a row that cannot be mapped is kept as JSON."""
    monkeypatch.setattr(load, "CHUNK_LINES", 10)
    mapper = Mapper(json.dumps(ROWS | {"format": format_}))
    rows = [{"n": n, "who": n % 5, "at": 1_000_000 + n} for n in range(45)]
    rows[5]["at"] = None
    file = tmp_path / f"rows.{format_}"
    write_rows(file, rows)
    with pytest.raises(KeyboardInterrupt):
        run(target, file, mapper=mapper, progress=Silent(2))
    assert len(events(target)) == 19
    summary = run(target, file, mapper=mapper)
    assert (summary.accepted, summary.refused) == (44, 1)
    found = sorted(one.properties["n"] for one in events(target))
    assert found == [n for n in range(45) if n != 5]
    [dead] = read(target, "dead-letters")
    assert json.loads(dead.value()) == rows[5]
    assert dict(dead.headers())["__connect.errors.offset"] == b"5"
    with pytest.raises(UsageError, match="--again"):
        run(target, file, mapper=mapper)


def test_what_is_too_large_is_a_dead_letter(target: Settings, tmp_path: Path) -> None:
    """Also what no broker takes: its beginning, and how large it was; the next line goes on."""
    lines = [line(n, properties={"x": "y" * size}) for n, size in enumerate((300_000, 9_000_000))]
    lines += [line(2), line(3, occurred_at=0), line(4, occurred_at="1969-12-31T23:59:59Z")]
    summary = run(target, write(tmp_path / "a.ndjson", lines))
    assert (summary.accepted, summary.refused) == (1, 4)
    told: dict[int, tuple[dict[str, bytes], bytes]] = {}
    for one in read(target, "dead-letters"):
        headers = dict(one.headers())
        told[int(headers["__connect.errors.offset"])] = (headers, one.value())
    places = [sum(len(one) + 1 for one in lines[:number]) for number in (0, 1, 3, 4)]
    causes = [told[place][0]["__connect.errors.cause"] for place in places]
    assert causes == [b"too_large", b"too_large", b"bad_line", b"bad_line"]
    assert told[places[0]][1] == lines[0].encode() + b"\n"
    cut, whole = told[places[1]], len(lines[1]) + 1
    assert cut[0]["__connect.errors.truncated"] == str(whole).encode()
    assert lines[1].encode().startswith(cut[1])
    said = told[places[2]][0]["__connect.errors.exception.message"].decode()
    assert f"at byte {places[2]}: occurred_at is 0 ms" in said


class Unreadable(CanonicalFile):
    """A file that breaks off."""

    def pieces(self, start: int = 0) -> Any:
        yield from super().pieces(start)
        raise BrokenFile("broken behind it")


def test_what_stands_before_a_broken_place_is_loaded_once(target: Settings, tmp_path: Path) -> None:
    codec = open_codec(target)
    prepare(target, codec)
    broken = Unreadable(write(tmp_path / "a.ndjson", [line(1), line(2)]), "shop")
    for _ in range(2):
        with pytest.raises(BrokenFile):
            Loader(target, codec, KINDS, Silent()).run([broken], again=False, until=None)
    assert sorted(one.properties["n"] for one in events(target)) == [1, 2]
