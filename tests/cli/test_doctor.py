"""``doctor``: each thing that can be wrong is found, named, and comes with what to do."""

from __future__ import annotations

import json

import pytest
from confluent_kafka import Producer

from orchestrator import cli
from orchestrator.cli.doctor import _disk, _kafka
from orchestrator.cli.doctor._checks import Verdict
from orchestrator.kafka.clients import producer_config
from orchestrator.kafka.topics import Topology
from orchestrator.partitioning import partition_for
from orchestrator.settings import Settings, load_settings

pytestmark = pytest.mark.kafka


@pytest.fixture
def doctor(settings, monkeypatch, tmp_path, capsys):
    """Run it as a program would; returns (exit code, checks by name)."""
    monkeypatch.chdir(tmp_path)

    def run(**flags: str) -> tuple[int, dict[str, dict]]:
        flags = {
            "dev": "true",
            "kafka.bootstrap.servers": settings.kafka["bootstrap.servers"],
            "registry.url": settings.registry.url,
            "topics.prefix": settings.topics.prefix,
            "worker.data_dir": str(tmp_path / "state"),
            "topics.channels": "email",
            **flags,
        }
        given = [part for item in flags.items() for part in ("--set", "=".join(item))]
        code = cli.run([*given, "doctor", "--output", "json"])
        answer = json.loads(capsys.readouterr().out)
        checks = {check["name"]: check for check in answer["checks"]}
        findings = [check for check in checks.values() if check["verdict"] == "FINDING"]
        assert answer["findings"] == len(findings)
        assert all(check["remedy"] for check in findings), findings
        assert code == (1 if findings else 0)
        return code, checks

    return run


@pytest.fixture
def topics(settings) -> Topology:
    """The deployment's topics, one channel."""
    topology = Topology(channelled(settings))
    topology.apply()
    return topology


def channelled(settings: Settings) -> Settings:
    return load_settings(
        env={},
        flags={
            "dev": "true",
            "kafka.bootstrap.servers": settings.kafka["bootstrap.servers"],
            "registry.url": settings.registry.url,
            "topics.prefix": settings.topics.prefix,
            "topics.channels": "email",
        },
    )


def test_a_new_deployment_is_sound_but_for_notes(doctor, topics):
    """Before the first start: nobody was ever in the group, no catalog, no record. No finding."""
    code, checks = doctor()
    assert code == 0, checks
    assert checks["topics"]["verdict"] == "ok"
    assert checks["clock"]["verdict"] in {"ok", "note"}
    assert checks["catalog"]["remedy"] == "run `orchestrator journeys apply DIR`"
    group = checks[f"group {topics.settings.app.id}"]
    assert (group["verdict"], group["remedy"]) == ("note", "start `orchestrator worker`")


def test_missing_topics_are_named_and_what_stands_on_them_is_skipped(doctor, settings):
    code, checks = doctor()
    assert code == 1
    missing = checks[f"topic {settings.topics.prefix}.timeline.v1"]
    assert missing["verdict"] == "FINDING"
    assert "orchestrator topics apply" in missing["remedy"]
    assert checks["clock, keys"]["verdict"] == "skipped"


def test_what_cannot_be_changed_and_what_is_only_tuned(doctor, topics):
    """Partitions are a finding; a retention that the operator chose is a note."""
    assert topics.name("events")
    _, checks = doctor(**{"topics.partitions": "6"})
    assert "has 4 partitions, not 6" in checks[f"topic {topics.name('events')}"]["detail"]
    code, checks = doctor(**{"topics.config": "{decisions: {retention.ms: 1000000}}"})
    assert checks[f"topic {topics.name('decisions')}"]["verdict"] == "note"
    assert code == 0, checks


def test_a_broker_that_is_away(doctor, monkeypatch):
    monkeypatch.setattr(_kafka, "ANSWER_S", 0.3)
    code, checks = doctor(**{"kafka.bootstrap.servers": "127.0.0.1:1"})
    assert code == 1
    assert "127.0.0.1:1" in checks["broker"]["detail"]
    assert checks["topics, clock, groups, keys"]["verdict"] == "skipped"


def test_a_registry_that_is_away_hides_nothing_else(doctor, topics):
    code, checks = doctor(**{"registry.url": "http://127.0.0.1:1", "registry.timeout_ms": "300"})
    assert code == 1
    assert checks["registry"]["verdict"] == "FINDING"
    assert checks["topics"]["verdict"] == "ok"
    assert topics.name("events")


def test_schemas_that_are_not_registered(doctor, topics):
    _, checks = doctor(**{"registry.auto_register": "false"})
    assert checks["schemas"]["verdict"] == "FINDING"
    assert checks["schemas"]["remedy"] == "run `orchestrator schemas register`"
    _, checks = doctor()  # in dev the roles do it
    assert checks["schemas"]["verdict"] == "note"
    assert topics.name("events")


def test_a_foreign_partitioner_is_seen_in_the_keys(doctor, topics):
    """Ten keys, each one partition beside its own."""
    topic, count = topics.name("events"), topics.partitions("events")
    producer = Producer(producer_config(topics.settings))
    for number in range(10):
        key = f"user_id:u{number}".encode()
        producer.produce(topic, b"?", key, (partition_for(key, count) + 1) % count)
    producer.flush(10)
    code, checks = doctor()
    assert code == 1
    keys = checks["keys of events"]
    assert keys["detail"].startswith("10 of 10")
    assert "murmur2_random" in keys["remedy"]
    assert checks["keys of timeline"]["verdict"] == "note"  # the tick has no key


def test_clocks_that_are_apart(topics, monkeypatch):
    """Ours, moved by a minute."""
    real = _kafka.time.time
    monkeypatch.setattr(_kafka.time, "time", lambda: real() - 60)
    monkeypatch.setattr(_kafka, "PRECISE_S", 60)
    (check,) = _kafka.clock(topics.settings)
    assert check.verdict is Verdict.FINDING
    assert "ahead of ours" in check.detail


def test_on_the_log_clock_nothing_is_written(settings):
    logged = load_settings(
        env={},
        flags={
            "kafka.bootstrap.servers": settings.kafka["bootstrap.servers"],
            "clock.mode": "log",
        },
    )
    (check,) = _kafka.clock(logged)
    assert check.verdict is Verdict.SKIPPED


def test_a_disk_that_is_nearly_full(settings, monkeypatch):
    full = _disk.shutil._ntuple_diskusage(100 << 30, 99 << 30, 1 << 29)
    monkeypatch.setattr(_disk.shutil, "disk_usage", lambda _: full)
    (check,) = _disk.disk(settings)
    assert check.verdict is Verdict.FINDING
    assert "0.5 GiB of 100.0 GiB free" in check.detail


def test_a_place_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("no directory")
    given = load_settings(env={}, flags={"worker.data_dir": str(tmp_path / "file" / "state")})
    (check,) = _disk.disk(given)
    assert check.verdict is Verdict.FINDING


def test_people_get_a_table(settings, topics, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    flags = {
        "dev": "true",
        "kafka.bootstrap.servers": settings.kafka["bootstrap.servers"],
        "registry.url": settings.registry.url,
        "topics.prefix": topics.settings.topics.prefix,
        "topics.channels": "email",
    }
    given = [part for item in flags.items() for part in ("--set", "=".join(item))]
    assert cli.run([*given, "doctor"]) == 0
    text = capsys.readouterr().out
    assert "what to do" in text
    assert text.rstrip().endswith("0 findings.")
