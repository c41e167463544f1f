"""Shipped mappings: sound, and what they make of what providers send."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlencode

import pytest

from orchestrator.journeys import check_source_file
from orchestrator.records import RECEIPT_TYPES
from orchestrator.sources.mappings import Arrival, Mapper
from orchestrator.sources.mappings.rows import json_record
from orchestrator.sources.webhooks import defaults
from orchestrator.sources.webhooks.hooks import PROVIDERS
from tests.sources.webhooks.signing import NOW, TOPIC, URL, hook, shown_key, sns
from tests.sources.webhooks.test_providers import SENDGRID_BODY, SOAP

ACTION = "00" * 16
AT_S = 1_772_355_600
OURS = {"action_id": ACTION, "customer_id": "c1"}
FOLDER = Path(defaults.__file__).parent


def mapped(name, *bodies, query="", **header):
    """The events of bodies, as the collector makes them."""
    settings = hook(shown_key("hush") if name == "sendgrid" else "hush", url=URL, topics=[TOPIC])
    provider = PROVIDERS[name](settings)
    mapper = Mapper(defaults.definition(name))
    found = []
    for body in bodies:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        for index, raw in enumerate(provider.records(data, query)):
            arrival = Arrival(NOW, ("delivery", str(index)), header)
            found += mapper.events([json_record(raw)], arrival)
    return found


def brief(events):
    return [(one.type, one.identities, one.properties) for one in events]


@pytest.mark.parametrize("name", defaults.names())
def test_a_shipped_mapping_passes_the_linter_and_is_what_the_linter_saw(name):
    """What the collector reads of the file, and what a workspace would make of it, are the same."""
    definition, _, diagnostics = check_source_file(FOLDER / f"{name}.yaml")
    assert [str(one) for one in diagnostics] == []
    assert json.loads(definition.source) == json.loads(defaults.definition(name))
    assert json.loads(definition.source)["webhook"] == name
    assert json.loads(definition.source)["source"] == name


def test_every_named_provider_has_one_but_those_whose_events_are_the_teams_own():
    assert set(PROVIDERS) - set(defaults.names()) == {"github", "hmac", "slack", "standard"}
    assert defaults.definition("nobody") is None
    assert defaults.text("../hooks") is None


@pytest.mark.parametrize("name", ["sendgrid", "ses", "twilio"])
def test_receipts_are_of_the_types_that_the_engine_knows(name):
    types = {one["type"] for one in json.loads(defaults.definition(name))["events"]}
    assert {one for one in types if one.startswith("message.")} <= RECEIPT_TYPES


def test_sendgrid():
    """Each event once by its own id; a refusal that may pass is no hard bounce."""
    common = {"email": "ada@x.org", "timestamp": AT_S, **OURS}

    def event(kind, **fields):
        return {
            **common,
            "event": kind,
            "sg_event_id": f"id-{kind}{fields.get('type', '')}",
            **fields,
        }

    events = mapped(
        "sendgrid",
        [
            event("processed"),
            event("deferred"),
            event("delivered"),
            event("open", sg_machine_open=True),
            event("click", url="https://x/"),
            event("bounce", type="bounce", status="5.1.1", reason="550 no such user"),
            event("bounce", type="blocked", reason="try later"),
            event("dropped", reason="Bounced Address"),
            event("spamreport"),
            event("unsubscribe"),
            event("group_unsubscribe", asm_group_id=7),
        ],
    )
    assert [(one.type, one.properties) for one in events] == [
        ("message.delivered", {"action_id": ACTION}),
        ("message.opened", {"action_id": ACTION, "machine": True}),
        ("message.clicked", {"action_id": ACTION, "url": "https://x/"}),
        (
            "message.bounced",
            {"action_id": ACTION, "hard": True, "status": "5.1.1", "reason": "550 no such user"},
        ),
        ("message.bounced", {"action_id": ACTION, "hard": False, "reason": "try later"}),
        ("message.failed", {"action_id": ACTION, "reason": "Bounced Address"}),
        ("message.complained", {"action_id": ACTION}),
        ("message.unsubscribed", {"action_id": ACTION}),
        ("message.unsubscribed", {"action_id": ACTION, "group": 7}),
    ]
    assert {one.occurred_at for one in events} == {NOW}
    assert all(one.identities == {"customer": "c1", "email": "ada@x.org"} for one in events)
    assert events[0].event_id == "id-delivered/message.delivered"
    del common["action_id"]  # customer_id may be anybody's word: with our action_id it is ours
    [other] = mapped("sendgrid", [event("open")])
    assert other.identities == {"email": "ada@x.org"}
    [foreign] = mapped("sendgrid", SENDGRID_BODY)
    assert foreign.identities == {"email": "hello@world.com"}
    assert foreign.properties == {"reason": "Bounced Address"}


def test_ses():
    """From the envelope of SNS, through the message in it, to receipts."""
    tags = {"action_id": [ACTION], "customer_id": ["c1"], "ses:source-ip": ["1.2.3.4"]}
    mail = {"timestamp": "2026-03-01T08:00:00.000Z", "destination": ["ada@x.org"], "tags": tags}
    at = {"timestamp": "2026-03-01T09:00:00.000Z"}

    def event(kind, **parts):
        return sns(json.dumps({"eventType": kind, "mail": mail, **parts}))

    people = [{"emailAddress": "ada@x.org"}]
    events = mapped(
        "ses",
        event("Send", send={}),
        event("Delivery", delivery={**at, "recipients": ["ada@x.org"]}),
        event("Open", open=at),
        event("Click", click={**at, "link": "https://x/"}),
        event("Bounce", bounce={**at, "bounceType": "Permanent", "bounceSubType": "General", "bouncedRecipients": people}),
        event("Bounce", bounce={**at, "bounceType": "Transient", "bounceSubType": "MailboxFull", "bouncedRecipients": people}),
        event("Complaint", complaint={**at, "complaintFeedbackType": "abuse", "complainedRecipients": people}),
        event("Complaint", complaint={**at, "complainedRecipients": people}),
        event("Complaint", complaint={**at, "complaintFeedbackType": "not-spam", "complainedRecipients": people}),
        event("Rendering Failure", failure={}),
        event("Subscription", subscription={**at, "newTopicPreferences": {"unsubscribeAll": True}}),
        event("Subscription", subscription={**at, "newTopicPreferences": {"unsubscribeAll": False}}),
        event("DeliveryDelay", deliveryDelay={**at}),
    )  # fmt: skip
    assert [(one.type, one.properties) for one in events] == [
        ("message.delivered", {"action_id": ACTION}),
        ("message.opened", {"action_id": ACTION}),
        ("message.clicked", {"action_id": ACTION, "url": "https://x/"}),
        ("message.bounced", {"action_id": ACTION, "hard": True, "reason": "General"}),
        ("message.bounced", {"action_id": ACTION, "hard": False, "reason": "MailboxFull"}),
        ("message.complained", {"action_id": ACTION, "reason": "abuse"}),
        ("message.complained", {"action_id": ACTION}),
        ("message.failed", {"action_id": ACTION, "reason": "Rendering Failure"}),
        ("message.unsubscribed", {"action_id": ACTION}),
    ]
    assert all(one.identities == {"customer": "c1", "email": "ada@x.org"} for one in events)
    assert {one.occurred_at for one in events} == {NOW, NOW - 3_600_000}
    assert mapped("ses", sns("Successfully validated SNS topic")) == []


def test_twilio():
    """A callback names action and customer in its address; STOP is a word of the customer."""
    query = urlencode(OURS)

    def form(status, **fields):
        said = {"MessageSid": "SM1", "MessageStatus": status, "To": "+491", "From": "+1", **fields}
        return urlencode(said).encode()

    events = mapped(
        "twilio",
        *[form(status) for status in ("queued", "sent", "delivered", "read")],
        form("undelivered", ErrorCode="30005"),
        form("undelivered", ErrorCode="30003"),
        form("failed", ErrorCode="30008"),
        query=query,
    )
    assert [(one.type, one.properties, one.event_id) for one in events] == [
        ("message.delivered", {"action_id": ACTION}, "SM1/delivered/message.delivered"),
        ("message.opened", {"action_id": ACTION}, "SM1/read/message.opened"),
        (
            "message.bounced",
            {"action_id": ACTION, "hard": True, "reason": "30005"},
            "SM1/undelivered/message.bounced",
        ),
        (
            "message.bounced",
            {"action_id": ACTION, "hard": False, "reason": "30003"},
            "SM1/undelivered/message.bounced",
        ),
        ("message.failed", {"action_id": ACTION, "reason": "30008"}, "SM1/failed/message.failed"),
    ]
    assert events[0].identities == {"customer": "c1", "phone": "+491"}
    stop = {"MessageSid": "SM2", "SmsStatus": "received", "From": "+491", "To": "+1", "Body": "STOP", "OptOutType": "STOP"}  # fmt: skip
    assert brief(mapped("twilio", urlencode(stop).encode())) == [
        ("sms.received", {"phone": "+491"}, {"text": "STOP"}),
        ("consent.revoked", {"phone": "+491"}, {"channel": "sms"}),
    ]


def test_stripe():
    def event(kind, **thing):
        return {"id": f"evt_{kind}", "type": kind, "created": AT_S, "data": {"object": thing}}

    items = {"data": [{"price": {"lookup_key": "pro", "unit_amount": 4900}}]}
    subscription = {"id": "sub_1", "customer": "cus_1", "status": "active", "currency": "eur", "items": items, "metadata": {"customer_id": "7"}, "cancel_at_period_end": False, "trial_end": AT_S}  # fmt: skip
    events = mapped(
        "stripe",
        event("customer.created", id="cus_1", email="Ada@x.org", name="Ada", metadata={}),
        event("checkout.session.completed", customer="cus_1", client_reference_id="7", customer_details={"email": "ada@x.org"}, amount_total=4900, currency="eur", mode="subscription"),
        event("customer.subscription.created", **subscription),
        event("customer.subscription.updated", **subscription),
        event("customer.subscription.deleted", **subscription, cancellation_details={"reason": "payment_failed"}),
        event("customer.subscription.trial_will_end", **subscription),
        event("invoice.paid", customer="cus_1", customer_email="ada@x.org", amount_paid=4900, currency="eur"),
        event("invoice.payment_failed", customer="cus_1", customer_email=None, amount_due=4900, currency="eur", attempt_count=1, next_payment_attempt=AT_S),
        event("charge.refunded", customer="cus_1", amount_refunded=100, currency="eur"),
        event("product.created", id="prod_1"),
        {"id": "evt_x", "type": "x", "created": AT_S, "data": None},
    )  # fmt: skip
    both = {"stripe_id": "cus_1", "customer_id": "7"}
    plan = {"status": "active", "plan": "pro", "amount": 4900, "currency": "eur"}
    assert brief(events) == [
        ("customer.updated", {"stripe_id": "cus_1", "email": "ada@x.org"}, {"name": "Ada", "email": "Ada@x.org"}),
        ("checkout.completed", {**both, "email": "ada@x.org"}, {"amount": 4900, "currency": "eur", "mode": "subscription"}),
        ("subscription.started", both, plan),
        ("subscription.updated", both, {**plan, "cancel_at_period_end": False}),
        ("subscription.cancelled", both, {"plan": "pro", "reason": "payment_failed"}),
        ("trial.ending", both, {"ends_at": NOW}),
        ("invoice.paid", {"stripe_id": "cus_1", "email": "ada@x.org"}, {"amount": 4900, "currency": "eur"}),
        ("payment.failed", {"stripe_id": "cus_1"}, {"amount": 4900, "currency": "eur", "attempt": 1, "next_attempt_at": NOW}),
        ("payment.refunded", {"stripe_id": "cus_1"}, {"amount": 100, "currency": "eur"}),
    ]  # fmt: skip
    assert {one.occurred_at for one in events} == {NOW}
    assert len({one.event_id for one in events}) == len(events)


def test_zendesk():
    def event(kind, detail, **change):
        return {
            "type": f"zen:event-type:{kind}",
            "id": f"id-{kind}-{change}",
            "time": "2026-03-01T09:00:00Z",
            "detail": detail,
            "event": change,
        }

    ticket = {"id": "35436", "requester_id": "8447388090494", "subject": "Help", "priority": "HIGH", "status": "OPEN", "via": {"channel": "web_service"}}  # fmt: skip
    user = {"id": "8447388090494", "email": "ada@x.org", "external_id": "7", "role": "end-user"}
    events = mapped(
        "zendesk",
        event("user.created", user),
        event("user.created", {**user, "role": "agent"}),
        event("ticket.created", ticket),
        event("ticket.status_changed", ticket, current="SOLVED", previous="OPEN"),
        event("ticket.status_changed", ticket, current="OPEN", previous="SOLVED"),
        event("ticket.status_changed", ticket, current="OPEN", previous="NEW"),
        event("ticket.status_changed", ticket, current="CLOSED", previous="SOLVED"),
        event("ticket.priority_changed", ticket, current="LOW", previous="HIGH"),
        b"",
    )
    who = {"zendesk_id": "8447388090494"}
    assert brief(events) == [
        ("customer.updated", {**who, "customer_id": "7", "email": "ada@x.org"}, {"email": "ada@x.org"}),
        ("ticket.created", who, {"ticket_id": "35436", "subject": "Help", "priority": "HIGH", "channel": "web_service"}),
        ("ticket.solved", who, {"ticket_id": "35436", "priority": "HIGH"}),
        ("ticket.reopened", who, {"ticket_id": "35436"}),
        ("ticket.closed", who, {"ticket_id": "35436"}),
    ]  # fmt: skip
    assert {one.occurred_at for one in events} == {NOW}


def test_intercom():
    def note(topic, **item):
        return {
            "type": "notification_event",
            "id": f"notif_{topic}",
            "topic": topic,
            "created_at": AT_S,
            "delivery_attempts": 1,
            "data": {"item": item},
        }

    talk = {"id": "c9", "source": {"type": "email"}, "contacts": {"contacts": [{"id": "i1", "external_id": "7"}]}, "conversation_rating": {"rating": 5}}  # fmt: skip
    events = mapped(
        "intercom",
        {"type": "notification_event", "topic": "ping", "data": {"item": {"type": "ping"}}},
        note("contact.user.created", id="i1", external_id="7", email="ada@x.org", name="Ada"),
        note("contact.unsubscribed", id="i1", email="ada@x.org"),
        note("conversation.user.created", **talk),
        note("conversation.user.replied", **talk),
        note("conversation.admin.closed", **talk),
        note("conversation.rating.added", **talk),
    )
    who, same = {"intercom_id": "i1", "customer_id": "7"}, {"conversation_id": "c9"}
    assert brief(events) == [
        ("customer.updated", {**who, "email": "ada@x.org"}, {"name": "Ada", "email": "ada@x.org"}),
        ("consent.revoked", {"intercom_id": "i1", "email": "ada@x.org"}, {"channel": "email"}),
        ("conversation.started", who, {**same, "channel": "email"}),
        ("conversation.replied", who, same),
        ("conversation.closed", who, same),
        ("conversation.rated", who, {**same, "rating": 5}),
    ]
    assert {one.occurred_at for one in events} == {NOW}


def test_hubspot():
    """A repetition differs by its number of attempts alone, and has the same id."""

    def change(kind, name=None, value=None, **fields):
        return {
            "eventId": 100,
            "subscriptionId": 12,
            "portalId": 62515,
            "occurredAt": NOW,
            "subscriptionType": kind,
            "attemptNumber": 0,
            "objectId": 123,
            "changeSource": "CRM",
            **({"propertyName": name, "propertyValue": value} if name else {}),
            **fields,
        }

    several = [
        change("contact.creation"),
        change("object.creation", objectTypeId="0-1", subscriptionId=13),
        change("object.creation", objectTypeId="0-3", subscriptionId=14),
        change("contact.propertyChange", "email", "Ada@x.org", eventId=101),
        change("contact.propertyChange", "customer_id", "7", eventId=102),
        change(
            "object.propertyChange", "lifecyclestage", "customer", eventId=103, objectTypeId="0-1"
        ),
        change("contact.propertyChange", "city", "Ulm", eventId=104),
        change("contact.privacyDeletion", eventId=105),
        change("deal.creation", eventId=106),
    ]
    events = mapped("hubspot", several)
    who = {"hubspot_id": "123"}
    assert brief(events) == [
        ("contact.created", who, {"change_source": "CRM"}),
        ("contact.created", who, {"change_source": "CRM"}),
        ("customer.updated", {**who, "email": "ada@x.org"}, {"email": "Ada@x.org"}),
        ("customer.updated", {**who, "customer_id": "7"}, {}),
        ("customer.updated", who, {"lifecycle_stage": "customer"}),
        ("contact.deleted", who, {"privacy": True}),
    ]
    again = mapped("hubspot", [{**one, "attemptNumber": 3} for one in several])
    assert [one.event_id for one in again] == [one.event_id for one in events]
    assert len({one.event_id for one in events}) == len(events)


def test_salesforce():
    payload = {"Email__c": "ada@x.org", "Stage__c": "Won"}
    events = mapped(
        "salesforce",
        SOAP,
        SOAP.replace(b"sf:Contact", b"sf:Opportunity").replace(b"sf:Email", b"sf:ContactId"),
        {"payload": payload, "event": {"EventUuid": "u1", "replayId": 1}},
    )
    assert brief(events) == [
        ("customer.updated", {"salesforce_id": "003x1", "email": "ada@x.org"}, {"last_name": "L & Ö", "email": "Ada@x.org"}),
        ("customer.updated", {"salesforce_id": "003x2"}, {}),
        ("opportunity.updated", {"salesforce_id": "Ada@x.org"}, {"opportunity_id": "003x1"}),
        ("crm.event_received", {"email": "ada@x.org"}, {"payload.Email__c": "ada@x.org", "payload.Stage__c": "Won"}),
    ]  # fmt: skip


def test_shopify():
    order = {"id": 5, "email": "ada@x.org", "customer": {"id": 9}, "total_price": "12.50", "currency": "EUR", "created_at": "2026-03-01T10:00:00+01:00", "updated_at": "2026-03-01T10:00:00+01:00"}  # fmt: skip
    [placed] = mapped("shopify", order, **{"x-shopify-topic": "orders/create"})
    assert (placed.type, placed.occurred_at) == ("order.placed", NOW)
    assert placed.identities == {"shopify_id": "9", "email": "ada@x.org"}
    assert placed.properties == {"order_id": 5, "amount": 12.5, "currency": "EUR"}
    assert mapped("shopify", order, **{"x-shopify-topic": "carts/update"}) == []
