"""Faults of the whole product: workers and sinks, catalogs, changelogs that are cut or gone."""

from __future__ import annotations

import shutil
import signal
import time
from pathlib import Path

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource
from deployment import Violation
from faults_disks import HARMS, harm
from injected import Injected
from product import NEXT, PARTITIONS, WORKSPACE, Product

from orchestrator.errors import CouldNotRun
from orchestrator.kafka.clients import admin_config

SINKS = ("deliver-email", "deliver-push")
FREEZE_S = 14.0
LEFT = 5
"""Records that a cut leaves."""
TABLES = {"identify": "identities", "decide": "customers"}
REFUSED_S = 120.0


def kill_product_worker(product: Product) -> Injected:
    """SIGKILL to a worker of the real stages."""
    name = product.random.choice(product.workers)
    time.sleep(product.random.random())
    product.kill(name)
    return Injected(name)


def kill_sink(product: Product) -> Injected:
    """SIGKILL to a sink while it sends."""
    name = product.random.choice(SINKS)
    time.sleep(2 * product.random.random())
    product.kill(name)
    return Injected(name)


def kill_everything(product: Product) -> Injected:
    """SIGKILL to all workers and sinks in one moment."""
    names = list(product.stack.roles)
    product.kill(*names)
    return Injected(", ".join(names))


def freeze_sink(product: Product) -> Injected:
    """SIGSTOP to a sink beyond its session, then SIGCONT: two would send now."""
    name = product.random.choice(SINKS)
    process = product.stack.roles[name].process
    process.send_signal(signal.SIGSTOP)
    time.sleep(FREEZE_S)
    process.send_signal(signal.SIGCONT)
    return Injected(name)


def product_empty_disk(product: Product) -> Injected:
    """SIGKILL to a worker, and its disk is gone."""
    name = product.random.choice(product.workers)
    product.kill(name)
    shutil.rmtree(product.stack.home / "state" / f"slot-{name[-1]}", ignore_errors=True)
    return Injected(name)


def product_damaged_disk(product: Product) -> Injected:
    """SIGKILL to a worker, and each of its copies is harmed."""
    name = product.random.choice(product.workers)
    product.kill(name)
    return _harmed(product, name, product.stack.home / "state" / f"slot-{name[-1]}")


def damaged_ledger(product: Product) -> Injected:
    """SIGKILL to a sink while it sends, and each local copy of its ledger is harmed."""
    name = product.random.choice(SINKS)
    time.sleep(2 * product.random.random())
    product.kill(name)
    channel = name.removeprefix("deliver-")
    return _harmed(product, name, product.stack.home / "state" / "deliver" / channel)


def _harmed(product: Product, name: str, folder: Path) -> Injected:
    how = product.random.choice(sorted(HARMS))
    harmed = harm(folder.glob("*-*"), product.random, HARMS[how])
    return Injected(f"{name}: {how} {', '.join(harmed)}", reached=bool(harmed))


def catalog_and_rollback(product: Product) -> Injected:
    """A new catalog under load, a kill in its sweep, and the old catalog again."""
    product.stack.run("journeys", "apply", str(WORKSPACE), str(NEXT))
    name = product.random.choice(product.workers)
    time.sleep(product.random.random())
    product.kill(name)
    product.revive()
    time.sleep(2 * product.random.random())
    product.stack.run("journeys", "apply", str(WORKSPACE))
    return Injected(f"{name} killed between")


def changelog_cut(product: Product) -> Injected:
    """All but the end of a changelog partition is deleted, and the local copies are gone.

    What is left must not be whole by chance: then it would rightly be taken.
    """
    stage, topic = _a_changelog(product)
    number = product.random.randrange(PARTITIONS)
    if product._end(topic, number) < LEFT * 4:
        return Injected("nothing there", reached=False)
    _stop_workers(product)
    end = product._end(topic, number)
    _policy(product, topic, "delete")  # compacted topics are not cut, unless somebody changes that
    _admin(product, "delete_records", [TopicPartition(topic, number, end - LEFT)])
    _policy(product, topic, "compact")
    return _refused_then_rebuilt(product, stage, number, f"{topic} {number} cut", [])


def changelog_emptied(product: Product) -> Injected:
    """A changelog topic is deleted and created again; no local copy is left."""
    stage, topic = _a_changelog(product)
    _stop_workers(product)
    _recreate(product, topic)
    return _refused_then_rebuilt(product, stage, None, f"{topic} emptied, no local copy", [])


def changelog_recreated(product: Product) -> Injected:
    """A changelog topic is deleted and created again between two runs of workers that hold copies.

    They were stopped in order: else the group's offsets, all that is left to tell where they were, are
    some seconds old, and what left since would leave once more.
    """
    stage, topic = _a_changelog(product)
    _stop_workers(product)
    _recreate(product, topic)
    return _refused_then_rebuilt(product, stage, None, f"{topic} recreated", product.workers)


def _a_changelog(product: Product) -> tuple[str, str]:
    stage = product.random.choice(sorted(TABLES))
    return stage, product.topology.changelog(TABLES[stage])


def _stop_workers(product: Product) -> None:
    for name in product.workers:
        process = product.stack.roles[name].process
        process.terminate()
        process.wait(60)


def _recreate(product: Product, topic: str) -> None:
    _admin(product, "delete_topics", [topic])
    deadline = time.monotonic() + 60
    while True:
        try:
            product.stack.run("topics", "apply")
        except Exception as error:
            if time.monotonic() > deadline:
                raise Violation(f"{topic} cannot be created again") from error
            time.sleep(0.5)
        else:
            return


def _refused_then_rebuilt(
    product: Product, stage: str, number: int | None, what: str, keeps_copies: list[str]
) -> Injected:
    """A worker must refuse and name the remedy; the remedy must mend it."""
    if not keeps_copies:
        for name in product.workers:
            folder = product.stack.home / "state" / f"slot-{name[-1]}"
            shutil.rmtree(folder, ignore_errors=True)
    seen = {name: product.stack.roles[name].log.stat().st_size for name in product.workers}
    product.revive()
    deadline, codes = time.monotonic() + REFUSED_S, {}
    while not codes:
        codes = {
            name: code
            for name in product.workers
            if (code := product.stack.roles[name].process.poll()) is not None
        }
        if time.monotonic() > deadline:
            raise Violation(f"{what}: no worker refuses it\n{product.stack.last_words()}")
        time.sleep(0.2)
    told = "".join(
        product.stack.roles[name].log.read_bytes()[seen[name] :].decode() for name in codes
    )
    wanted = ("ChangelogTorn", "_Recreated")
    if 0 in codes.values() or "state reset" not in told or not any(w in told for w in wanted):
        raise Violation(f"{what}: ended with {codes} and said\n{told[-3000:]}")
    _stop_workers(product)
    product.harmed = time.monotonic()
    where = ["--all"] if number is None else ["--partition", str(number)]
    deadline = time.monotonic() + REFUSED_S
    while True:
        try:
            product.stack.run("state", "reset", "--stage", stage, *where, "--yes")
            break
        except CouldNotRun as refused:  # the group still counts those that ended as alive
            if "owns it" not in str(refused) or time.monotonic() > deadline:
                raise
        time.sleep(1)
    return Injected(f"{what}; ended with {codes}, rebuilt")


def _policy(product: Product, topic: str, policy: str) -> None:
    entry = ConfigEntry("cleanup.policy", policy, incremental_operation=AlterConfigOpType.SET)
    wanted = ConfigResource("topic", topic, incremental_configs=[entry])
    _admin(product, "incremental_alter_configs", [wanted])


def _admin(product: Product, verb: str, given: list) -> None:
    admin = AdminClient(admin_config(product.stack.settings))
    for future in getattr(admin, verb)(given).values():
        future.result(60)


FAULTS = {
    fault.__name__: fault
    for fault in (
        kill_product_worker,
        kill_sink,
        kill_everything,
        freeze_sink,
        product_empty_disk,
        product_damaged_disk,
        damaged_ledger,
        catalog_and_rollback,
        changelog_cut,
        changelog_emptied,
        changelog_recreated,
    )
}
KILLS = frozenset(
    {
        "kill_product_worker",
        "kill_sink",
        "kill_everything",
        "product_empty_disk",
        "product_damaged_disk",
        "damaged_ledger",
    }
)
"""Each of them is a kill -9."""
