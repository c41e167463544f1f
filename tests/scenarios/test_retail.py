"""A real year of real households through the pure pipeline.

The data is not part of this repository; without it these tests are skipped.
"""

from __future__ import annotations

import json
import runpy
import sys
from collections import defaultdict
from pathlib import Path

import pytest
import yaml

from orchestrator.cli import run
from orchestrator.journeys import load_workspace
from orchestrator.records import Action, Decision
from orchestrator.sources.ndjson import file_identity, parse_line, read_lines
from orchestrator.testing.simulation import simulate

ROOT = Path(__file__).parents[2]
RETAIL = ROOT / "deploy" / "example-retail"
DATA = ROOT.parent / "shared" / "data"
ZONE = "America/New_York"
UNTIL = 1519862400000  # 2018-03-01T00:00:00Z

pytestmark = pytest.mark.skipif(
    not (DATA / "cj_transactions_sample.csv.gz").exists(),
    reason="the Complete Journey data is not here (../shared/data)",
)


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    """The data as canonical events, sorted by time."""
    target = tmp_path_factory.mktemp("retail") / "events.ndjson.gz"
    runpy.run_path(str(RETAIL / "convert.py"))["main"](str(DATA), str(target))
    return target


@pytest.fixture(scope="module")
def told(events):
    """Tally and everything that left, of one run in this process."""
    left = []
    identity = file_identity(events)
    parsed = (parse_line(line.data, "retail", identity, line.offset) for line in read_lines(events))
    tally = simulate(load_workspace(RETAIL).catalog, parsed, until=UNTIL, each=left.append)
    return tally, [output.emit.record for output in left]


def test_every_line_counts(told):
    """84,492 events: 75,000 lines of receipts, 6,589 mailings, 2,102 coupons, 801 answers."""
    tally, _ = told
    assert tally.events == 84_492
    assert tally.dead_letters == {}
    assert tally.entries["coupon-reminder"] == 6_589
    assert tally.entries["welcome"] == 2_377


def test_the_policy_holds_for_every_household(told):
    """Counted from the actions alone by a judge that shares no code with the product."""
    sys.path.insert(0, str(ROOT / "tests"))
    from checker import violations

    policy = yaml.safe_load((RETAIL / "policy.yaml").read_text())
    messages = [yaml.safe_load(path.read_text()) for path in RETAIL.glob("messages/*.yaml")]
    classes = {one["message"]: one.get("class", "promotional") for one in messages}
    sends = defaultdict(list)
    for record in told[1]:
        if isinstance(record, Action) and record.kind == "send":
            sends[record.customer_id].append(
                (record.decided_at, record.message, record.channel, record.category)
            )
    assert len(sends) > 2_000
    for household, some in sends.items():
        broken = list(violations(sorted(some), ZONE, policy, classes))
        assert not broken, (household, broken)


def test_silence_is_explained(told):
    """Mailed but not redeemed, capped, obsolete, quiet: what this workspace is about happens."""
    tally, _ = told
    assert set(tally.not_sent) >= {
        "deferred: quiet_hours",
        "deferred: cap",
        "deferred: gap",
        "suppressed: no_consent",
        "suppressed: obsolete",
        "suppressed: already_sent",
        "expired: expired",
    }
    assert tally.not_sent["suppressed: no_consent"] == 2_377


def test_the_command_line_makes_the_same_decisions_in_the_same_order(
    told, events, tmp_path, capsys
):
    """A second run, from the file: the same ids, each once."""
    file = tmp_path / "decisions"
    options = f"--source retail --until 2018-03-01T00:00:00Z --decisions {file} --output json"
    assert run(["simulate", str(RETAIL), "--events", str(events), *options.split()]) == 0
    assert json.loads(capsys.readouterr().out)["events"] == 84_492
    decisions = [record.decision_id for record in told[1] if isinstance(record, Decision)]
    ids = [json.loads(line)["decision_id"] for line in file.read_bytes().splitlines()]
    assert ids == decisions
    assert len(set(ids)) == len(ids)
