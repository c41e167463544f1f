"""Parquet and Avro container files: rows as mappings read them, resumable by their number."""

from __future__ import annotations

import builtins
import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import fastavro
import pyarrow as pa
import pytest
from pyarrow import parquet

from orchestrator.errors import UsageError
from orchestrator.sources.inputs import BrokenFile
from orchestrator.sources.mappings import Mapper
from orchestrator.sources.mappings.files import MappedFile, open_files
from orchestrator.sources.mappings.plain import plain
from orchestrator.sources.mappings.typed_rows import AvroRows, ParquetRows

AT = datetime(2026, 3, 1, 8, 0, 0, 123456, tzinfo=UTC)
MS = 1_772_352_000_123
MAPPING: dict[str, Any] = {
    "source": "warehouse",
    "files": ["*"],
    "events": [
        {
            "type": "order.placed",
            "occurred_at": "record.at",
            "identities": {"user_id": "string(record.who)"},
            "properties": {"n": "record.n"},
        }
    ],
}
AVRO = {
    "type": "record",
    "name": "Order",
    "fields": [
        {"name": "n", "type": "long"},
        {"name": "who", "type": "long"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    ],
}


def write_parquet(path: Path, count: int = 25, **columns: Any) -> Path:
    """Three row groups."""
    given = {
        "n": list(range(count)),
        "who": [7] * count,
        "at": pa.array([AT] * count, pa.timestamp("ns", "UTC")),
    }
    parquet.write_table(pa.table(given | columns), path, row_group_size=10)
    return path


def write_avro(path: Path, count: int = 25, codec: str = "snappy") -> Path:
    """Several blocks."""
    rows = [{"n": n, "who": 7, "at": AT} for n in range(count)]
    with path.open("wb") as file:
        fastavro.writer(file, fastavro.parse_schema(AVRO), rows, codec=codec, sync_interval=30)
    return path


def mapped(path: Path, **changes: Any) -> MappedFile:
    return MappedFile(path, Mapper(json.dumps({**MAPPING, "format": path.suffix[1:], **changes})))


FILES = [("a.parquet", write_parquet), ("a.avro", write_avro)]


@pytest.mark.parametrize(("name", "write"), FILES)
def test_rows_through_a_mapping(tmp_path, name, write):
    """Instants are epoch ms; ids repeat; a load may continue behind any row."""
    file = mapped(write(tmp_path / name))
    pieces = list(file.pieces())
    events = [event for piece in pieces for event in file.events(piece)]
    assert [one.properties["n"] for one in events] == list(range(25))
    assert {(one.occurred_at, one.identities["user_id"]) for one in events} == {(MS, "7")}
    assert len({one.event_id for one in events}) == 25
    for start in (0, 1, 9, 10, 11, 24, 25):
        assert list(file.pieces(start)) == pieces[start:]
    assert [piece.end for piece in pieces] == list(range(1, 26))
    assert file.size() in {25, None}


@pytest.mark.parametrize(("name", "write"), FILES)
def test_a_column_that_is_not_there_is_named(tmp_path, name, write):
    with pytest.raises(UsageError, match=r"has no column 'whom'; did you mean who\?"):
        mapped(write(tmp_path / name), group_by=["record.whom"])


@pytest.mark.parametrize(("name", "write"), FILES)
def test_rows_of_one_event(tmp_path, name, write):
    event = {**MAPPING["events"][0], "properties": {"n": "sum(record.n)"}}
    file = mapped(write(tmp_path / name), group_by=["record.who"], events=[event])
    [piece] = file.pieces()
    [one] = file.events(piece)
    assert one.properties == {"n": sum(range(25))}


@pytest.mark.parametrize("codec", ["null", "deflate", "snappy", "bzip2"])
def test_packed_containers(tmp_path, codec):
    rows = AvroRows(write_avro(tmp_path / "a.avro", codec=codec))
    assert len(list(rows.pieces())) == 25
    assert rows.columns == ("n", "who", "at")


def test_types_of_parquet(tmp_path):
    """Whatever the unit and however far the time; what JSON has no word for becomes what it has."""
    columns = {
        "ns": pa.array([1_772_352_000_123_456_789], pa.timestamp("ns", "Europe/Berlin")),
        "wall": pa.array([1_772_352_000_123_456_789], pa.timestamp("ns")),
        "far": pa.array([2**61], pa.timestamp("us", "UTC")),
        "day": pa.array([date(2026, 3, 1)]),
        "price": pa.array([Decimal("19.90")], pa.decimal128(9, 2)),
        "nothing": pa.array([float("nan")]),
        "raw": pa.array([b"\x00\xff"]),
        "tags": pa.array([{"a": 1}], pa.map_(pa.string(), pa.int64())),
        "inner": pa.array([{"at": AT, "list": [1]}]),
        "word": pa.array(["x"]).dictionary_encode(),
        "big": pa.array([2**64 - 1], pa.uint64()),
    }
    parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
    rows = ParquetRows(tmp_path / "a.parquet")
    [piece] = rows.pieces()
    [record] = rows.records(piece.data)
    assert record == {
        "ns": MS,
        "wall": "2026-03-01 08:00:00.123456",
        "far": 2**61 // 1000,
        "day": "2026-03-01",
        "price": 19.9,
        "nothing": None,
        "raw": "AP8=",
        "tags": {"a": 1},
        "inner": {"at": MS, "list": [1]},
        "word": "x",
        "big": 2**64 - 1,
    }


def test_wall_times_are_of_the_mappings_zone(tmp_path):
    wall = pa.array([datetime.fromisoformat("2026-03-01T09:00")] * 25, pa.timestamp("ms"))
    file = mapped(write_parquet(tmp_path / "a.parquet", at=wall), zone="Europe/Berlin")
    [event] = file.events(next(file.pieces()))
    assert event.occurred_at == 1_772_352_000_000


def test_plain_values():
    assert plain(datetime.fromisoformat("2026-03-01T09:00")) == "2026-03-01T09:00:00"
    assert plain(time(9, 30)) == "09:30:00"
    assert plain(timedelta(seconds=2)) == 2000
    assert plain(UUID(int=5)) == "00000000-0000-0000-0000-000000000005"
    assert plain({"a": [Decimal("Infinity"), {"b": b"x"}, True, None]}) == {
        "a": [None, {"b": "eA=="}, True, None]
    }


@pytest.mark.parametrize("name", ["a.parquet", "a.avro"])
def test_what_is_no_such_file_says_so(tmp_path, name):
    (tmp_path / name).write_text("n,who\n1,2\n")
    with pytest.raises(UsageError, match="is no"):
        mapped(tmp_path / name)


def test_a_container_of_no_records(tmp_path):
    with (tmp_path / "a.avro").open("wb") as file:
        fastavro.writer(file, "string", ["x"])
    with pytest.raises(UsageError, match="holds no records"):
        mapped(tmp_path / "a.avro")


def test_a_broken_place_ends_the_file_behind_what_was_sound(tmp_path):
    """Also for Parquet; both say at which row."""
    path = write_avro(tmp_path / "a.avro")
    data = path.read_bytes()
    path.write_bytes(data[:-20])
    sound: list[int] = []
    with pytest.raises(BrokenFile, match="is broken at row"):
        sound.extend(piece.offset for piece in AvroRows(path).pieces())
    assert sound == list(range(len(sound)))
    assert len(sound) > 10
    path = write_parquet(tmp_path / "a.parquet", compression=pa.array(["x" * 100] * 25))
    data = bytearray(path.read_bytes())
    data[40:80] = bytes(40)
    path.write_bytes(data)
    with pytest.raises(BrokenFile, match="is broken at row"):
        list(ParquetRows(path).pieces())


def test_without_pyarrow_parquet_says_what_to_install(tmp_path, monkeypatch):
    """The others need it not."""
    real = builtins.__import__

    def without(name, *rest, **more):
        if name.partition(".")[0] == "pyarrow":
            raise ImportError(name)
        return real(name, *rest, **more)

    write_parquet(tmp_path / "a.parquet")
    write_avro(tmp_path / "b.avro")
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match=r"pip install 'orchestrator\[parquet\]'"):
        open_files([Mapper(json.dumps(MAPPING | {"format": "parquet", "files": ["a.parquet"]}))], tmp_path)  # fmt: skip
    assert len(open_files([Mapper(json.dumps(MAPPING | {"format": "avro", "files": ["b.avro"]}))], tmp_path)) == 1  # fmt: skip
