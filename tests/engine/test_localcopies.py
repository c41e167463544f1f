"""What ``state check`` finds in a copy on a disk, with the worker stopped."""

from __future__ import annotations

import pytest

from orchestrator.engine import meta as metas
from orchestrator.engine.localcopies import LocalCopy
from orchestrator.engine.meta import Meta
from orchestrator.engine.ports import StateWrite, TaskId
from orchestrator.engine.store import Stores

TASK = TaskId("decide", 1)
STATES = {b"a": (7).to_bytes(8, "big") + b"armed", b"b": bytes(8) + b"not"}


@pytest.fixture
def slot(tmp_path):
    """A slot with a sound copy."""
    store = Stores(tmp_path).open(TASK)
    digest = metas.add_to_digest(0, sum(metas.state_hash(k, v) for k, v in STATES.items()))
    head = Meta(seq=3, digest=digest, verified=True)
    store.write([StateWrite(k, v, 0) for k, v in STATES.items()], metas.encode(head))
    store.close()
    return tmp_path


def spoil(slot, write: StateWrite | None, stale: tuple[bytes, ...] = ()) -> None:
    store = Stores(slot).open(TASK)
    store.write([write] if write else [], store.meta() or b"", stale)
    store.close()


def test_a_sound_copy_has_no_findings(slot):
    """Head and nothing else; and the look leaves it as it was."""
    for _ in range(2):
        meta, wrong = LocalCopy(slot, TASK).check()
        assert (meta.seq, wrong) == (3, [])


def test_a_changed_state_and_a_lost_timer_are_told_apart(slot):
    """The digest tells of states alone; a timer that is not in the index would never fire."""
    spoil(slot, None, (STATES[b"a"][:8] + b"a",))
    assert LocalCopy(slot, TASK).check()[1] == ["1 armed states are missing in its index of timers"]
    spoil(slot, StateWrite(b"b", bytes(8) + b"else", 0))
    assert len(LocalCopy(slot, TASK).check()[1]) == 2


def test_damage_is_a_finding(slot):
    """Also where only an iteration comes by."""
    Stores(slot).open(TASK).close()  # the log becomes tables
    for table in (slot / str(TASK)).glob("*.sst"):
        data = bytearray(table.read_bytes())
        data[0] ^= 0xFF
        table.write_bytes(data)
    _, wrong = LocalCopy(slot, TASK).check()
    assert len(wrong) == 1
    assert "Corruption" in wrong[0]
