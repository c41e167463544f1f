"""What the heap is asked to do for speed: large pages where memory is dense, and nowhere else."""

import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.engine import memory
from orchestrator.engine.memory import HUGE, THREADS_HEAP, Area, LargePages, areas, worth_it

ENABLED = Path("/sys/kernel/mm/transparent_hugepage/enabled")
SMAPS = """\
55d0c0a00000-55d0c0c00000 r-xp 00001000 fe:00 1234                       /usr/bin/python3
Size:               2048 kB
Rss:                2048 kB
AnonHugePages:         0 kB
VmFlags: rd ex mr
55d0c1000000-55d0c1800000 rw-p 00000000 00:00 0                          [heap]
Size:               8192 kB
Rss:                8000 kB
AnonHugePages:      2048 kB
7f0000000000-7f0000800000 rw-p 00000000 00:00 0
Size:               8192 kB
Rss:                  16 kB
AnonHugePages:         0 kB
7f0001000000-7f0001400000 rw-p 00000000 00:00 0                          [stack]
Rss:                4096 kB
AnonHugePages:         0 kB
7f0002000000-7f0002400000 rw-s 00000000 00:01 77                         /dev/shm/x
Rss:                4096 kB
AnonHugePages:         0 kB
"""


def test_only_private_memory_without_a_file_is_seen():
    assert list(areas(SMAPS)) == [
        Area(0x55D0C1000000, 0x55D0C1800000, 8000 * 1024, 2048 * 1024),
        Area(0x7F0000000000, 0x7F0000800000, 16 * 1024, 0),
    ]


@pytest.mark.parametrize(
    ("area", "part"),
    [
        (Area(HUGE, 5 * HUGE, 4 * HUGE, HUGE), (HUGE, 4 * HUGE)),
        (Area(4096, 4 * HUGE + 4096, 4 * HUGE, 0), (HUGE, 3 * HUGE)),  # whole pages alone
        (Area(THREADS_HEAP, THREADS_HEAP + 4 * HUGE, 4 * HUGE, 0), None),  # of another thread
        (Area(HUGE, 5 * HUGE, 2 * HUGE, 0), None),  # sparse: it would only grow
        (Area(HUGE, 5 * HUGE, 4 * HUGE, 4 * HUGE), None),  # done already
        (Area(HUGE, HUGE + HUGE // 2, HUGE // 2, 0), None),  # too small
    ],
)
def test_what_is_worth_it(area, part):
    assert worth_it(area) == part


@pytest.mark.skipif(
    not ENABLED.exists() or "[never]" in ENABLED.read_text(),
    reason="this system has no transparent large pages",
)
def test_a_large_heap_is_mapped_in_large_pages():
    """In a process of its own: what is mapped here depends on all tests before."""
    code = """
from pathlib import Path
from orchestrator.engine.memory import LargePages, areas
heap = [bytes(500) for _ in range(200_000)]
look = lambda: [sum(x) for x in zip(*areas(Path("/proc/self/smaps").read_text()))][2:]
before, _ = look()
LargePages().look()
after, huge = look()
print(before, after, huge)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    before, after, huge = map(int, done.stdout.split())
    assert huge > 50_000_000
    assert after < before * 4 / 3 + HUGE


def test_it_looks_until_it_is_told_to_stop(monkeypatch, tmp_path):
    looks = []
    enabled = tmp_path / "enabled"
    enabled.write_text("always [madvise] never\n")
    monkeypatch.setattr(memory, "_ENABLED", enabled)
    pages = LargePages(period_s=0.001)

    def look():
        looks.append(1)
        if len(looks) == 3:
            pages.stop()

    monkeypatch.setattr(pages, "look", look)
    pages.run()
    assert len(looks) == 3


@pytest.mark.parametrize("text", ["always madvise [never]\n", None])
def test_a_system_that_does_not_want_them_is_left_alone(monkeypatch, tmp_path, text):
    enabled = tmp_path / "enabled"
    if text is not None:
        enabled.write_text(text)
    monkeypatch.setattr(memory, "_ENABLED", enabled)
    pages = LargePages()
    monkeypatch.setattr(pages, "look", lambda: pytest.fail("it looked"))
    pages.run()
