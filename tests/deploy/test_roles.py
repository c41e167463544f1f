"""Every role shows how it is and what it did; what it did is what happened."""

from __future__ import annotations

import base64
import json
from urllib.request import Request, urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from orchestrator.testing.stack import WRITE_KEY, Stack
from tests.deploy.conftest import until

pytestmark = pytest.mark.kafka


def addresses(stack: Stack) -> dict[str, str]:
    port = stack.settings.deliver["sales"].web_port
    return {
        "worker": stack.worker_url,
        "collect": stack.collector_url,
        "deliver": f"http://127.0.0.1:{port}",
    }


def get(url: str) -> bytes:
    with urlopen(url, timeout=10) as page:  # noqa: S310 - our own address
        return page.read()


def samples(url: str) -> dict[str, float]:
    """``name{label="value"}`` -> value, of our own metrics."""
    return {
        sample.name
        + "".join(f" {key}={sample.labels[key]}" for key in sorted(sample.labels)): sample.value
        for family in text_string_to_metric_families(get(f"{url}/metrics").decode())
        if family.name.startswith("orchestrator_")
        for sample in family.samples
    }


def track(stack: Stack, event: str, number: int) -> None:
    body = {"userId": f"u{number}", "event": event, "messageId": f"{event}-{number}"}
    pair = base64.b64encode(f"{WRITE_KEY}:".encode()).decode()
    headers = {"Content-Type": "application/json", "Authorization": f"Basic {pair}"}
    url = f"{stack.collector_url}/v1/track"
    request = Request(url, json.dumps(body).encode(), headers)  # noqa: S310 - our own address
    with urlopen(request, timeout=30) as answer:  # noqa: S310 - the same
        assert answer.status == 200


def test_every_role_is_alive_and_ready(stack: Stack):
    for name, url in addresses(stack).items():
        assert get(f"{url}/livez") == b"ok\n", name
        assert json.loads(get(f"{url}/readyz")) == {"ready": True, "waiting": {}}, name


def test_what_happened_is_what_is_counted(stack: Stack):
    """Three customers: entered, alerted after a timer; then one sees pricing and is alerted again."""
    at = addresses(stack)
    for number in range(3):
        track(stack, "trial.started", number)
    sent = "orchestrator_deliveries_total channel=sales outcome=sent reason="
    until(lambda: samples(at["deliver"]).get(sent) == 3, stack)
    track(stack, "pricing.viewed", 0)
    until(lambda: samples(at["deliver"]).get(sent) == 4, stack)

    # A sink may be quicker than the worker, which counts behind the commit that the sink has read.
    last = "orchestrator_actions_total channel=sales kind=send"
    until(lambda: samples(at["worker"]).get(last) == 4, stack)
    worker = samples(at["worker"])
    assert worker[last] == 4
    assert worker["orchestrator_decisions_total journey=leads outcome=entered reason="] == 3
    assert worker["orchestrator_decisions_total journey=leads outcome=sent reason="] == 4
    assert worker["orchestrator_event_to_action_seconds_count"] == 1
    assert worker["orchestrator_timer_lateness_seconds_count"] >= 1
    assert worker["orchestrator_inputs_total kind=timers stage=decide"] >= 3
    assert worker["orchestrator_inputs_total kind=events stage=identify"] >= 4
    for stage in ("identify", "decide"):
        assert worker[f"orchestrator_transaction_seconds_count stage={stage}"] >= 1
        assert worker[f"orchestrator_transaction_bytes_sum stage={stage}"] > 0
        assert worker[f"orchestrator_partitions stage={stage} status=running"] == 4
        assert worker[f"orchestrator_stage_held stage={stage}"] == 0
    assert (
        samples(at["deliver"])["orchestrator_send_seconds_count answer=accepted channel=sales"] == 4
    )
    assert samples(at["collect"])["orchestrator_received_total result=accepted source=web"] == 4


def test_no_lag_is_left_when_nothing_comes(stack: Stack):
    """Lag counts down to nothing: transaction markers and ticks are no records that wait."""
    url = stack.worker_url

    def lags() -> list[float]:
        return [
            value
            for name, value in samples(url).items()
            if name.startswith("orchestrator_partition_lag_records")
        ]

    until(lambda: bool(lags()) and not sum(lags()), stack)


def test_doctor_finds_a_running_deployment_sound(stack: Stack):
    found = json.loads(stack.run("doctor", "--output", "json"))
    assert found["findings"] == 0, found
    verdicts = {check["name"]: check["verdict"] for check in found["checks"]}
    app = stack.settings.app.id
    for name in ("disk", "registry", "schemas", "broker", "replicas", "topics", "clock", "catalog"):
        assert verdicts[name] in {"ok", "note"}, found
    assert verdicts[f"group {app}"] == verdicts[f"group {app}-deliver-sales"] == "ok"
    assert verdicts["keys of events"] == "ok"
    assert verdicts["keys of timeline"] in {"ok", "note"}
