"""A real year of real households through the pure pipeline.

The data is not part of this repository; without it these tests are skipped.
"""

from __future__ import annotations

import csv
import gzip
import json
import sys
from collections import defaultdict
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import yaml

from orchestrator.cli import run
from orchestrator.cli._mappings import file_mappers
from orchestrator.journeys import load_workspace
from orchestrator.records import Action, Decision
from orchestrator.sources.inputs import by_time
from orchestrator.sources.mappings.files import open_files
from orchestrator.testing.simulation import simulate

ROOT = Path(__file__).parents[2]
RETAIL = ROOT / "deploy" / "example-retail"
DATA = ROOT.parent / "shared" / "data"
ZONE = "America/New_York"
UNTIL = 1519862400000  # 2018-03-01T00:00:00Z

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not (DATA / "cj_transactions_sample.csv.gz").exists(),
        reason="the Complete Journey data is not here (../shared/data)",
    ),
]


@pytest.fixture(scope="module")
def mapped():
    """What the workspace's mappings make of the raw files, by time."""
    mappers = file_mappers(load_workspace(RETAIL), RETAIL)
    return [one.event for one in by_time(open_files(mappers, DATA))]


@pytest.fixture(scope="module")
def told(mapped):
    """Tally and everything that left, of one run in this process."""
    left = []
    tally = simulate(load_workspace(RETAIL).catalog, mapped, until=UNTIL, each=left.append)
    return tally, [output.emit.record for output in left]


def table(name):
    """The rows of one table, by Python's own reader."""
    with gzip.open(DATA / f"cj_{name}.csv.gz", "rt", encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def by_hand():
    """(wall time, rank, type, properties) of every row, written without the product."""
    for row in table("demographics"):
        names = ("household_id", "age", "income", "household_comp")
        yield (
            "2016-11-01 00:00:00",
            0,
            "customer.updated",
            {key: row[key] for key in names if row[key]},
        )
    campaigns = {row["campaign_id"]: row for row in table("campaign_descriptions")}
    for row in table("campaigns"):
        campaign = campaigns[row["campaign_id"]]
        told = {"campaign_type": campaign["campaign_type"], "ends_at": campaign["end_date"]}
        yield f"{campaign['start_date']} 06:00:00", 1, "campaign.mailed", {**row, **told}
    for row in table("coupon_redemptions"):
        day = row.pop("redemption_date")
        yield f"{day} 12:00:00", 2, "coupon.redeemed", row
    departments = {row["product_id"]: row["department"] for row in table("products")}
    for row in table("transactions_sample"):
        told = {key: row[key] for key in ("household_id", "basket_id", "product_id", "store_id")}
        told["department"] = departments.get(row["product_id"], "")
        told |= {"quantity": int(float(row["quantity"])), "amount": float(row["sales_value"])}
        yield row["transaction_timestamp"], 3, "product.purchased", told


def instant(wall):
    """The contract: a wall time in a gap is the first instant behind it (21 receipts, 2017-03-12)."""
    if "2017-03-12 02:00:00" <= wall < "2017-03-12 03:00:00":
        wall = "2017-03-12 03:00:00"
    at = datetime.fromisoformat(wall).replace(tzinfo=ZoneInfo(ZONE))
    return int(at.timestamp() * 1000)


def test_mappings_make_the_events_that_one_writes_by_hand(mapped):
    """Event for event, in the same order: types, times, identities, properties and their types."""
    expected = [(instant(wall), rank, type_, told) for wall, rank, type_, told in by_hand()]
    expected.sort(key=lambda row: row[:2])
    assert len(mapped) == len(expected)
    for event, (at, _, type_, told) in zip(mapped, expected, strict=True):
        who = {"household_id": told["household_id"]}
        assert (event.occurred_at, event.type, event.identities) == (at, type_, who)
        assert event.properties == told
        assert list(map(type, event.properties.values())) == [
            type(told[name]) for name in event.properties
        ]
    assert len({(event.source, event.event_id) for event in mapped}) == len(mapped)


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


def test_the_command_line_makes_the_same_decisions_in_the_same_order(told, tmp_path, capsys):
    """A second run, from the raw files: the same ids, each once."""
    file = tmp_path / "decisions"
    options = f"--data {DATA} --until 2018-03-01T00:00:00Z --decisions {file} --output json"
    assert run(["simulate", str(RETAIL), *options.split()]) == 0
    assert json.loads(capsys.readouterr().out)["events"] == 84_492
    decisions = [record.decision_id for record in told[1] if isinstance(record, Decision)]
    ids = [json.loads(line)["decision_id"] for line in file.read_bytes().splitlines()]
    assert ids == decisions
    assert len(set(ids)) == len(ids)
