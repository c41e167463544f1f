"""Every format of other people's topics, opened: what a mapping reads, and the ids that repeat."""

from __future__ import annotations

import base64
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from io import BytesIO
from typing import Any, ClassVar

import pytest
from fastavro import parse_schema, schemaless_writer

from orchestrator.codec import RegistryClient, open_registry
from orchestrator.codec.wire import prefix
from orchestrator.errors import DecodeError, InputError, RegistryUnavailable, SchemaNotLoaded
from orchestrator.expressions.records import KEY
from orchestrator.records import Event
from orchestrator.settings import Registry as RegistrySettings
from orchestrator.sources.connect.opening import Incoming, Opened, Opener
from orchestrator.sources.connect.schemas import WriterSchemas
from orchestrator.sources.mappings import Mapper
from orchestrator.testing.registry import Registry

AT = 1_772_352_000_000
INVOICE = {
    "type": "record",
    "name": "billing.Invoice",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "total", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
        {"name": "paid_at", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}]},
        {"name": "due", "type": {"type": "int", "logicalType": "date"}},
        {"name": "lines", "type": {"type": "array", "items": {
            "type": "record", "name": "Line", "fields": [{"name": "sku", "type": "string"}]}}},
        {"name": "first", "type": ["null", "Line"]},
        {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["PAID", "OPEN"]}},
    ],
}  # fmt: skip
PAID = {
    "id": "in_1",
    "total": Decimal("19.90"),
    "paid_at": datetime(2026, 3, 1, 8, tzinfo=UTC),
    "due": date(2026, 3, 9),
    "lines": [{"sku": "a"}],
    "first": {"sku": "a"},
    "state": "PAID",
}


@pytest.fixture(scope="module")
def schemas(registry: Registry):
    opened = WriterSchemas(open_registry(RegistrySettings(url=registry.url)))
    yield opened
    opened.close()


def avro(registry: Registry, schema: Any, value: Any) -> bytes:
    """The value as a registry-aware producer writes it."""
    name = schema["name"] if isinstance(schema, dict) else "text"
    number = open_registry(RegistrySettings(url=registry.url)).register(
        f"opening-{name}", json.dumps(schema)
    )
    out = BytesIO()
    out.write(prefix(number))
    schemaless_writer(out, parse_schema(schema), value)
    return out.getvalue()


def incoming(value: Any = None, key: bytes | None = b"any", **fields: Any) -> Incoming:
    headers = [(name, text.encode()) for name, text in fields.pop("headers", {}).items()]
    if not isinstance(value, bytes | None):
        value = json.dumps(value).encode()
    given = {"topic": "t", "partition": 3, "offset": 7, "at": AT} | fields
    return Incoming(**given, key=key, value=value, headers=headers)


def opened(
    schemas: WriterSchemas, format_: str, one: Incoming, wanted: str = "", *, reads_key: bool = True
) -> Opened:
    """What is in a record, once its schemas are there."""
    found = opener(schemas, format_, wanted, reads_key=reads_key)
    result = settled(schemas, lambda: found.open(one))
    assert result is not None
    return result


def opener(schemas: WriterSchemas, format_: str, wanted: str = "", *, reads_key: bool = True):
    return Opener(format_, schemas, frozenset(wanted.split()), reads_key=reads_key)


def settled(schemas: WriterSchemas, ask):
    while True:
        try:
            return ask()
        except SchemaNotLoaded as missing:
            while not schemas.settled(missing.schema_id):
                pass


# ----------------------------------------------------------------------------- Avro and JSON


def test_avro_types_become_plain_ones(schemas, registry):
    """Decimal: double; instant: epoch ms; date: text; enum: its name; nested records stay nested."""
    value = avro(registry, INVOICE, PAID)
    found = opened(schemas, "avro", incoming(value), "id total paid_at due lines first.sku state")
    assert found.record == {
        "id": "in_1",
        "total": 19.9,
        "paid_at": AT,
        "due": "2026-03-09",
        "lines": [{"sku": "a"}],
        "first": {"sku": "a"},
        "state": "PAID",
    }
    assert found.arrival.roots["kafka"] == {"topic": "t", "time": AT, "type": "billing.Invoice"}


def test_only_what_is_read_is_decoded(schemas, registry):
    """A field that nobody asks for may hold what no calendar knows."""
    schema = {
        "type": "record",
        "name": "Strange",
        "fields": [
            {"name": "when", "type": {"type": "long", "logicalType": "timestamp-millis"}},
            {"name": "id", "type": "string"},
        ],
    }
    odd = {"when": 2**62, "id": "x"}
    plain_schema = json.loads(json.dumps(schema))
    plain_schema["fields"][0]["type"] = "long"
    number = avro(registry, schema, {"when": 0, "id": ""})[:5]
    value = number + avro(registry, {**plain_schema, "name": "Odd"}, odd)[5:]
    assert opened(schemas, "avro", incoming(value), "id").record == {"id": "x"}
    with pytest.raises(DecodeError):
        opened(schemas, "avro", incoming(value), "id when")


def test_a_projection_that_would_lose_a_type_reads_all(schemas, registry):
    """`first` uses the type that stands in `lines`."""
    value = avro(registry, INVOICE, PAID)
    assert opened(schemas, "avro", incoming(value), "first").record["first"] == {"sku": "a"}


def test_bytes_that_fit_no_schema_are_told_apart(schemas, registry):
    value = avro(registry, INVOICE, PAID)
    for broken, cause in (
        (value[:9], "undecodable"),
        (value + b"x", "undecodable"),
        (b"{}", "truncated"),
        (b'{"a": 1}', "wrong_magic"),
        (prefix(9999) + b"x", "unknown_schema"),
    ):
        with pytest.raises(DecodeError) as refused:
            opened(schemas, "avro", incoming(broken), "id")
        assert refused.value.cause == cause, broken


class Referring(RegistryClient):
    """A registry in which the schema refers to another one, and that to a third."""

    ANSWERS: ClassVar[dict[str, Any]] = {
        "/schemas/ids/7": {
            "schema": json.dumps({"type": "record", "name": "shop.Order", "fields": [
                {"name": "id", "type": "string"}, {"name": "line", "type": "shop.Line"}]}),
            "references": [{"name": "shop.Line", "subject": "line", "version": 2},
                           {"name": "shop.Sku", "subject": "sku", "version": 1}],
        },
        "/subjects/line/versions/2": {
            "schema": json.dumps({"type": "record", "name": "shop.Line", "fields": [
                {"name": "sku", "type": "shop.Sku"}]}),
            "references": [{"name": "shop.Sku", "subject": "sku", "version": 1}],
        },
        "/subjects/sku/versions/1": {
            "schema": json.dumps({"type": "enum", "name": "shop.Sku", "symbols": ["A", "B"]}),
        },
    }  # fmt: skip

    def _ask(self, method: str, path: str, body: dict[str, str] | None = None) -> Any:
        del method, body
        return self.ANSWERS.get(path)


def test_a_schema_may_refer_to_others():
    """Whole and projected; one that refers to what is gone waits, and is no dead letter."""
    registry = Referring("http://127.0.0.1:1")
    schemas = WriterSchemas(registry)
    value = prefix(7) + b"\x02x" + b"\x02"
    found = opened(schemas, "avro", incoming(value), "line.sku")
    assert found.record == {"line": {"sku": "B"}}
    assert found.arrival.roots["kafka"]["type"] == "shop.Order"
    assert opened(schemas, "avro", incoming(value), "id line").record["id"] == "x"
    schemas.close()
    gone = dict(Referring.ANSWERS)
    del gone["/subjects/sku/versions/1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Referring, "ANSWERS", gone)
        with pytest.raises(RegistryUnavailable, match="is gone"):
            registry.schema_texts(7)


def test_json_with_and_without_the_frame_of_its_serializer(schemas):
    for value in (b'{"a": 1}', prefix(5) + b'{"a": 1}'):
        assert opened(schemas, "json", incoming(value)).record == {"a": 1}
    for broken in (b"{", b"[1]", b'"x"', b"\xff"):
        with pytest.raises(InputError) as refused:
            opened(schemas, "json", incoming(broken))
        assert refused.value.cause == "bad_record"


def test_a_record_without_id_is_named_by_its_place(schemas):
    """Read again it is the same; a topic that was made anew is another."""
    first = opened(schemas, "json", incoming({"a": 1})).arrival.stable
    assert opened(schemas, "json", incoming({"a": 1})).arrival.stable == first
    others = [{"offset": 8}, {"partition": 4}, {"topic": "u"}, {"at": AT + 1}]
    named = {opened(schemas, "json", incoming({"a": 1}, **one)).arrival.stable for one in others}
    assert len(named | {first}) == 5


def test_keys_of_all_kinds(schemas, registry):
    """Fields of Avro and JSON keys, Connect's with schema too; a plain one is `value`."""
    text = avro(registry, "string", "ada")
    fields = avro(
        registry,
        {"type": "record", "name": "Key", "fields": [{"name": "id", "type": "long"}]},
        {"id": 7},
    )
    for key, expected in (
        (None, {}),
        (b"ada", {"value": "ada"}),
        (b'{"id": 7}', {"id": 7}),
        (b'{"schema": {}, "payload": {"id": 7}}', {"id": 7}),
        (text, {"value": "ada"}),
        (fields, {"id": 7}),
    ):
        found = opened(schemas, "json", incoming({"a": 1}, key))
        assert found.arrival.roots[KEY] == expected, key
    with pytest.raises(InputError):
        opened(schemas, "json", incoming({"a": 1}, b"\xff\xfe"))
    assert opened(schemas, "json", incoming({}, b"\xff"), reads_key=False).record == {}


@pytest.mark.parametrize("format_", ["avro", "json", "cloudevents", "debezium"])
def test_a_tombstone_says_nothing(schemas, format_):
    assert opener(schemas, format_).open(incoming(None)) is None


# ---------------------------------------------------------------------------- CloudEvents

ATTRIBUTES = {
    "specversion": "1.0",
    "id": "e1",
    "source": "/shop",
    "type": "com.example.order",
    "time": "2026-03-01T08:00:00Z",
}


def binary(**more: str) -> dict[str, str]:
    return {f"ce_{name}": value for name, value in (ATTRIBUTES | more).items()}


def test_both_modes_of_a_cloudevent_read_alike(schemas, registry):
    """Same record, same attributes, same time, same id: a producer may change its mode."""
    data = {"order": {"total": 5}}
    encoded = base64.b64encode(json.dumps(data).encode()).decode()
    structured = {"content-type": "application/cloudevents+json; charset=utf-8"}
    forms = [
        incoming(ATTRIBUTES | {"data": data}, headers=structured),
        incoming(ATTRIBUTES | {"data_base64": encoded}, headers=structured),
        incoming(data, headers=binary()),
        incoming(data, headers=binary() | {"content-type": "application/json"}),
        incoming(data, headers=binary() | {"content-type": "application/vnd.shop+json"}),
    ]
    for offset, form in enumerate(forms):
        found = opened(schemas, "cloudevents", form._replace(offset=offset, at=5))
        assert found.record == data
        assert found.arrival.header["ce_type"] == "com.example.order"
        assert found.arrival.at == AT
        assert found.arrival.stable == ("cloudevent", "/shop", "e1")
    avro_data = avro(registry, INVOICE, PAID)
    found = opened(
        schemas, "cloudevents", incoming(avro_data, headers=binary() | {"content-type": "application/avro"}), "id"
    )  # fmt: skip
    assert found.record == {"id": "in_1"}


def test_data_that_is_no_json_object(schemas):
    """None at all is an empty record; text is `data`; without ce_time Kafka's time counts."""
    headers = binary()
    assert opened(schemas, "cloudevents", incoming(None, headers=headers)).record == {}
    text = incoming(b"hi", headers=headers | {"content-type": "text/plain"})
    assert opened(schemas, "cloudevents", text).record == {"data": "hi"}
    del headers["ce_time"]
    assert opened(schemas, "cloudevents", incoming({}, at=9, headers=headers)).arrival.at == 9


@pytest.mark.parametrize(
    ("value", "headers", "said"),
    [
        ({"a": 1}, {}, "no CloudEvent"),
        ({"a": 1}, binary(id=""), "without ce_id"),
        ({"a": 1}, binary(time="yesterday"), "no instant"),
        ([1], binary(), "data is an object"),
        ({"data": {}}, {"content-type": "application/cloudevents+json"}, "without ce_id"),
        (b"x", {"content-type": "application/cloudevents+avro"}, "read as JSON"),
        (ATTRIBUTES | {"data_base64": "%"}, {"content-type": "application/cloudevents+json"}, "no base64"),
        ([1], {"content-type": "application/cloudevents+json"}, "a CloudEvent is an object"),
    ],
)  # fmt: skip
def test_what_is_no_cloudevent_says_why(schemas, value, headers, said):
    with pytest.raises(InputError, match=said):
        opened(schemas, "cloudevents", incoming(value, headers=headers))


# ------------------------------------------------------------------------------- Debezium

SOURCE = {"version": "3.1", "connector": "postgresql", "name": "shop", "ts_ms": AT, "snapshot": "false",
          "db": "shop", "schema": "public", "table": "users", "txId": 5, "lsn": 77, "sequence": '["1","77"]'}  # fmt: skip


def change(op: str, before: Any, after: Any, **source: Any) -> dict[str, Any]:
    return {"op": op, "before": before, "after": after, "ts_ms": AT + 9, "source": SOURCE | source}


def test_a_change_is_the_row_as_it_is(schemas):
    """With the row as it was, where it came from, and the time of the database."""
    one = change("u", {"id": 7, "plan": "free"}, {"id": 7, "plan": "pro"})
    for envelope in (one, {"schema": {"type": "struct"}, "payload": one}):
        found = opened(schemas, "debezium", incoming(envelope, b'{"id": 7}', at=1))
        assert found.record == {"id": 7, "plan": "pro"}
        assert found.arrival.roots["before"] == {"id": 7, "plan": "free"}
        assert found.arrival.roots["change"]["op"] == "u"
        assert found.arrival.roots["change"]["table"] == "users"
        assert (found.arrival.at, found.arrival.deleted, found.history) == (AT, False, False)


def test_a_change_told_twice_is_the_same(schemas):
    """Connectors repeat after a crash, at other offsets and perhaps in a newer version."""

    def stable(offset: int, key: bytes = b'{"id": 7}', **source: Any) -> tuple[str, ...]:
        one = change("u", None, {"id": 7}, **source)
        return opened(schemas, "debezium", incoming(one, key, offset=offset)).arrival.stable

    assert stable(1) == stable(2, version="3.2", sequence='["5","77"]')
    assert len({stable(1), stable(1, lsn=78), stable(1, key=b'{"id": 8}')}) == 3


def test_a_deleted_row_is_the_row_as_it_was(schemas):
    """Without its columns (a weak replica identity) it is its key."""
    found = opened(schemas, "debezium", incoming(change("d", {"id": 7, "plan": "pro"}, None)))
    assert (found.record, found.arrival.deleted) == ({"id": 7, "plan": "pro"}, True)
    found = opened(schemas, "debezium", incoming(change("d", None, None), b'{"id": 7}'))
    assert (found.record, found.arrival.roots["before"]) == ({"id": 7}, {})


def test_rows_of_a_snapshot_are_history(schemas):
    """They existed before: their events set traits and start nothing."""
    for envelope in (change("r", None, {"id": 1}), change("c", None, {"id": 1}, snapshot="true")):
        assert opened(schemas, "debezium", incoming(envelope)).history


def test_mongodb_tells_documents_as_texts(schemas):
    found = opened(schemas, "debezium", incoming(change("c", None, '{"_id": 1, "plan": "pro"}')))
    assert found.record == {"_id": 1, "plan": "pro"}


def test_changes_without_a_row_say_nothing(schemas):
    for op in "tm":
        assert opener(schemas, "debezium").open(incoming(change(op, None, None))) is None


@pytest.mark.parametrize(
    "value",
    [{"id": 7}, [1], {"op": "c", "source": 5, "after": {}}, {"op": [], "source": {}, "after": {}}],
)
def test_what_is_no_change_says_why(schemas, value):
    with pytest.raises(InputError) as refused:
        opened(schemas, "debezium", incoming(value))
    assert refused.value.cause == "bad_record"


def test_a_change_in_avro(schemas, registry):
    row = {"type": "record", "name": "shop.Value", "fields": [{"name": "id", "type": "long"}]}
    envelope = {
        "type": "record",
        "name": "shop.Envelope",
        "fields": [
            {"name": "before", "type": ["null", row]},
            {"name": "after", "type": ["null", "shop.Value"]},
            {"name": "source", "type": {"type": "record", "name": "Source", "fields": [
                {"name": "ts_ms", "type": "long"}, {"name": "lsn", "type": "long"}]}},
            {"name": "op", "type": "string"},
        ],
    }  # fmt: skip
    one = {"before": None, "after": {"id": 7}, "source": {"ts_ms": AT, "lsn": 1}, "op": "c"}
    value = avro(registry, envelope, one)
    key = avro(
        registry,
        {"type": "record", "name": "Key", "fields": [{"name": "id", "type": "long"}]},
        {"id": 7},
    )
    found = opened(schemas, "debezium", incoming(value, key), reads_key=False)
    assert (found.record, found.arrival.at) == ({"id": 7}, AT)
    assert found.arrival.roots[KEY] == {"id": 7}


# -------------------------------------------------------------------------- with a mapping

ROWS = {
    "source": "crm",
    "topic": ["users"],
    "format": "debezium",
    "events": [
        {
            "type": "customer.updated",
            "identities": {"id": "record.id"},
            "properties": {"plan": "record.plan"},
        },
        {
            "type": "account.deleted",
            "if": 'change.op == "d"',
            "identities": {"id": "key.id"},
        },
        {
            "type": "plan.changed",
            "if": 'change.op == "u" && before.plan != record.plan',
            "identities": {"id": "record.id"},
            "properties": {"table": "change.table"},
        },
    ],
}


def events(schemas: WriterSchemas, value: Any) -> list[Event]:
    mapper = Mapper(json.dumps(ROWS))
    found = opened(schemas, "debezium", incoming(value, b'{"id": 7}'))
    return mapper.events([found.record], found.arrival)


def test_a_deletion_is_seen_only_by_those_who_ask_for_it(schemas):
    """The last state of a deleted row is nothing that happened."""
    updated = events(schemas, change("u", {"id": 7, "plan": "free"}, {"id": 7, "plan": "pro"}))
    assert [one.type for one in updated] == ["customer.updated", "plan.changed"]
    assert updated[1].properties == {"table": "users"}
    assert len({one.event_id for one in updated}) == 2
    [deleted] = events(schemas, change("d", {"id": 7, "plan": "pro"}, None))
    assert (deleted.type, deleted.identities) == ("account.deleted", {"id": "7"})
