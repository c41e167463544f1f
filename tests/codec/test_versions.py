"""Every schema beside its earlier versions: any reads what any other wrote, in a registry and in bytes.

``earlier/N`` holds the schemas as they were once in use. When one changes, its former text goes there.
"""

from __future__ import annotations

import json
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fastavro import parse_schema, schemaless_reader, schemaless_writer

from orchestrator.codec import wire
from orchestrator.codec.avro import RECORD_TYPES, TYPE_OF, decoder, encoder, full_name, schema_text
from orchestrator.codec.contracts import RULE, Contract, register
from orchestrator.codec.registry import RegistryClient
from orchestrator.errors import CouldNotRun
from tests.codec.samples import SAMPLES

EARLIER = sorted(Path(__file__).parent.joinpath("earlier").glob("*/*.avsc"))
CHANGED = [path for path in EARLIER if json.loads(path.read_text()) != json.loads(
    schema_text(TYPE_OF[f"journey.{path.stem}"]))]  # fmt: skip


def contract(record: str, schema: str) -> Contract:
    return Contract(subject=f"t-{record}", record=record, topics=["t"], schema=schema)


def test_there_is_something_to_compare() -> None:
    """Records that are new since have no earlier version; some of the others have changed."""
    known = {path.stem for path in EARLIER}
    assert known <= {full_name(one).removeprefix("journey.") for one in RECORD_TYPES}
    assert len(CHANGED) >= 3


def test_a_registry_under_the_rule_takes_every_version_in_turn(registry: Any, prefix: str) -> None:
    """The earlier ones, then ours, each subject under FULL_TRANSITIVE, as ``schemas register`` does."""
    client = RegistryClient(registry.url)
    for record in RECORD_TYPES:
        name = full_name(record).removeprefix("journey.")
        versions = [p.read_text() for p in EARLIER if p.stem == name] + [schema_text(record)]
        for version in versions:
            one = contract(name, version)
            one.subject = f"{prefix}-{name}"
            assert list(register(client, [one]))
        assert client.compatibility(f"{prefix}-{name}") == RULE


@pytest.mark.parametrize("path", EARLIER, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_registry_refuses_what_would_break_a_reader(
    registry: Any, prefix: str, path: Path
) -> None:
    """A field that is gone, renamed or new without a default: no subject of ours takes it."""
    client, subject = RegistryClient(registry.url), f"{prefix}-{path.stem}"
    now = json.loads(schema_text(TYPE_OF[f"journey.{path.stem}"]))
    one = contract(path.stem, json.dumps(now))
    one.subject = subject
    assert list(register(client, [one]))
    broken = {**now, "fields": [*now["fields"], {"name": "tenant", "type": "string"}]}
    one.schema = json.dumps(broken)
    with pytest.raises(CouldNotRun):
        list(register(client, [one]))
    required = [field for field in now["fields"] if "default" not in field]
    if required:
        broken = {**now, "fields": [field for field in now["fields"] if field != required[0]]}
        one.schema = json.dumps(broken)
        with pytest.raises(CouldNotRun):
            list(register(client, [one]))


@pytest.mark.parametrize("path", CHANGED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_what_an_earlier_version_wrote_is_read(path: Path) -> None:
    """Fields that it did not know have their defaults; the others are what they were."""
    earlier, record = json.loads(path.read_text()), TYPE_OF[f"journey.{path.stem}"]
    sample = next(one for one in SAMPLES if type(one) is record)
    known = [field["name"] for field in earlier["fields"]]
    datum = {name: value for name, value in msgspec.to_builtins(sample).items() if name in known}
    out = BytesIO()
    schemaless_writer(out, parse_schema(earlier), datum)
    read = decoder(path.read_text())(wire.prefix(1) + out.getvalue())
    assert type(read) is record
    assert {name: getattr(read, name) for name in known if name in datum} == {
        name: getattr(sample, name) for name in known if name in datum
    }


@pytest.mark.parametrize("path", CHANGED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_an_earlier_version_reads_what_we_write(path: Path) -> None:
    """A consumer that was built last year and never touched since."""
    earlier, record = json.loads(path.read_text()), TYPE_OF[f"journey.{path.stem}"]
    sample = next(one for one in SAMPLES if type(one) is record)
    value = encoder(record)(sample, wire.prefix(1))
    ours = parse_schema(json.loads(schema_text(record)))
    read: Any = schemaless_reader(BytesIO(value[5:]), ours, parse_schema(earlier))
    fields = msgspec.to_builtins(sample)
    for name, value in read.items():
        if isinstance(value, datetime):
            read[name] = round(value.timestamp() * 1000)
    assert read == {field["name"]: fields[field["name"]] for field in earlier["fields"]}
