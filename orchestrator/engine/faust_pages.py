"""Pages of a worker, on Faust's web server: probes, metrics, and one state of a customer."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import ClientError, ClientTimeout
from faust.types import TP
from prometheus_client import REGISTRY, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from yarl import URL

from orchestrator.engine.engine import Engine
from orchestrator.engine.metrics import EngineCollector
from orchestrator.engine.ports import TaskId
from orchestrator.partitioning import partition_for

NOT_FOUND = 404
ELSEWHERE = 421
UNREADY = 503
CUSTOMERS = "customers"
FORWARDED = "X-Forwarded-By-Worker"
"""One hop is enough: during a rebalance two workers might each think of the other."""
OWNER_S = 5.0
METRICS_TYPE = CONTENT_TYPE_LATEST.partition("; charset")[0]
"""aiohttp takes the character set apart."""


def add_pages(app: Any, engine: Engine) -> None:
    """Add ``/livez``, ``/readyz``, ``/metrics`` and ``/customers/{id}``."""
    REGISTRY.register(EngineCollector(engine))

    @app.page("/livez", name="livez")  # type: ignore[untyped-decorator]
    async def livez(web: Any, request: Any) -> Any:
        """Answering is the proof: the loop turns."""
        del request
        return web.text("ok\n")

    @app.page("/readyz", name="readyz")  # type: ignore[untyped-decorator]
    async def readyz(web: Any, request: Any) -> Any:
        """Every assigned task takes input."""
        del request
        waiting = not_ready(engine)
        return web.json(
            {"ready": not waiting, "waiting": waiting}, status=UNREADY if waiting else 200
        )

    @app.page("/metrics", name="prometheus")  # type: ignore[untyped-decorator]
    async def metrics(web: Any, request: Any) -> Any:
        """Prometheus text."""
        del request
        return web.bytes(generate_latest(REGISTRY), content_type=METRICS_TYPE)

    @app.page("/customers/{customer}", name="customer")  # type: ignore[untyped-decorator]
    async def customer(web: Any, request: Any, customer: str) -> Any:
        """One customer's state, as its owner sees it; asked of the owner if that is another."""
        status, body = customer_state(engine, customer)
        if status == ELSEWHERE and FORWARDED not in request.headers:
            status, body = await _ask_owner(app, engine, customer) or (status, body)
        return web.json(body, status=status)


def not_ready(engine: Engine) -> dict[str, str]:
    """Return what keeps this worker from being ready, by task or stage."""
    if engine.paused:
        return {"group": "rebalancing"}
    waiting = dict(engine.held)
    for task, slot in engine.slots.items():
        if not slot.running:
            waiting[str(task)] = slot.status.value
        elif slot.core is not None and slot.core.blocked is not None:
            waiting[str(task)] = str(slot.core.blocked)
    return waiting


def customer_state(engine: Engine, customer: str) -> tuple[int, dict[str, Any]]:
    """Return (HTTP status, body); 421 when another worker owns the customer."""
    for name, spec in engine.stages.items():
        if spec.stage.table != CUSTOMERS:
            continue
        task = TaskId(name, partition_for(customer.encode(), spec.partitions))
        core = engine.running().get(task)
        if core is None:
            return ELSEWHERE, {"error": "another worker owns this customer", "task": str(task)}
        state = core.processor.states.peek(customer)
        if state is None:
            return NOT_FOUND, {"error": "unknown customer"}
        return 200, {
            "customer_id": customer,
            "partition": task.partition,
            "log_time": core.log_time,
            "state": named(state),
        }
    return NOT_FOUND, {"error": f"no stage here has a table {CUSTOMERS}"}


async def _ask_owner(app: Any, engine: Engine, customer: str) -> tuple[int, Any] | None:
    """Return what the customer's owner answers; None: nobody is known, or it does not answer."""
    partitions = {s.stage.table: s.partitions for s in engine.stages.values()}.get(CUSTOMERS, 1)
    topic = app.tables[CUSTOMERS].changelog_topic.get_topic_name()
    partition = partition_for(customer.encode(), partitions)
    # The members' addresses came with the assignment; ``key_store`` would need Faust's producer.
    owner = app.assignor._tps_url.get(TP(topic, partition))  # noqa: SLF001
    if owner is None or owner == str(app.conf.canonical_url):
        return None
    url = URL(owner) / "customers" / customer
    try:
        async with app.http_client.get(
            url, headers={FORWARDED: "1"}, timeout=ClientTimeout(OWNER_S)
        ) as answer:
            return answer.status, await answer.json()
    except (ClientError, TimeoutError, ValueError):
        return None


def named(value: Any) -> Any:
    """Return plain data with the names of all fields, which on disk are positions only."""
    match value:
        case msgspec.Struct():
            fields = msgspec.structs.fields(type(value))
            return {field.name: named(getattr(value, field.name)) for field in fields}
        case dict():
            return {
                key if isinstance(key, str) else str(key): named(item)
                for key, item in value.items()
            }
        case list() | tuple() | set() | frozenset():
            return [named(item) for item in value]
        case bytes():
            return value.hex()
        case _:
            return value
