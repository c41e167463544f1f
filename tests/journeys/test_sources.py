"""What lint says of sources/*.yaml, in the words in which it says it."""

from __future__ import annotations

import pytest

from orchestrator.journeys import check_source_file

FILE = """\
source: shop
files: [orders-*.csv.gz]
format: csv
zone: Europe/Berlin
lookup:
  plans: {file: plans.csv, key: plan_id, on: record.plan}
group_by: record.order
events:
  - type: order.placed
    if: record.status == "paid"
    id: record.order
    occurred_at: record.at
    identities: {account_id: record.account}
    properties: {order_id: record.order, amount: sum(double(record.total)), paid: true}
"""
HOOK = """\
source: git
webhook: hmac
events:
  - type: feature.used
    if: header["x-event"] == "push"
    identities: {email: record.pusher.email}
"""
TOPIC = """\
source: billing
topic: payments
format: avro
events:
  - {type: order.placed, identities: {email: record.mail}, properties: {amount: record.total / 100.0}}
"""

CHANGES = """\
source: crm
topic: [shop.public.tickets, shop.public.archive]
format: debezium
events:
  - type: feature.used
    if: change.op == "u" && before.state != record.state && kafka.topic == "shop.public.tickets"
    occurred_at: kafka.time
    identities: {email: key.mail}
"""

FINDINGS = [
    (FILE, "format: csv\n", "", "1:1: J004 missing-key: files need a format; add one of csv, ndjson, json, parquet, avro"),
    (FILE, "format: csv", "format: debezium", "3:9: J025 wrong-format: debezium does not go with files; known: csv, ndjson, json, parquet, avro"),
    (FILE, "format: csv", "format: json\ndelimiter: ;", "4:1: J025 wrong-format: json has no delimiter; leave it out, or write format: csv"),
    (FILE, "record.status ==", "recrod.status ==", "10:9: J020 bad-expression: 'recrod' is not known; did you mean record?"),
    (FILE, "double(record.total)", "record.total", "14:54: J021 type-error: sum() needs a number, this is a string; convert with long(...) or double(...)"),
    (FILE, "group_by: record.order\n", "", "13:50: J020 bad-expression: sum() adds up the lines of one event, and there is only one here; add group_by"),
    (FILE, "paid: true", "paid: record.paid", '14:83: J021 type-error: paid of order.placed is a boolean, and this is a string; write record.paid == "true"'),
    (FILE, "amount: sum(double(record.total))", "amount: record.total", "14:50: J021 type-error: amount of order.placed is a double, and this is a string; write double(record.total)"),
    (FILE, "order_id: record.order", "orderid: record.order", "14:18: J018 unknown-property: events.yaml declares no property 'orderid' of order.placed; did you mean order_id?"),
    (FILE, "type: order.placed", "type: order.place", "9:11: J011 unknown-event: event 'order.place' is not known; did you mean order.placed?"),
    (FILE, "account_id: record", "accountid: record", "13:18: J024 unknown-identity: profile.yaml declares no identity 'accountid'; did you mean account_id?"),
    (FILE, "    occurred_at: record.at\n", "", "9:5: J004 missing-key: 'occurred_at' is missing: a file does not say when it happened; write occurred_at: record.COLUMN"),
    (FILE, "plans: {file", "record: {file", "6:3: J009 duplicate-name: 'record' has a meaning of its own; give the lookup another name"),
    (FILE, "on: record.plan", "on: plan", "6:46: J020 bad-expression: 'plan' is not known; write record.plan, or the text in quotes: 'plan'"),
    (FILE, "record.order, amount", "plnas.name, amount", "14:28: J020 bad-expression: 'plnas' is not known; did you mean plans?"),
    (FILE, "zone: Europe/Berlin", "zone: Europe/Berln", "4:7: J008 unknown-timezone: 'Europe/Berln' is no IANA time zone; did you mean Europe/Berlin?"),
    (FILE, "    identities: {account_id: record.account}\n", "", "9:5: J004 missing-key: 'identities' is missing"),
    (HOOK, "webhook: hmac", "webhook: hmca", "2:10: J005 wrong-type: here stands github or hmac or hubspot or intercom or salesforce or sendgrid or ses or shopify or slack or standard or stripe or twilio or zendesk, not 'hmca'; did you mean hmac?"),
    (HOOK, "webhook: hmac", "webhook: hmac\nformat: csv", "3:9: J025 wrong-format: csv does not go with webhook; known: json"),
    (HOOK, "webhook: hmac", "webhook: hmac\ngroup_by: record.id", "3:1: J003 unknown-key: 'group_by' stands only beside file or files"),
    (HOOK, "record.pusher.email", "profile.email", "6:25: J020 bad-expression: profile cannot be read here; a mapping knows the record alone; conditions on customers stand in journeys"),
    (HOOK, "record.pusher.email", "record.pusher == 1", "6:25: J021 type-error: this is a boolean, and here stands a string or a long"),
    (TOPIC, "record.total / 100.0", "header.total", "5:81: J021 type-error: amount of order.placed is a double, and this is a string; write double(header.total)"),
    (TOPIC, "record.total / 100.0", "change.total", "5:81: J020 bad-expression: 'change' is not known; write record.change, or the text in quotes: 'change'"),
    (TOPIC, "record.mail", "kafka.key", "5:52: J018 unknown-property: kafka has no 'key'; known: time, topic, type"),
    (TOPIC, "format: avro", "format: parquet", "3:9: J025 wrong-format: parquet does not go with topic; known: avro, json, cloudevents, debezium"),
]  # fmt: skip


@pytest.mark.parametrize(
    "text", [FILE, HOOK, TOPIC, CHANGES], ids=["files", "webhook", "topic", "changes"]
)
def test_sound_mappings_are_without_findings(sound, text):
    sound.write("sources/one.yaml", text)
    assert sound.findings() == []


@pytest.mark.parametrize(
    ("text", "old", "new", "said"), FINDINGS, ids=[each[3][:40] for each in FINDINGS]
)
def test_each_mistake_is_named_with_place_and_remedy(sound, text, old, new, said):
    assert old in text
    sound.write("sources/one.yaml", text.replace(old, new, 1))
    assert f"sources/one.yaml:{said}" in sound.findings()


def test_json_files_have_no_lines_to_group(sound):
    text = FILE.replace("format: csv", "format: json").replace(
        "double(record.total)", "record.total"
    )
    sound.write("sources/one.yaml", text)
    assert any("J025 wrong-format: group_by goes with lines" in each for each in sound.findings())


def test_two_sources_of_one_name_are_refused(sound):
    """Ids are unique within a source: two mappings would shadow each other's."""
    sound.write("sources/one.yaml", FILE)
    sound.write("sources/two.yaml", HOOK.replace("source: git", "source: shop"))
    assert any("J009 duplicate-name" in each for each in sound.findings())


def test_a_mapping_is_checked_alone(sound):
    """An error elsewhere keeps nobody from trying a mapping; its own events and identities count."""
    sound.write("sources/one.yaml", FILE)
    sound.write("journeys/broken.yaml", "journey: [")
    definition, _, found = check_source_file(sound.folder / "sources/one.yaml")
    assert found == ()
    assert (definition.kind, definition.name) == ("source", "shop")
    sound.change("sources/one.yaml", "account_id", "account")
    definition, _, found = check_source_file(sound.folder / "sources/one.yaml")
    assert definition is None
    assert [each.name for each in found] == ["unknown-identity"]


def test_a_mapping_without_a_workspace_is_checked_for_itself(tmp_path):
    (tmp_path / "one.yaml").write_text(TOPIC)
    definition, _, found = check_source_file(tmp_path / "one.yaml")
    assert (definition.name, found) == ("billing", ())


def test_what_is_not_declared_is_not_checked(sound):
    """Receipts have a provider's own properties; objects become dotted ones."""
    sound.change(
        "events.yaml", "feature.used: {}", 'feature.used: {"cart.size": long, "cart.id": string}'
    )
    text = HOOK + "    properties: {cart: record.cart}\n"
    text += "  - type: message.opened\n    identities: {customer: record.who}\n    properties: {device: record.d, action_id: record.a}\n"
    sound.write("sources/one.yaml", text)
    assert sound.findings() == []
