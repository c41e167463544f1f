"""One seed: a workload, its faults, a quiet end, and everything that must then be true."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

from simulation.cluster import Cluster, simulated
from simulation.loops import leave_loops
from simulation.work import Work
from simulation.workers import CHANGELOG, SOURCE, Violation

from orchestrator.engine import meta as metas
from orchestrator.engine.config import EngineConfig

TURNS = 15_000
"""Beyond this a run has no end in sight."""


def config_of(rnd) -> EngineConfig:
    return EngineConfig(
        linger=rnd.choice([0.0, 0.05]),
        state_linger=rnd.choice([0.0, 0.3]),
        idle_linger=rnd.choice([0.5, 2.0]),
        max_inputs=rnd.choice([1, 5, 50, 1_000]),
        turn_inputs=rnd.choice([1, 7, 100]),
        suspend_deadline=0.5,
        keep_deadline=0.5,
        claim_pause=0.1,
        cached_bytes=rnd.choice([1, 60_000]),
        decoded=rnd.choice([0, 2, 64]),
        cached_timers=rnd.choice([1, 3, 100]),
        timers_ahead_ms=rnd.choice([0, 50, 60_000]),
        max_queue=rnd.choice([20, 1_000]),
        tick_lost=1.0,
        tick_stuck=3.0,
        retry=0.0,
        period=0.25,
    )


def run(seed: int, work: Work, prepare: Callable[[Cluster], None] = lambda _: None) -> Cluster:
    """Run one seed to its quiet end; ``prepare`` may change what was drawn."""
    rnd = random.Random(seed)
    cluster = Cluster(rnd, work, rnd.choice([1, 2]), config_of(rnd))
    cluster.records = rnd.choice([15, 30, 30, 40, 40, 120])
    cluster.to_come = cluster.records // 10 + rnd.choice([0, 2, 4])
    cluster.broker.trouble = rnd.choice([0.0, 0.02, 0.1])
    prepare(cluster)
    with simulated(cluster):
        try:
            _run(cluster, rnd)
            check(cluster)
        finally:
            for worker in cluster.workers:
                if worker.alive:
                    worker.die()
            leave_loops()
    return cluster


def _run(cluster: Cluster, rnd) -> None:
    cluster.rebalance()
    left, to_come = cluster.records, cluster.to_come
    source = cluster.work.source(cluster)
    for _ in range(TURNS):
        cluster.turn()
        if left and rnd.random() < 0.3:
            left -= 1
            source.append()
        if to_come and rnd.random() < (0.03 if left else 0.2):
            to_come -= 1
            _fault(cluster, rnd)
        if not left and not to_come:
            break
    source.end()
    cluster.broker.trouble = 0.0
    if not cluster.exact:
        for worker in cluster.workers:
            worker.dies_after = 0
    quiet = cluster.mono() + 3.0
    stalls = None
    for _ in range(TURNS):
        cluster.turn()
        if cluster.mono() > quiet:
            cluster.ticks_off = True
            stalls = cluster.stalls if stalls is None else stalls
            if cluster.stalls != stalls:
                raise Violation("a stall without a fault")
            if cluster.settled:
                return
    raise Violation("no end in sight")


def _fault(cluster: Cluster, rnd) -> None:
    worker = rnd.choice(cluster.workers)
    done = cluster.faults
    match rnd.choice(
        [
            "die",
            "die",
            "die",
            "die",
            "freeze",
            "freeze",
            "stop",
            "disk",
            "old",
            "rebalance",
            "clock",
        ]
    ):
        case "die" if worker.alive:
            worker.dies_after = rnd.choice([1, 2, 3, 5, 8, 13, 21, 34, 55])
        case "freeze" if worker.alive:
            done.freezes += 1
            worker.frozen_since = cluster.mono()
            worker.frozen_until = cluster.mono() + rnd.choice([0.3, 3.0, 6.0, 12.0])
        case "stop" if worker.alive:
            done.stops += 1
            worker.stopping = True
        case "disk" if worker.alive:
            done.disks += 1
            worker.die()
            worker.disk.lose()
        case "old" if worker.alive:
            done.disks += 1
            worker.die()
            worker.disk.grow_younger(rnd)
        case "rebalance":
            done.rebalances += 1
            cluster.rebalance()
            if rnd.random() < 0.5:
                cluster.again_at = cluster.mono() + rnd.choice([0.1, 0.4, 0.8])
        case "clock":
            cluster.skew += rnd.choice([-500, 300])
        case _:
            pass


def check(cluster: Cluster) -> None:
    """States, outputs, timers and dead letters are those of the naive truth, on every partition."""
    for partition in range(cluster.partitions):
        log = cluster.broker.logs[SOURCE, partition]
        truth = cluster.work.truth(log.committed())
        states, last = cluster.changelog(partition)
        store = cluster.store_of(partition)
        _same(f"states of {partition}", truth.states, states)
        _same(f"disk of {partition}", states, dict(store.items()))
        _same(
            f"timers of {partition}",
            sorted(value[:8] + key for key, value in states.items() if any(value[:8])),
            sorted(store.timers(b"")),
        )
        if last is not None:
            digest = metas.add_to_digest(0, sum(metas.state_hash(*one) for one in states.items()))
            _same(f"digest of {partition}", digest, last.digest)
        _rising(cluster, partition)
        said: Counter = Counter()
        dead = 0
        for (topic, _), outputs in cluster.broker.logs.items():
            if topic in {SOURCE, CHANGELOG}:
                continue
            for one in outputs.committed():
                if cluster.work.partition_of(one) != partition:
                    continue
                if topic.endswith("dead-letters"):
                    dead += 1
                else:
                    said[cluster.work.said(topic, one)] += 1
        _same(f"outputs of {partition}", truth.said, said)
        _same(f"dead letters of {partition}", truth.dead, dead)
        cluster.work.count_apart(said)


def _rising(cluster: Cluster, partition: int) -> None:
    """Sequence, position and log time of checkpoints never go back."""
    former = (0, 0, 0)
    for one in cluster.broker.logs[CHANGELOG, partition].committed():
        if one.key == metas.META_KEY:
            meta = metas.decode(one.value)
            here = (meta.seq, meta.position, meta.log_time)
            if meta.seq != former[0] + 1 or any(a < b for a, b in zip(here, former, strict=True)):
                raise Violation(f"checkpoint {former} is followed by {here}")
            former = here


def _same(what: str, expected, found) -> None:
    if expected == found:
        return
    text = f"{expected} != {found}"
    if isinstance(expected, Counter):
        text = f"missing {expected - found}, unexpected {found - expected}"
    elif isinstance(expected, dict):
        keys = {k for k in expected.keys() | found.keys() if expected.get(k) != found.get(k)}
        text = f"{len(keys)} differ: " + str(
            {k: (expected.get(k), found.get(k)) for k in sorted(keys)}
        )
    raise Violation(f"{what}: {text[:2_000]}")
