"""``journeys apply``: a workspace in force everywhere, or nowhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from orchestrator import cli
from orchestrator.cli.journeys.apply import Instant
from orchestrator.codec import open_codec
from orchestrator.kafka.definitions import read_catalog, read_definitions
from orchestrator.kafka.publishing import WRITES, CatalogPublisher
from orchestrator.kafka.topics import Topology
from orchestrator.records import CatalogSwitch
from orchestrator.settings import load_settings

EXAMPLE = Path(__file__).parents[2] / "deploy" / "example"
CHANNELS = "email,inapp,push,sales"


@pytest.fixture
def workspace(tmp_path) -> Path:
    """A copy of the shipped example, to be edited."""
    return Path(shutil.copytree(EXAMPLE, tmp_path / "workspace"))


@pytest.fixture
def flags(broker, registry, prefix) -> dict[str, str]:
    return {
        "dev": "true",
        "kafka.bootstrap.servers": broker.bootstrap,
        "registry.url": registry.url,
        "topics.prefix": prefix,
        "topics.channels": CHANNELS,
    }


@pytest.fixture
def run(flags, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def run(*args: str, **more: str) -> tuple[int, str, str]:
        assignments = [
            part for item in {**flags, **more}.items() for part in ("--set", "=".join(item))
        ]
        code = cli.run([*assignments, *args])
        return code, *capsys.readouterr()

    return run


def current(flags) -> CatalogSwitch | None:
    settings = load_settings(env={}, flags=flags)
    return read_catalog(settings, open_codec(settings))


@pytest.mark.kafka
def test_the_first_apply_puts_every_journey_live(run, flags, workspace):
    run("topics", "apply")
    code, out, err = run("journeys", "apply", str(workspace), "--output", "json")
    assert code == 0, err
    result = json.loads(out)
    assert result["changed"] is True
    assert "journey/trial-to-paid" in result["added"]
    assert result["status"] == {"trial-to-paid": "live"}
    catalog = current(flags)
    assert catalog is not None
    assert catalog.catalog == result["catalog"]
    assert sorted(catalog.definitions) == result["added"]
    settings = load_settings(env={}, flags=flags)
    known = read_definitions(settings, open_codec(settings)).by_hash
    assert set(catalog.definitions.values()) == set(known)


@pytest.mark.kafka
def test_the_same_workspace_again_changes_nothing(run, flags, workspace):
    run("topics", "apply")
    run("journeys", "apply", str(workspace))
    before = current(flags)
    code, out, _ = run("journeys", "apply", str(workspace))
    assert code == 0
    assert out.startswith("Nothing changed: catalog ")
    assert current(flags) == before


@pytest.mark.kafka
def test_a_broken_workspace_is_refused_whole_and_the_last_good_one_stays(run, flags, workspace):
    run("topics", "apply")
    run("journeys", "apply", str(workspace))
    before = current(flags)
    journey = workspace / "journeys" / "trial-to-paid.yaml"
    good = journey.read_text(encoding="utf-8")
    journey.write_text(good + "prioritee: 5\n", encoding="utf-8")
    code, out, err = run("journeys", "apply", str(workspace))
    assert code == 2
    assert out == ""
    assert "prioritee" in err
    assert current(flags) == before


@pytest.mark.kafka
def test_an_edit_replaces_one_definition_and_the_former_stays_to_be_found(run, flags, workspace):
    """Entries that are pinned to the former version still need it."""
    run("topics", "apply")
    run("journeys", "apply", str(workspace))
    before = current(flags)
    journey = workspace / "journeys" / "trial-to-paid.yaml"
    text = journey.read_text(encoding="utf-8")
    journey.write_text(text.replace("priority: 60", "priority: 61"), encoding="utf-8")
    code, out, _ = run("journeys", "apply", str(workspace), "--output", "json")
    assert code == 0
    result = json.loads(out)
    assert result["replaced"] == ["journey/trial-to-paid"]
    assert result["added"] == result["removed"] == []
    settings = load_settings(env={}, flags=flags)
    known = read_definitions(settings, open_codec(settings)).by_hash
    assert before is not None
    assert before.definitions["journey/trial-to-paid"] in known


@pytest.mark.kafka
def test_apply_keeps_the_status_that_operators_gave(run, flags, workspace):
    run("topics", "apply")
    run("journeys", "apply", str(workspace))
    settings = load_settings(env={}, flags=flags)
    codec = open_codec(settings)
    codec.prepare(Topology(settings).names(*WRITES))
    publisher = CatalogPublisher(settings, codec)
    catalog = publisher.open().catalog
    assert catalog is not None
    catalog.status["trial-to-paid"] = "paused"
    catalog.catalog = "another"
    publisher.publish([], catalog)
    policy = workspace / "messages" / "follow-up.yaml"
    policy.write_text(policy.read_text(encoding="utf-8") + "about: something\n", encoding="utf-8")
    code, out, err = run("journeys", "apply", str(workspace))
    assert code == 0, err
    assert "trial-to-paid paused" in out
    applied = current(flags)
    assert applied is not None
    assert applied.status == {"trial-to-paid": "paused"}


@pytest.mark.kafka
def test_a_channel_without_topics_is_refused_with_the_remedy(run, workspace):
    code, _, err = run("journeys", "apply", str(workspace), **{"topics.channels": "email"})
    assert code == 2
    assert "topics.channels" in err
    assert "orchestrator topics apply" in err


@pytest.mark.kafka
def test_missing_topics_are_named_with_the_remedy(run, workspace):
    code, _, err = run("journeys", "apply", str(workspace))
    assert code == 70
    assert "run `orchestrator topics apply`" in err


@pytest.mark.kafka
def test_an_instant_goes_with_the_log_clock_only(run, workspace):
    code, _, err = run("journeys", "apply", str(workspace), "--at", "2026-01-01T00:00:00Z")
    assert code == 2
    assert "clock.mode" in err


@pytest.mark.kafka
def test_the_log_clock_takes_an_instant(run, workspace):
    log = {"clock.mode": "log"}
    run("topics", "apply", **log)
    args = ("journeys", "apply", str(workspace), "--at", "2026-01-01T00:00:00Z")
    code, out, err = run(*args, "--output", "json", **log)
    assert code == 0, err
    assert json.loads(out)["changed"] is True


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-03-01T08:00:00Z", 1_772_352_000_000),
        ("2026-03-01T09:00:00.5+01:00", 1_772_352_000_500),
        ("1772352000000", 1_772_352_000_000),
    ],
)
def test_an_instant_is_iso_with_offset_or_milliseconds(text, at):
    assert Instant().convert(text, None, None) == at


@pytest.mark.parametrize("text", ["tomorrow", "2026-03-01T08:00:00", "0", "1969-01-01T00:00:00Z"])
def test_anything_else_is_no_instant(text):
    with pytest.raises(cli.click.BadParameter):
        Instant().convert(text, None, None)
