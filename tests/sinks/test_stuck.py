"""A call that never ends is noticed, once; one that ends is forgotten."""

from __future__ import annotations

import subprocess
import sys
import threading

from orchestrator.sinks.stuck import StuckCalls


def test_a_call_that_ends_is_forgotten_and_one_that_does_not_is_told_once() -> None:
    told: list[str] = []
    noticed, end = threading.Event(), threading.Event()

    def stuck(why: str) -> None:
        told.append(why)
        noticed.set()

    watch = StuckCalls(stuck, looks=3, look_s=0.005)
    watch.start()
    with watch.bounded():
        pass

    def hang() -> None:
        with watch.bounded():
            end.wait()

    hanging = threading.Thread(target=hang)
    hanging.start()
    assert noticed.wait(60)
    end.set()
    hanging.join()
    watch.stop()
    watch.join()
    assert told == ["a call of Kafka's client has not ended after 3 looks"]
    assert watch._running == {}


def test_the_process_ends_although_a_thread_hangs() -> None:
    """Nothing waits for the call: not the pool's threads, not the loop's executor."""
    code = """
import threading
from concurrent.futures import ThreadPoolExecutor
from orchestrator.sinks.stuck import StuckCalls
watch = StuckCalls(looks=2, look_s=0.01)
watch.start()
def hang():
    with watch.bounded():
        threading.Event().wait()
ThreadPoolExecutor().submit(hang).result()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 70
    assert "resolved by on_unknown" in done.stdout + done.stderr
