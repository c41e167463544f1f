"""``schemas check | register`` against a registry of its own."""

from __future__ import annotations

import json

import pytest

from orchestrator import cli
from orchestrator.codec.registry import RegistryClient
from orchestrator.testing.registry import Registry


@pytest.fixture
def registry():
    with Registry() as running:
        yield running


@pytest.fixture
def run(registry, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def run(*args: str, **more: str) -> tuple[int, str, str]:
        flags = {"registry.url": registry.url, "topics.channels": "email", **more}
        words = [part for item in flags.items() for part in ("--set", "=".join(item))]
        code = cli.run([*words, "schemas", *args])
        return code, *capsys.readouterr()

    return run


def test_an_empty_registry_lacks_every_subject_and_register_fills_it(run):
    code, out, _ = run("check", "--output", "json")
    found = json.loads(out)
    assert code == 1
    assert found["ok"] is False
    assert set(found["counts"]) == {"missing"}
    assert "journey.events.v1-journey.Event" in {one["subject"] for one in found["subjects"]}
    assert "journey.actions.email.v1-journey.Action" in {
        one["subject"] for one in found["subjects"]
    }
    code, out, _ = run("register", "--output", "json")
    done = json.loads(out)
    assert (code, done["rule"]) == (0, "FULL_TRANSITIVE")
    assert len(done["subjects"]) == len(found["subjects"])
    code, out, _ = run("check", "--output", "json")
    assert (code, json.loads(out)["ok"]) == (0, True)
    assert run("register")[0] == 0, "safe to repeat"


def test_one_subject_for_a_record_where_the_strategy_says_so(run):
    _, out, _ = run("check", "--output", "json", **{"registry.subjects": "record"})
    subjects = [one["subject"] for one in json.loads(out)["subjects"]]
    assert sorted(set(subjects)) == sorted(subjects)
    assert "journey.Catalog" in subjects


def test_a_registered_subject_without_our_rule_is_a_finding(run, registry):
    run("register")
    subject = "journey.events.v1-journey.Event"
    RegistryClient(registry.url).set_compatibility(subject, "NONE")
    code, out, _ = run("check")
    assert code == 1
    assert "NONE instead of FULL_TRANSITIVE" in out
    run("register")
    assert run("check")[0] == 0


def test_what_the_registry_would_refuse_is_a_finding_and_is_refused(run, registry):
    """Somebody registered another Event under our subject: check says it, register changes nothing."""
    client, subject = RegistryClient(registry.url), "journey.events.v1-journey.Event"
    other = {
        "type": "record",
        "name": "Event",
        "namespace": "journey",
        "fields": [{"name": "event_id", "type": "long"}],
    }
    client.register(subject, json.dumps(other))
    client.set_compatibility(subject, "FULL_TRANSITIVE")
    code, out, _ = run("check", "--output", "json")
    found = {one["subject"]: one for one in json.loads(out)["subjects"]}
    assert code == 1
    assert found[subject]["finding"] == "incompatible"
    assert found[subject]["detail"]
    code, _, err = run("register")
    assert code == 3
    assert "refuses" in err


def test_a_registry_that_is_away_is_no_finding(run, registry):
    registry.stop()
    code, _, err = run("check", **{"registry.timeout_ms": "200"})
    assert code == 3
    assert "does not answer" in err
