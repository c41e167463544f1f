"""Put a workspace in force: write its definitions, then switch every partition to them at once."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.output import output_option

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from orchestrator.cli.session import Session
    from orchestrator.journeys import Workspace
    from orchestrator.records import CatalogSwitch, Definition, JourneyStatus
    from orchestrator.settings import Settings


class Instant(click.ParamType):
    """ISO 8601 with offset, or epoch milliseconds; a positive number of milliseconds."""

    name = "instant"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return epoch milliseconds."""
        if isinstance(value, int):
            return value
        if str(value).isdecimal():
            at = int(value)
        else:
            try:
                moment = datetime.fromisoformat(value)
            except ValueError:
                self.fail(f"{value}: write 2026-03-01T08:00:00Z or epoch milliseconds", param, ctx)
            if moment.tzinfo is None:
                self.fail(f"{value}: needs an offset, for example {value}Z", param, ctx)
            at = round((moment - datetime.fromtimestamp(0, UTC)).total_seconds() * 1000)
        if at < 1:
            self.fail(f"{value}: must be later than 1970-01-01T00:00:00Z", param, ctx)
        return at


@click.command(epilog="Example: orchestrator journeys apply deploy/example")
@click.argument("folders", nargs=-1, metavar="[DIR [OVERLAY...]]", type=click.Path(path_type=Path))
@click.option(
    "--at",
    type=Instant(),
    help="Log time of the switch, with clock.mode log only. Default: before everything; behind "
    "what the log already holds, since its time never runs back.",
)
@output_option
@click.pass_obj
def command(session: Session, folders: tuple[Path, ...], at: int | None) -> None:
    """Put the workspace in DIR (default: the current folder) in force, or refuse it whole.

    Journeys keep their status; one that is new goes live. An OVERLAY's file replaces the file of
    the same name.
    """
    from orchestrator.journeys import load_workspace

    workspace = load_workspace(*(folders or (Path(),)))
    for diagnostic in workspace.diagnostics:
        session.output.remarks.print(str(diagnostic), markup=False)
    result = apply(session.settings, workspace, at)

    def as_text(console: Console) -> None:
        if not result["changed"]:
            console.print(f"Nothing changed: catalog {result['catalog'][:12]} is in force.")
            return
        for word in ("added", "replaced", "removed"):
            for name in result[word]:
                console.print(f"{word:>8}  {name}", markup=False)
        paused = [
            f"{name} {status}" for name, status in result["status"].items() if status != "live"
        ]
        if paused:
            console.print(f"  status  {', '.join(paused)}", markup=False)
        console.print(f"Catalog {result['catalog'][:12]} is in force.")

    session.output.result(result, as_text)


def apply(settings: Settings, workspace: Workspace, at: int | None = None) -> dict[str, Any]:
    """Put ``workspace`` in force and return what changed.

    Raises:
        UsageError: The settings do not fit the workspace.
        TopologyError: Topics are missing.
        UnavailableError: Kafka or the registry is away.
        CouldNotRun: The outcome is unknown.
    """
    from orchestrator.codec import open_codec
    from orchestrator.errors import UsageError
    from orchestrator.journeys import catalog_hash
    from orchestrator.kafka.publishing import BEGINNING_MS, WRITES, CatalogPublisher
    from orchestrator.kafka.topics import Topology
    from orchestrator.records import CatalogSwitch

    log_clock = settings.clock.mode == "log"
    if at is not None and not log_clock:
        raise UsageError("--at: the broker's clock says when; it goes with clock.mode log only")
    check_channels(settings, workspace)
    topology = Topology(settings)
    topology.verify(*WRITES, "actions")
    codec = open_codec(settings)
    codec.prepare(topology.names(*WRITES))
    publisher = CatalogPublisher(settings, codec)
    known = publisher.open()
    hashes = {f"{one.kind}/{one.name}": one.hash for one in workspace.definitions}
    status = _status(workspace, known.catalog)
    identity = catalog_hash(hashes, status)
    before = known.catalog.definitions if known.catalog else {}
    changed = known.catalog is None or known.catalog.catalog != identity
    if changed:
        switch = CatalogSwitch(catalog=identity, definitions=hashes, status=dict(status))
        publisher.publish(
            _unknown(workspace, known.by_hash),
            switch,
            (BEGINNING_MS if at is None else at) if log_clock else None,
        )
    return {
        "changed": changed,
        "catalog": identity,
        "added": sorted(hashes.keys() - before.keys()),
        "replaced": sorted(
            name for name in hashes.keys() & before.keys() if hashes[name] != before[name]
        ),
        "removed": sorted(before.keys() - hashes.keys()),
        "status": dict(status),
    }


def _unknown(workspace: Workspace, known: Mapping[str, Definition]) -> list[Definition]:
    return [one for one in workspace.definitions if one.hash not in known]


def _status(workspace: Workspace, current: CatalogSwitch | None) -> dict[str, JourneyStatus]:
    """Journeys keep their status; one that the current catalog does not have is live."""
    kept: Mapping[str, Any] = current.status if current else {}
    return {
        one.name: kept.get(one.name, "live")
        for one in workspace.definitions
        if one.kind == "journey"
    }


def check_channels(settings: Settings, workspace: Workspace) -> None:
    """Refuse a policy whose channels have no topics.

    Raises:
        SettingsError: Names them, and what to do.
    """
    from orchestrator.errors import SettingsError

    missing = sorted(workspace.catalog.policy.channels.keys() - set(settings.channels))
    if missing:
        raise SettingsError(
            f"the policy has channels without topics: {', '.join(missing)}; add them to "
            "topics.channels and run `orchestrator topics apply`"
        )
