"""Files through mappings: formats, columns, lookups, groups, the order of time."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import InputError, UsageError
from orchestrator.sources.inputs import CanonicalFile, by_time
from orchestrator.sources.mappings import Mapper
from orchestrator.sources.mappings import groups as groups_module
from orchestrator.sources.mappings import rows as rows_module
from orchestrator.sources.mappings.files import MappedFile, open_files
from orchestrator.sources.mappings.rows import CsvRows, JsonRows, NdjsonRows

EVENT = {
    "type": "order.completed",
    "occurred_at": "long(record.at)",
    "identities": {"customer_id": "record.who"},
    "properties": {"n": "record.n"},
}


def mapper(**source):
    return Mapper(json.dumps({"source": "shop", "format": "csv", "events": [EVENT], **source}))


def csv_file(path, *rows, header="at,who,n", end="\n"):
    data = end.join([header, *rows, ""]).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def told(input_):
    """Events, or causes, with where they begin."""
    found = []
    for piece in input_.pieces():
        try:
            found += [(piece.offset, each.properties.get("n")) for each in input_.events(piece)]
        except InputError as error:
            found.append((piece.offset, error.cause))
    return found


cells = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=8)


@settings(deadline=None)  # it writes files, and machines are busy at times
@given(st.lists(st.lists(cells, min_size=2, max_size=2), max_size=8), st.sampled_from(",;\t|"))
def test_csv_is_read_as_pythons_own_reader_reads_it(tmp_path_factory, rows, delimiter):
    """Quotes, line breaks and delimiters within cells; each row by itself, found by its bytes."""
    rows = [row for row in rows if any(row)]
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, lineterminator="\n").writerows([["a", "b"], *rows])
    path = tmp_path_factory.mktemp("csv") / "f.csv"
    path.write_bytes(text.getvalue().encode())
    read = CsvRows(path, delimiter)
    pieces = list(read.pieces())
    records = [read.records(piece.data) for piece in pieces]
    assert records == [[{k: v for k, v in zip("ab", row, strict=True) if v}] for row in rows]
    for number, piece in enumerate(pieces):
        assert list(read.pieces(piece.end)) == pieces[number + 1 :]
        assert path.read_bytes()[piece.offset : piece.end] == piece.data


def test_what_other_programs_write(tmp_path):
    """A byte order mark, CR LF, blank lines, a last line without its end."""
    path = tmp_path / "f.csv"
    path.write_bytes(b'\xef\xbb\xbfat;who;n\r\n\r\n5;"a\r\nda";1\r\n \r\n6;bob;2')
    read = CsvRows(path, ";")
    assert read.columns == ("at", "who", "n")
    records = [read.records(piece.data)[0] for piece in read.pieces()]
    assert [each.get("who") for each in records if "n" in each] == ["a\r\nda", "bob"]


def test_broken_rows_are_refused_alone(tmp_path, monkeypatch):
    """Too few cells, no UTF-8, a quote that is never closed: the next row is not disturbed."""
    path = tmp_path / "f.csv"
    path.write_bytes(b'at,who,n\n1,ada,1\n2,ada\n3,\xff,3\n4,"ada,4\n5,ada,5\n6,ada,6\n')
    assert [what for _, what in told(MappedFile(path, mapper()))] == [
        "1",
        "bad_line",
        "bad_line",
        "bad_line",
        "5",
        "6",
    ]
    monkeypatch.setattr(rows_module, "MAX_ROW", 10)
    path.write_bytes(b'at,who,n\n4,"ada,4\n5,ada,5\n6,"ada",6\n7,ada,7\n')
    assert [what for _, what in told(MappedFile(path, mapper()))] == ["bad_line", "5", "6", "7"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no header"),
        (b"\n\n", "no header"),
        (b"a,b,a\n", "names a twice"),
        (b"\xff\n", "UTF-8"),
    ],
)
def test_a_header_that_is_none(tmp_path, data, words):
    path = tmp_path / "f.csv"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=words):
        CsvRows(path, ",")


def test_a_misspelt_column_is_an_error_and_not_null(tmp_path):
    path = csv_file(tmp_path / "f.csv", "5,ada,1", header="at,whom,n")
    with pytest.raises(UsageError, match=r"no column 'who'; did you mean whom\?"):
        MappedFile(path, mapper())


def test_lines_and_documents_of_json(tmp_path):
    lines = tmp_path / "f.ndjson"
    lines.write_text(
        '{"at": 5, "who": "ada", "n": 1}\n\nnothing\n[1]\n{"at": 6, "who": "bob", "n": 2}'
    )
    assert [what for _, what in told(MappedFile(lines, mapper(format="ndjson")))] == [
        1,
        "bad_line",
        "bad_line",
        2,
    ]
    document = tmp_path / "f.json"
    document.write_text('[{"at": 5, "who": "ada", "n": 1}, 3, {"at": 6, "who": "bob", "n": 2}]')
    read = MappedFile(document, mapper(format="json"))
    assert told(read) == [(0, 1), (1, "bad_line"), (2, 2)]
    assert [piece.offset for piece in read.pieces(2)] == [2]
    assert (read.size(), NdjsonRows(lines).columns) == (None, None)
    document.write_text('{"at": 5, "who": "ada", "n": 1}')
    assert told(read) == [(0, 1)]
    document.write_text("[1, ")
    with pytest.raises(UsageError, match="no JSON"):
        list(JsonRows(document).pieces())


def test_offsets_are_the_ids_of_rows_also_in_a_packed_copy(tmp_path):
    """The same file under the same name gives the same ids, packed or not, wherever it lies."""
    (tmp_path / "other").mkdir()
    plain = MappedFile(csv_file(tmp_path / "f.csv", "5,ada,1", "5,ada,1"), mapper())
    packed = MappedFile(csv_file(tmp_path / "other" / "f.csv.gz", "5,ada,1", "5,ada,1"), mapper())
    ids = [each.event_id for piece in plain.pieces() for each in plain.events(piece)]
    assert ids == [each.event_id for piece in packed.pieces() for each in packed.events(piece)]
    assert len(set(ids)) == 2
    assert (plain.size(), packed.size()) == (26, None) or plain.size() == plain.path.stat().st_size


# ------------------------------------------------------------------------------------- lookups


def test_lookups_are_read_beside_the_data(tmp_path):
    csv_file(tmp_path / "f.csv", "5,ada,1", "6,bob,2")
    csv_file(tmp_path / "plans.csv.gz", "1,pro,x", header="id,name,other")
    looking = mapper(
        files=["*.csv"],
        lookup={"plans": {"file": "plans.csv.gz", "key": "id", "on": "record.n"}},
        events=[{**EVENT, "properties": {"n": 'has(plans.name) ? plans.name : "none"'}}],
    )
    [file] = open_files([looking], tmp_path)
    assert [what for _, what in told(file)] == ["pro", "none"]


@pytest.mark.parametrize(
    ("rows", "header", "words"),
    [
        (["1,pro", "1,free"], "id,name", "two rows have id '1'"),
        (["1,pro,x"], "id,name", "at byte 8"),
        (["1,pro"], "id,nam", "did you mean nam"),
        (["1,pro"], "key,name", "no column 'id'"),
    ],
)
def test_a_lookup_that_would_lie_is_refused(tmp_path, rows, header, words):
    csv_file(tmp_path / "f.csv", "5,ada,1")
    csv_file(tmp_path / "plans.csv", *rows, header=header)
    looking = mapper(
        files=["f.csv"],
        lookup={"plans": {"file": "plans.csv", "key": "id", "on": "record.n"}},
        events=[{**EVENT, "properties": {"n": "plans.name"}}],
    )
    with pytest.raises(UsageError, match=words):
        open_files([looking], tmp_path)
    (tmp_path / "plans.csv").unlink()
    with pytest.raises(UsageError, match="does not exist"):
        open_files([looking], tmp_path)


# -------------------------------------------------------------------------------------- groups

SUMS = {**EVENT, "properties": {"n": "sum(long(record.n))"}}
lines_of_groups = st.lists(st.tuples(st.integers(0, 4), st.integers(-9, 9)), max_size=30)


@settings(deadline=None)
@given(lines_of_groups)
def test_groups_are_added_up_wherever_their_lines_stand(tmp_path_factory, lines):
    """In the order of their first lines; a load continues behind any of them."""
    path = csv_file(
        tmp_path_factory.mktemp("groups") / "f.csv", *(f"5,{who},{n}" for who, n in lines)
    )
    file = MappedFile(path, mapper(group_by=["record.who"], events=[SUMS]))
    expected = {}
    for who, n in lines:
        expected[who] = expected.get(who, 0) + n
    assert [what for _, what in told(file)] == list(expected.values())
    pieces = list(file.pieces())
    for number, piece in enumerate(pieces, 1):
        assert list(file.pieces(piece.end)) == pieces[number:]


def test_lines_without_a_group_are_refused_alone(tmp_path):
    path = csv_file(tmp_path / "f.csv", "5,ada,1", "5,,2", "5,ada", "5,ada,4")
    file = MappedFile(path, mapper(group_by=["record.who"], events=[SUMS]))
    assert [what for _, what in told(file)] == [5, "no_group", "bad_line"]


def test_a_group_that_is_the_whole_file_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(groups_module, "MAX_LINES", 3)
    path = csv_file(tmp_path / "f.csv", *["5,ada,1"] * 4)
    file = MappedFile(path, mapper(group_by=["record.who"], events=[SUMS]))
    with pytest.raises(UsageError, match="more than 3 lines"):
        list(file.pieces())


def test_two_groups_of_one_hash_stay_two(tmp_path, monkeypatch):
    class Same:
        def __init__(self, _):
            pass

        def digest(self):
            return bytes(32)

    monkeypatch.setattr(groups_module, "sha256", Same)
    path = csv_file(tmp_path / "f.csv", "5,ada,1", "5,bob,2", "5,ada,3")
    file = MappedFile(path, mapper(group_by=["record.who"], events=[SUMS]))
    assert [what for _, what in told(file)] == [4, 2]


# --------------------------------------------------------------------------------------- order


def test_files_are_merged_by_time(tmp_path):
    """Several events of one record stand apart; ties keep files and lines; refusals come first."""
    csv_file(tmp_path / "a.csv", "9,ada,1", "3,ada,2", "never,ada,3")
    csv_file(tmp_path / "b.csv", "3,bob,4", "1,bob,5")
    later = {**EVENT, "type": "order.reviewed", "occurred_at": "long(record.at) + 100"}
    canonical = tmp_path / "c.ndjson"
    canonical.write_text(
        '{"type":"a.b","occurred_at":4,"identities":{"x":"1"},"properties":{"n":6}}\n{'
    )
    inputs = [
        *open_files([mapper(files=["?.csv"], events=[EVENT, later])], tmp_path),
        CanonicalFile(canonical, "old"),
    ]
    counts = []
    arranged = list(by_time(inputs, counted=counts.append))
    assert counts == [11]
    assert [(one.error.cause, one.data) for one in arranged[:2] if one.error] == [
        ("no_time", b"never,ada,3\n"),
        ("bad_line", b"{"),
    ]
    found = [
        (one.event.occurred_at, one.event.properties["n"]) for one in arranged[2:] if one.event
    ]
    assert found == [
        (1, "5"),
        (3, "2"),
        (3, "4"),
        (4, 6),
        (9, "1"),
        (101, "5"),
        (103, "2"),
        (103, "4"),
        (109, "1"),
    ]
    assert list(by_time([])) == []


def test_what_nobody_may_take_is_refused_with_its_bytes(tmp_path):
    """The caller's own check counts as the mapping's: the whole record goes."""
    csv_file(tmp_path / "a.csv", "9,ada,1")

    def check(_):
        raise InputError("nobody knows ada", "no_identity")

    [one] = by_time(open_files([mapper(files=["a.csv"])], tmp_path), check)
    assert (one.event, one.data, one.error.cause) == (None, b"9,ada,1\n", "no_identity")


def test_patterns(tmp_path):
    """Relative ones begin at the folder, each file once, and one that finds nothing is an error."""
    (tmp_path / "deep").mkdir()
    for name in ("b.csv", "a.csv", "deep/c.csv"):
        csv_file(tmp_path / name, "5,ada,1")
    found = open_files([mapper(files=["**/*.csv", "a.csv", str(tmp_path / "b.csv")])], tmp_path)
    assert [file.path.name for file in found] == ["a.csv", "b.csv", "c.csv"]
    [one] = open_files([mapper(files=["none.csv"])], tmp_path, [tmp_path / "a.csv"])
    assert one.path == Path(tmp_path, "a.csv")
    with pytest.raises(UsageError, match=r"'none\.csv' finds no file"):
        open_files([mapper(files=["none.csv"])], tmp_path)
