"""Run the stream app: identities, journeys, decisions. One process per core; more join the group."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final, cast

import click

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.cli.session import Session
    from orchestrator.codec import Codec
    from orchestrator.engine.ports import ResolveCatalog
    from orchestrator.kafka.definitions import DefinitionStore
    from orchestrator.kafka.topics import Topology
    from orchestrator.records import JourneyStatus
    from orchestrator.settings import Settings

RETRY_S: Final = 1.0
DEFINITIONS_S: Final = 10.0
"""So long an opening waits for definitions before it says that some are missing."""
NEEDED: Final = ("events", "timeline", "actions", "decisions", "dead-letters", "definitions")
WRITTEN: Final = frozenset({"events", "timeline", "actions", "decisions", "outcomes"})
RESTART_S: Final = 1.0


@click.command(epilog="Example: orchestrator worker --processes 2")
@click.option("--processes", metavar="N", type=click.IntRange(min=1), help="Start N workers.")
@click.pass_obj
def command(session: Session, processes: int | None) -> None:
    """Run a worker, or N of them.

    Each process takes a slot of its own, counted from `worker.slot`: a directory below
    `worker.data_dir`, a web port counted from `worker.web_port`, and a place in the consumer group
    that it keeps over a restart.
    """
    if processes is None:
        run(session.settings)
    else:
        supervise(session, processes)


def run(settings: Settings) -> None:
    """Run one worker until SIGTERM; the process ends here."""
    from orchestrator.codec.opening import open_codec
    from orchestrator.engine.assembly import build_app
    from orchestrator.engine.host import die, serve
    from orchestrator.kafka.definitions import DefinitionStore
    from orchestrator.kafka.topics import Topology
    from orchestrator.stages.decide import Decide
    from orchestrator.stages.identify import Identify

    _wait_for_broker(settings)
    topology = Topology(settings)
    topology.verify(*NEEDED, "changelog")
    codec = open_codec(settings)
    _prepare(codec, topology)
    with DefinitionStore(settings, codec) as definitions:
        stages = (
            Identify(settings.app.id),
            Decide(assume_accepted=settings.worker.assume_accepted),
        )
        resolve = catalog_resolver(definitions)
        serve(lambda: build_app(settings, stages, codec, resolve, on_fatal=die))


def catalog_resolver(definitions: DefinitionStore) -> ResolveCatalog:
    """Return the function by which a worker compiles the catalog that a switch names."""
    from orchestrator.errors import UnavailableError, WorkspaceError
    from orchestrator.journeys import compile_catalog
    from orchestrator.records import CatalogSwitch
    from orchestrator.stages.catalog import Catalog

    def resolve(switch: CatalogSwitch) -> Catalog:
        status = cast("Mapping[str, JourneyStatus]", switch.status)
        definitions.wait_for(switch.definitions.values(), DEFINITIONS_S)
        live = {
            name: found
            for name, hash_ in switch.definitions.items()
            if (found := definitions.get(hash_)) is not None
        }
        try:
            return compile_catalog(live, status, definitions.get)
        except WorkspaceError as error:
            # `apply` checked it, with a newer program perhaps: the partition waits for an upgrade.
            raise UnavailableError(f"catalog {switch.catalog} does not compile: {error}") from error

    return resolve


def _wait_for_broker(settings: Settings) -> None:
    """Wait here: inside the stream app an absent broker would end the process."""
    from confluent_kafka.admin import AdminClient

    from orchestrator.errors import BrokerUnavailable
    from orchestrator.kafka.access import Doorkeeper
    from orchestrator.kafka.clients import admin_config
    from orchestrator.observability import get_logger

    door = Doorkeeper(settings)
    client = AdminClient(admin_config(settings, error_cb=door.hear))
    while True:
        try:
            door.metadata(client, "the worker cannot start", timeout=5)
        except BrokerUnavailable as away:
            get_logger(__name__).warning("waiting for the broker", why=str(away))
            time.sleep(RETRY_S)
        else:
            return


def _prepare(codec: Codec, topology: Topology) -> None:
    from orchestrator.errors import RegistryUnavailable
    from orchestrator.observability import get_logger

    topics = {spec.name: spec.logical for spec in topology.specs() if spec.logical in WRITTEN}
    while True:
        try:
            codec.prepare(topics)
        except RegistryUnavailable as error:
            get_logger(__name__).warning("waiting for the schema registry", why=str(error))
            time.sleep(RETRY_S)
        else:
            return


def supervise(session: Session, processes: int) -> None:
    """Keep N workers running; a worker that ends with a code other than 0 is started again."""
    settings = session.settings
    stopping = False
    running: dict[int, subprocess.Popen[bytes]] = {}

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True
        for process in running.values():
            process.terminate()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    running.update({i: _start(session, settings, i) for i in range(processes)})
    while running:
        time.sleep(RESTART_S)
        for i, process in list(running.items()):
            code = process.poll()
            if code is None:
                continue
            if stopping or code == 0:
                del running[i]
            else:
                running[i] = _start(session, settings, i)


def _start(session: Session, settings: Settings, number: int) -> subprocess.Popen[bytes]:
    worker = settings.worker
    flags = {
        **session.flags,
        "worker.slot": worker.slot + number,
        "worker.web_port": worker.web_port + number if worker.web_port else 0,
    }
    command_line = [sys.executable, "-m", "orchestrator"]
    if session.settings_file is not None:
        command_line += ["--settings", session.settings_file]
    for name, value in flags.items():
        command_line += ["--set", f"{name}={value}"]
    # A session of its own: Ctrl-C reaches it once, from here.
    command_line.append("worker")
    return subprocess.Popen(command_line, start_new_session=True)  # noqa: S603 - our own words
