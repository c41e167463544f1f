"""``sources test``, and ``simulate`` and ``load`` through mappings, as an author runs them."""

from __future__ import annotations

import json

import pytest

from orchestrator.cli import FINDINGS, OK, USAGE, run

MAPPING = """\
source: shop
files: [orders.csv]
format: csv
zone: Europe/Berlin
lookup:
  plans: {file: plans.csv, key: id, on: record.plan}
events:
  - type: order.placed
    if: record.total != "0"
    id: record.order
    occurred_at: record.at
    identities: {customer_id: record.who}
    properties: {total: double(record.total), plan: plans.name}
"""
HOOK = """\
source: git
webhook: hmac
events:
  - type: repo.pushed
    if: header["x-event"] == "push"
    occurred_at: record.at
    identities: {customer_id: record.who}
"""


@pytest.fixture
def place(tmp_path):
    """A workspace and the data for it."""
    (tmp_path / "sources").mkdir()
    (tmp_path / "journeys").mkdir()
    files = {
        "sources/shop.yaml": MAPPING,
        "sources/git.yaml": HOOK,
        "profile.yaml": "identities: {primary: customer_id}\n",
        "policy.yaml": "timezone: UTC\n",
        "events.yaml": "order.placed: {total: double, plan: string}\nrepo.pushed: {}\n",
        "orders.csv": "order,at,who,total,plan\n1,2026-03-01 09:00,ada,9.5,p\n2,2026-03-01,bob,0,p\n3,never,eve,1,q\n4,2026-02-01,,1,q\n",
        "plans.csv": "id,name\np,pro\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def tried(capsys, *words):
    code = run(["sources", "test", *map(str, words), "--output", "json"])
    return code, json.loads(capsys.readouterr().out)


def test_what_a_mapping_makes_of_samples(place, capsys):
    """Events, records that nobody wants, refusals with cause; a refusal is a finding."""
    code, said = tried(capsys, place / "sources/shop.yaml", "--data", place)
    assert (code, said["ok"], said["diagnostics"]) == (FINDINGS, False, [])
    trial = said["trial"]
    assert (trial["events"], trial["nothing"], trial["refused"]) == (1, 1, 2)
    [event] = trial["records"][0]["events"]
    assert event["event_id"] == "1"
    assert event["occurred_at"] == 1_772_352_000_000
    assert event["properties"] == {"total": 9.5, "plan": "pro"}
    assert [each["cause"] for each in trial["records"][2:]] == ["bad_time", "no_identity"]
    assert (
        run(["sources", "test", str(place / "sources/shop.yaml"), "--data", str(place)]) == FINDINGS
    )
    text = capsys.readouterr().out
    assert "order.placed  2026-03-01T08:00:00Z  customer_id:ada  id 1" in text
    assert "plan = 'pro'" in text
    assert "refused (bad_time): occurred_at is 'never'" in text
    assert "no event, no `if` holds" in text
    assert "4 records: 1 events, 1 without one, 2 refused" in text


def test_a_sample_instead_of_the_mappings_own_files(place, capsys):
    sample = place / "sample.csv"
    sample.write_text("order,at,who,total,plan\n" + "7,2026-03-01,ada,1,p\n" * 30)
    code, said = tried(capsys, place / "sources/shop.yaml", "--sample", sample, "--data", place)
    assert (code, said["trial"]["events"]) == (OK, 20)
    words = ("--sample", sample, "--data", place, "--limit", "0")
    assert tried(capsys, place / "sources/shop.yaml", *words)[1]["trial"]["events"] == 30


def test_a_webhook_with_its_headers(place, capsys):
    sample = place / "push.json"
    sample.write_text('[{"who": "ada", "at": 1772352000}]')
    code, said = tried(
        capsys, place / "sources/git.yaml", "--sample", sample, "--header", "X-Event: push"
    )
    assert (code, said["trial"]["events"]) == (OK, 1)
    assert "multiply by 1000" in said["trial"]["records"][0]["remarks"][0]
    assert tried(capsys, place / "sources/git.yaml", "--sample", sample)[1]["trial"]["nothing"] == 1
    assert tried(capsys, place / "sources/git.yaml")[1]["trial"]["records"] == []
    lines = place / "push.ndjson"
    lines.write_text('{"who": "ada", "at": "2026-03-01T09:00:00Z"}\n{\n')
    words = ("--sample", lines, "--header", "x-event:push")
    assert tried(capsys, place / "sources/git.yaml", *words)[1]["trial"]["refused"] == 1
    assert run(["sources", "test", str(place / "sources/git.yaml"), *map(str, words)]) == FINDINGS
    assert run(["sources", "test", str(place / "sources/git.yaml"), "--header", "x"]) == USAGE


CHANGES = """\
source: crm
topic: users
format: debezium
events:
  - type: repo.pushed
    if: change.op != "u" || before.plan != record.plan
    identities: {customer_id: string(key.id)}
"""
ORDERS = """\
source: shop2
topic: orders
events:
  - type: repo.pushed
    if: header["x-by"] == "app" && kafka.topic == "orders"
    identities: {customer_id: record.who}
"""


def test_a_topic_is_opened_as_connect_does(place, capsys):
    """Changes unwrapped, keys and headers read; Avro's records are written as JSON."""
    (place / "sources/crm.yaml").write_text(CHANGES)
    sample = place / "changes.ndjson"
    source = {"ts_ms": 1_772_352_000_000, "lsn": 1}
    free, pro = {"plan": "free"}, {"plan": "pro"}
    lines = [
        {"op": "u", "before": free, "after": pro, "source": source},
        {"op": "u", "before": pro, "after": pro, "source": source},
        {"op": "t", "source": source},
        {"plan": "pro"},
    ]
    sample.write_text("".join(json.dumps(line) + "\n" for line in lines))
    words = (place / "sources/crm.yaml", "--sample", sample, "--key", '{"id": 7}')
    code, said = tried(capsys, *words)
    trial = said["trial"]
    assert (code, trial["events"], trial["nothing"], trial["refused"]) == (FINDINGS, 1, 2, 1)
    [event] = trial["records"][0]["events"]
    assert (event["identities"], event["occurred_at"]) == ({"customer_id": "7"}, source["ts_ms"])
    assert "no change of Debezium's" in trial["records"][3]["message"]
    (place / "sources/orders.yaml").write_text(ORDERS)
    sample.write_text('{"who": "ada"}\n')
    words = (place / "sources/orders.yaml", "--sample", sample, "--header", "X-By:app")
    assert tried(capsys, *words)[1]["trial"]["events"] == 1
    sample.write_bytes(b"\x00\x00\x00\x00\x05...\n")
    assert tried(capsys, *words)[0] == FINDINGS


def test_a_mapping_that_does_not_compile(place, capsys):
    """Its findings stand there as lint has them; nothing is tried."""
    path = place / "sources/shop.yaml"
    path.write_text(MAPPING.replace("record.who", "recrod.who"))
    code, said = tried(capsys, path, "--data", place)
    assert (code, "trial" in said) == (FINDINGS, False)
    assert "did you mean record?" in said["diagnostics"][0]
    assert run(["sources", "test", str(path)]) == FINDINGS
    assert "J020" in capsys.readouterr().out


def test_simulate_takes_what_load_takes(place, capsys):
    """All mappings of files in the workspace, or single ones; what is refused is counted by cause."""
    for words in ([], ["--mapping", str(place / "sources/shop.yaml")]):
        args = ["simulate", str(place), "--data", str(place), *words, "--output", "json"]
        assert run(args) == OK
        said = json.loads(capsys.readouterr().out)
        assert said["events"] == 1
        assert said["dead_letters"] == {"bad_time": 1, "no_identity": 1}
    (place / "orders.csv").unlink()
    assert run(["simulate", str(place), "--data", str(place)]) == USAGE
    assert "'orders.csv' finds no file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["load"], "name FILES with --source"),
        (["load", "orders.csv"], "--source"),
        (["load", "--source", "x", "--mapping", "sources/shop.yaml"], "a mapping names its own"),
        (["load", "--mapping", "sources/git.yaml"], "no files"),
        (
            [
                "load",
                "--mapping",
                "sources/shop.yaml",
                "--mapping",
                "sources/shop.yaml",
                "orders.csv",
            ],
            "through one mapping",
        ),
        (["load", "--mapping", "policy.yaml"], "J00"),
        (["load", "--mapping", "sources/shop.yaml", "plans.csv"], "no column"),
        (
            ["simulate", ".", "--events", "orders.csv", "--mapping", "sources/shop.yaml"],
            "no --mapping",
        ),
    ],
)
def test_words_that_do_not_go_together(place, capsys, monkeypatch, words, said):
    monkeypatch.chdir(place)
    assert run(words) == USAGE
    assert said in capsys.readouterr().err


def test_a_workspace_without_mappings_of_files(place, capsys, monkeypatch):
    monkeypatch.chdir(place)
    (place / "sources/shop.yaml").unlink()
    assert run(["load", "--workspace", "."]) == USAGE
    assert "no mapping of files" in capsys.readouterr().err


def test_shipped_mappings_are_shown(capsys, tmp_path):
    """What is shown can be copied into a workspace as it is."""
    assert run(["sources", "show"]) == OK
    assert "sendgrid" in capsys.readouterr().out.split()
    assert run(["sources", "show", "stripe"]) == OK
    copy = tmp_path / "stripe.yaml"
    copy.write_text(capsys.readouterr().out)
    assert run(["sources", "test", str(copy)]) == OK
    capsys.readouterr()
    assert run(["sources", "show", "twilio", "--output", "json"]) == OK
    assert json.loads(capsys.readouterr().out)["provider"] == "twilio"
    assert run(["sources", "show", "nobody"]) == USAGE
