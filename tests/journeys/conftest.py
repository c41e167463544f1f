"""A small sound workspace to change one thing in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

FILES = {
    "events.yaml": """\
trial.started: {plan: string, started_at: timestamp}
pricing.viewed: {plan: string}
order.placed: {order_id: string, amount: double, paid: boolean}
feature.used: {}
""",
    "profile.yaml": """\
identities: {primary: account_id, also: [email]}
timezone: profile.timezone
traits:
  email: {type: string}
  timezone: {type: string}
  plan: {type: string, default: free}
  vip: {type: boolean}
  trial_ends: {type: timestamp}
  orders: {count: order.placed}
  recent: {count: feature.used, window: P7D}
  spent: {sum: order.placed, take: event.amount, if: event.paid}
  heat: {score: {pricing.viewed: 3, feature.used: 1}, half_life: P3D}
""",
    "policy.yaml": """\
timezone: Europe/Berlin
channels:
  email: {address: profile.email}
  inapp: {needs_consent: false}
  sales: {audience: internal}
consent: {default: {news: opt_in}}
""",
    "messages/hello.yaml": """\
message: hello
category: news
channels:
  email: {subject: Hello, text: "Your plan: {{ profile.plan }}"}
  inapp: {title: Hello}
""",
    "messages/alert.yaml": """\
message: alert
category: internal
class: mandatory
channels:
  sales: {text: "Plan {{ profile.plan }}"}
""",
    "journeys/welcome.yaml": """\
journey: welcome
entry: {on: trial.started}
steps:
  - {id: first, send: {message: hello, channel: email}}
  - {id: pause, wait: {for: P1D}}
  - {id: second, send: {message: alert, channel: sales}}
""",
}


class Sound:
    """The workspace on disk; ``FILES`` by path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: Mapping[str, str] = FILES
        for name, text in FILES.items():
            self.write(name, text)

    def write(self, name: str, text: str) -> None:
        """Write one file."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def change(self, name: str, old: str, new: str) -> None:
        """Change one thing in one file."""
        text = (self.folder / name).read_text(encoding="utf-8")
        assert old in text
        self.write(name, text.replace(old, new, 1))

    def findings(self) -> list[str]:
        """Return what is to be said of it, the folder's own path left out."""
        from orchestrator.journeys import check_workspace

        report = check_workspace(self.folder)
        return [str(each).replace(f"{self.folder}/", "") for each in report.diagnostics]


@pytest.fixture
def sound(tmp_path: Path) -> Sound:
    """A workspace without findings."""
    return Sound(tmp_path)
