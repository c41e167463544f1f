"""The schema registry, the schemas in it, and the catalog in force."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from orchestrator.cli.doctor._checks import Check, finding, note, ok
from orchestrator.codec.avro import full_name, schema_text
from orchestrator.codec.codec import SUBJECT_STRATEGIES, TOPIC_RECORDS
from orchestrator.codec.opening import open_codec, open_registry
from orchestrator.errors import CouldNotRun, RegistryUnavailable
from orchestrator.kafka.definitions import read_definitions
from orchestrator.kafka.topics import Topology

if TYPE_CHECKING:
    from orchestrator.codec.registry import RegistryClient
    from orchestrator.settings import Settings


def registry(settings: Settings) -> Iterator[Check]:
    """Look whether it answers and knows every schema that the roles write."""
    client = open_registry(settings.registry)
    try:
        client.check()
        yield ok("registry", f"{client.url} answers")
        missing = _missing(settings, client)
    except (RegistryUnavailable, CouldNotRun) as error:
        yield finding("registry", str(error), "see the section registry of the settings")
        return
    if not missing:
        yield ok("schemas", "every schema that the roles write is registered")
    elif settings.registry.auto_register:
        yield note("schemas", f"{_several(missing)}: the roles register them when they start")
    else:
        yield finding("schemas", _several(missing), "run `orchestrator schemas register`")


def _missing(settings: Settings, client: RegistryClient) -> list[str]:
    strategy = SUBJECT_STRATEGIES[settings.registry.subjects]
    wanted = {
        strategy(spec.name, full_name(record)): schema_text(record)
        for spec in Topology(settings).specs()
        for record in TOPIC_RECORDS.get(spec.logical, ())
    }
    return [subject for subject, text in wanted.items() if client.lookup(subject, text) is None]


def _several(missing: list[str]) -> str:
    shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")  # noqa: PLR2004 - enough to see what is meant
    return f"{len(missing)} not registered: {shown}"


def catalog(settings: Settings) -> Iterator[Check]:
    """Look whether a catalog is in force, with all its definitions."""
    known = read_definitions(settings, open_codec(settings))
    if known.catalog is None:
        yield note(
            "catalog",
            "none is in force: the collector answers 503, workers decide nothing",
            "run `orchestrator journeys apply DIR`",
        )
        return
    lost = sorted(set(known.catalog.definitions.values()) - known.by_hash.keys())
    if lost:
        yield finding(
            "catalog",
            f"{len(lost)} definitions of {known.catalog.catalog[:12]} are not on the topic",
            "run `orchestrator journeys apply DIR` again",
        )
    else:
        live = sum(status == "live" for status in known.catalog.status.values())
        yield ok("catalog", f"{known.catalog.catalog[:12]} is in force, {live} journeys live")
