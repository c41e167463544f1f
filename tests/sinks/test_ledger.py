"""The ledger's local copy: what it keeps, and what it forgets."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from time import time
from typing import Any

import pytest

from orchestrator.codec import open_codec
from orchestrator.records import Delivery
from orchestrator.settings import Settings, load_settings
from orchestrator.sinks import ledger as ledgers
from orchestrator.sinks.ledger import SWEEP_ROWS, SWEEP_S, TTL_S, Ledger, LedgerDamaged


@pytest.fixture
def settings(tmp_path: Any) -> Settings:
    return load_settings(env={}, flags={"worker.data_dir": str(tmp_path), "dev": "true"})


def opened(settings: Settings) -> Ledger:
    """A ledger whose local copy alone is used: no Kafka."""
    return Ledger(settings, open_codec(settings), "email", 0, lambda: None)


def keep(ledger: Ledger, *names: str) -> None:
    ledger._keep((n.encode(), Delivery(action_id=n, state="sent", at=0, attempts=1)) for n in names)


def test_rows_outlive_reopenings_and_compactions(settings: Settings) -> None:
    """RocksDB's own expiry once dropped everything in a compaction: e-mails went out twice."""
    for n in range(6):
        ledger = opened(settings)
        keep(ledger, f"a{n}")
        ledger._rows().flush()
        ledger._rows().compact_range(None, None)
        assert all(ledger.get(f"a{i}") for i in range(n + 1))
        ledger.close()


def test_a_row_is_forgotten_after_its_topic_has(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pass a day, a little of it at each commit; younger rows and the offset stay."""
    ledger, began = opened(settings), int(time())
    keep(ledger, *(f"old{n:05}" for n in range(SWEEP_ROWS + 10)))
    monkeypatch.setattr(ledgers, "time", lambda: began + TTL_S - 100)
    keep(ledger, "young")
    ledger._sweep(began + TTL_S + 100)
    assert ledger.get("old00000") is None
    assert ledger.get(f"old{SWEEP_ROWS + 9:05}") is not None
    ledger._sweep(began + TTL_S + 101)
    assert ledger.get(f"old{SWEEP_ROWS + 9:05}") is None
    assert ledger.get("young") is not None
    assert ledgers._OFFSET in ledger._rows()
    late = began + 2 * TTL_S + 200
    ledger._sweep(began + TTL_S + SWEEP_S)  # not yet: the pass has ended less than a day ago
    assert ledger.get("young") is not None
    ledger._sweep(late)
    assert ledger.get("young") is None
    ledger.close()


def test_a_damaged_copy_is_given_up_for_the_topic(settings: Settings) -> None:
    """Whichever byte of a table is another: no row is taken for missing, and the next start begins anew."""
    ledger = opened(settings)
    keep(ledger, "a1", "a2")
    ledger._rows().flush()
    ledger.close()
    (table,) = ledger._path.glob("*.sst")
    sound, found_out = table.read_bytes(), 0
    for at in range(0, len(sound), 40):
        harmed = bytearray(sound)
        harmed[at] ^= 0xFF
        table.write_bytes(harmed)
        ledger = opened(settings)
        try:
            assert ledger.get("a1")
            ledger.close()
        except LedgerDamaged:
            found_out += 1
            ledger.close()
            shutil.copytree(ledger._path, spare := ledger._path.with_name("spare"))
            assert ledger.get("a1") is None, "it is empty: it asks the topic"
            assert ledger._written == 0
            ledger.close()
            shutil.rmtree(ledger._path)
            spare.rename(ledger._path)
            ledger._damaged.unlink()
    assert found_out


def test_a_cut_file_never_takes_rows_that_are_older_than_the_offset(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The copy is refused, or is as it was at one flush: what is missing is read from the topic.

    RocksDB takes a manifest that was cut for an older one, in silence; rows in the middle were gone
    while the offset was the newest.
    """
    monkeypatch.setattr(ledgers, "FLUSH_ROWS", 20)  # ten commits of a row and the offset
    ledger = opened(settings)
    for n in range(36):
        ledger._written = n + 1
        keep(ledger, f"a{n:02}")
    crashed = tmp_path / "crashed"
    shutil.copytree(ledger._path, crashed)
    ledger.close()
    told = set()
    for file in sorted(crashed.iterdir()):
        if not file.name.startswith(("MANIFEST", "CURRENT")) and file.suffix != ".sst":
            continue
        for length in range(-1, file.stat().st_size, 40 if file.suffix else 7):
            shutil.rmtree(ledger._path)
            shutil.copytree(crashed, ledger._path)
            harmed = ledger._path / file.name
            if length < 0:
                harmed.unlink()
            else:
                os.truncate(harmed, length)
            told.add(read_back(settings))
    assert None in told, "some cuts are found out"
    assert told - {None} == {0, 10, 20, 30}, "others leave an older flush, or nothing"


def read_back(settings: Settings) -> int | None:
    """Return how far a copy goes after a look at all of it; None if it is refused."""
    ledger = opened(settings)
    try:
        known = [n for n in range(36) if ledger.get(f"a{n:02}")]
        offset = int.from_bytes(ledger._rows().get(ledgers._OFFSET) or b"", "big")
    except LedgerDamaged:
        return None
    finally:
        ledger.close()
    assert known == list(range(offset))
    return offset
