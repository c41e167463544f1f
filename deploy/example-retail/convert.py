#!/usr/bin/env python3
"""Turn the public "Complete Journey" retail data into canonical events, sorted by time.

    python deploy/example-retail/convert.py DATA_DIR events.ndjson.gz

DATA_DIR holds the data set's tables as ``cj_*.csv.gz``. The data is real: one year (2017) of a grocery
chain's loyalty households. It is not part of this repository; get it from 84.51 or from the CC0
package ``completejourney``. Nothing is invented here but the hours that the data lacks:

    transactions        -> product.purchased    one event for each line of a receipt
    campaigns           -> campaign.mailed      one for each household, 06:00 on the campaign's first day
    coupon_redemptions  -> coupon.redeemed      12:00 on the day; the till knew the hour, the data does not
    demographics        -> customer.updated     once, at the beginning

The data names no time zone; its wall times are read as the chain's own, America/New_York.
"""

from __future__ import annotations

import csv
import gzip
import json
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

ZONE = ZoneInfo("America/New_York")
UTC = ZoneInfo("UTC")
BEGINNING = "2016-11-01 00:00:00"
MAILED_AT, REDEEMED_AT = "06:00:00", "12:00:00"


class Row(NamedTuple):
    """One event before it is written; rows sort by time, then by table, then by line."""

    at: datetime
    rank: int
    line: int
    type: str
    household: str
    properties: dict[str, str | int | float]


def rows(folder: Path) -> Iterator[Row]:
    """Yield every row of the four tables as an event."""
    for line, row in table(folder, "demographics"):
        known = {key: row[key] for key in ("age", "income", "household_comp") if row[key]}
        yield Row(instant(BEGINNING), 0, line, "customer.updated", row["household_id"], {**known})
    campaigns = {row["campaign_id"]: row for _, row in table(folder, "campaign_descriptions")}
    for line, row in table(folder, "campaigns"):
        campaign = campaigns[row["campaign_id"]]
        yield Row(
            instant(f"{campaign['start_date']} {MAILED_AT}"),
            1,
            line,
            "campaign.mailed",
            row["household_id"],
            {
                "campaign_id": row["campaign_id"],
                "campaign_type": campaign["campaign_type"],
                "ends_at": campaign["end_date"],
            },
        )
    for line, row in table(folder, "coupon_redemptions"):
        yield Row(
            instant(f"{row['redemption_date']} {REDEEMED_AT}"),
            2,
            line,
            "coupon.redeemed",
            row["household_id"],
            {"campaign_id": row["campaign_id"], "coupon_upc": row["coupon_upc"]},
        )
    departments = {row["product_id"]: row["department"] for _, row in table(folder, "products")}
    for line, row in table(folder, "transactions_sample"):
        yield Row(
            instant(row["transaction_timestamp"]),
            3,
            line,
            "product.purchased",
            row["household_id"],
            {
                "basket_id": row["basket_id"],
                "product_id": row["product_id"],
                "department": departments.get(row["product_id"], ""),
                "store_id": row["store_id"],
                "quantity": int(float(row["quantity"])),
                "amount": float(row["sales_value"]),
            },
        )


def table(folder: Path, name: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line number, row) of one table."""
    with gzip.open(folder / f"cj_{name}.csv.gz", "rt", encoding="utf-8", newline="") as file:
        yield from enumerate(csv.DictReader(file), start=2)


def instant(text: str) -> datetime:
    """Return a wall time of the data as an instant."""
    return datetime.fromisoformat(text).replace(tzinfo=ZONE).astimezone(UTC)


def line_of(row: Row) -> str:
    """Return the canonical event of a row as one line of JSON."""
    event = {
        "event_id": f"{row.type}:{row.line}",
        "type": row.type,
        "occurred_at": row.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "identities": {"household_id": row.household},
        "source": "retail",
        "properties": {"household_id": row.household, **row.properties},
    }
    return json.dumps(event, separators=(",", ":")) + "\n"


def main(folder: str, target: str) -> None:
    """Convert ``folder`` into the file ``target`` (``.gz`` is packed); the same input gives the same bytes."""
    ordered = sorted(rows(Path(folder)), key=lambda row: row[:3])
    data = "".join(map(line_of, ordered)).encode()
    Path(target).write_bytes(gzip.compress(data, mtime=0) if target.endswith(".gz") else data)
    print(f"{len(ordered)} events, {ordered[0].at:%Y-%m-%d} to {ordered[-1].at:%Y-%m-%d} -> {target}")  # noqa: T201 - a command


if __name__ == "__main__":
    if len(sys.argv) != 3:  # noqa: PLR2004 - the two arguments
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2])
