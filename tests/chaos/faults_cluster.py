"""Faults of what workers stand on: the broker and the schema registry."""

from __future__ import annotations

import json
import re
import signal
import time
from urllib.request import Request, urlopen

from deployment import Deployment, Violation
from faults_workers import a_worker
from injected import Injected
from toys import event

PATIENCE_S = 600.0
"""For a broker to start on a busy machine."""
OUTAGES_S = (60.0, 60.0, 60.0, 60.0, 150.0)
SAID = re.compile("waiting for the broker|Connection refused|partition died|Disconnected")
"""What a worker says while no broker answers."""
REGISTRY_AWAY_S = 4.0


def broker_restart(deployment: Deployment) -> Injected:
    """An orderly restart of the only broker."""
    deployment.broker.stop()
    deployment.broker.start(PATIENCE_S)
    return Injected()


def broker_kill(deployment: Deployment) -> Injected:
    """The only broker is killed and started again."""
    deployment.broker.kill()
    deployment.broker.start(PATIENCE_S)
    return Injected()


def broker_outage(deployment: Deployment) -> Injected:
    """The only broker is away for a minute and more: the workers wait or come again, and say so."""
    seconds = deployment.random.choice(OUTAGES_S)
    seen = {slot: len(deployment.log(slot)) for slot in deployment.workers}
    deployment.broker.stop()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        deployment.supervise()
        time.sleep(1)
    silent = [slot for slot, at in seen.items() if not SAID.search(deployment.log(slot)[at:])]
    deployment.broker.start(PATIENCE_S)
    if silent:
        raise Violation(f"workers {silent} say nothing while the broker is away")
    return Injected(f"{seconds:g} s")


def registry_down(deployment: Deployment) -> Injected:
    """The registry is away: records of a new schema wait, so does a worker that starts; none is lost."""
    slot, refuses = a_worker(deployment), deployment.random.random() < 0.5
    values = _of_a_new_schema(deployment)
    if refuses:
        deployment.registry.stop()
    else:
        deployment.registry.down = True  # it answers, by 503
    try:
        deployment.end(slot, signal.SIGKILL)
        deployment.launch(slot)
        topic = deployment.topology.name("events")
        for key, value in values:
            deployment.producer.produce(topic, value, key)
        deployment.producer.flush(60)
        time.sleep(REGISTRY_AWAY_S)
        if deployment.healthy():
            raise Violation("the registry is away, a new schema is waited for, and health is green")
    finally:
        deployment.harmed = time.monotonic()
        deployment.registry.down = False
        deployment.registry.start()
    return Injected(f"{'refuses' if refuses else '503'}, worker {slot} restarted")


def _of_a_new_schema(deployment: Deployment) -> list[tuple[bytes, bytes]]:
    """Return events, one for each partition, whose schema no worker has met."""
    topic = deployment.topology.name("events")
    plain = [
        deployment.codec.encode(event("toy.seen", deployment.number(), customer=key), topic)
        for key in deployment.canary_keys
    ]
    url = deployment.registry.url
    number = int.from_bytes(plain[0][1:5], "big")
    with urlopen(f"{url}/schemas/ids/{number}") as answer:  # noqa: S310 - our own registry
        schema = json.loads(json.load(answer)["schema"])
    schema["doc"] = f"as of {deployment.number()}"
    request = Request(  # noqa: S310
        f"{url}/subjects/{deployment.topology.name('events')}-other/versions",
        json.dumps({"schema": json.dumps(schema)}).encode(),
        {"Content-Type": "application/vnd.schemaregistry.v1+json"},
    )
    with urlopen(request) as answer:  # noqa: S310
        new = json.load(answer)["id"]
    return [
        (key.encode(), value[:1] + new.to_bytes(4, "big") + value[5:])
        for key, value in zip(deployment.canary_keys, plain, strict=True)
    ]
