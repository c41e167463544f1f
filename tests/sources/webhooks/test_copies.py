"""Copies that no collector remembers: the customer's own memory ignores them, for as long as providers repeat."""

from __future__ import annotations

import json

import pytest

from orchestrator.journeys import load_workspace
from orchestrator.testing.pipeline import Pipeline
from tests.sources.webhooks.test_defaults import AT_S, mapped

HOUR = 3_600_000
FILES = {
    "profile.yaml": "identities: {primary: customer_id, also: [stripe_id, email]}\n"
    "traits: {email: {type: string}, failures: {count: payment.failed, window: P30D}}\n",
    "events.yaml": "payment.failed: {amount: long}\n",
    "policy.yaml": "timezone: Europe/Berlin\nchannels: {email: {address: profile.email}}\nconsent: {default: {service: opt_out}}\n",
    "messages/dunning.yaml": "message: dunning\nclass: mandatory\ncategory: service\n"
    "channels: {email: {subject: Please, text: pay}}\n",
    "journeys/dunning.yaml": "journey: dunning\nentry: {on: payment.failed, re_entry: always}\n"
    "steps:\n  - {id: tell, send: {message: dunning, channel: email}}\n",
}


@pytest.fixture
def catalog(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return load_workspace(tmp_path).catalog


def failure(number):
    thing = {"customer": "cus_1", "amount_due": 4900, "customer_email": "ada@x.org"}
    event = {"id": f"evt_{number}", "type": "invoice.payment_failed", "created": AT_S}
    return json.dumps({**event, "data": {"object": thing}}).encode()


def life(catalog, copies):
    """One failed payment, delivered so often over 29 hours; then another one."""
    pipeline, now = Pipeline(catalog, AT_S * 1000), AT_S * 1000
    thing = {"id": "cus_1", "email": "ada@x.org", "metadata": {}}
    created = {"id": "evt_0", "type": "customer.created", "created": AT_S}
    [event] = mapped("stripe", {**created, "data": {"object": thing}})
    pipeline.append(event, now)
    left = []
    deliveries = [(failure(1), 29 * HOUR * n // max(copies - 1, 1)) for n in range(copies)]
    for body, later in [*deliveries, (failure(2), 30 * HOUR)]:
        [event] = mapped("stripe", body)
        left += pipeline.append(event, now + later)
    return pipeline, [one.emit.record for one in left if one.emit.topic.startswith("actions")]


def test_46_copies_over_29_hours_are_one_event(catalog):
    """The same actions and the same state as if each had come once."""
    pipeline, sent = life(catalog, 46)
    other, expected = life(catalog, 1)
    assert len(expected) == 2
    assert sent == expected
    [state], [once] = pipeline.decide.states.values(), other.decide.states.values()
    assert pipeline.decide.stage.encode(state) == other.decide.stage.encode(once)
    assert pipeline.dead_letters == []
