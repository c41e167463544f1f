"""The sum of all trials, over campaigns of many hours: a file of JSON lines, added to.

A trial counts once its series has a verdict. What never came to its moment is no trial.
"""

from __future__ import annotations

import json
import shutil
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from faults import KILLS as TOY_KILLS
from faults_product import KILLS as WHOLE_KILLS

KILLS = TOY_KILLS | WHOLE_KILLS


@dataclass
class Tally:
    """See the module docstring. Without a file it keeps to itself."""

    file: Path | None = None
    trials: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    """Not reached."""
    takeovers: dict[str, list[float]] = field(default_factory=dict)
    """Seconds from the harm until every partition runs again."""
    violations: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _series: dict[str, list[dict]] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path) -> Tally:
        """Return what a file holds."""
        tally = cls()
        for line in file.read_text().splitlines():
            tally._take(json.loads(line))
        return tally

    def trial(self, series: str, fault: str, what: str, *, reached: bool, takeover: float) -> None:
        """Note one trial of a series."""
        self._note(
            {
                "series": series,
                "fault": fault,
                "what": what,
                "reached": reached,
                "takeover": round(takeover, 2),
            }
        )

    def verdict(self, series: str, violation: str | None, events: int, commit: str) -> None:
        """End a series: what has been noted of it counts from now on."""
        self._note({"series": series, "violation": violation, "events": events, "commit": commit})

    def keep(self, series: str, logs: list[Path]) -> None:
        """Keep the logs of a series that was broken."""
        if self.file is None:
            return
        kept = self.file.with_name(f"{self.file.name}-logs") / series.replace("/", "-")
        kept.mkdir(parents=True, exist_ok=True)
        for log in logs:
            shutil.copy(log, kept)

    def _note(self, line: dict) -> None:
        with self._lock:
            self._take(line)
            if self.file is not None:
                with self.file.open("a") as file:
                    file.write(json.dumps(line) + "\n")

    def _take(self, line: dict) -> None:
        if "fault" in line:
            self._series.setdefault(line["series"], []).append(line)
            return
        for trial in self._series.pop(line["series"], []):
            name = trial["fault"]
            if not trial["reached"]:
                self.missed[name] += 1
                continue
            self.trials[name] += 1
            self.takeovers.setdefault(name, []).append(trial["takeover"])
        if line["violation"]:
            first = line["violation"].splitlines()[0]
            self.violations.append(f"series {line['series']}: {first}")

    def summary(self) -> str:
        """Return the figures by fault, then the last line: the verdict."""
        lines = [
            f"{name:18} {count:4} trials, running again p50 {median(self.takeovers[name]):5.1f} "
            f"max {max(self.takeovers[name]):5.1f} s"
            for name, count in sorted(self.trials.items())
        ]
        lines += [f"{name:18} {n:4} not reached" for name, n in sorted(self.missed.items())]
        kills = [seconds for name in KILLS for seconds in self.takeovers.get(name, ())]
        if kills:
            lines.append(
                f"kill -9 in all     {len(kills):4} trials, running again p50 {median(kills):5.1f} "
                f"max {max(kills):5.1f} s"
            )
        trials, violations = self.trials.total(), len(self.violations)
        bound = f"{300 / trials:.1f}" if trials and not violations else "-"
        lines.append(f"trials {trials} violations {violations} bound {bound} %")
        return "\n".join(lines)
