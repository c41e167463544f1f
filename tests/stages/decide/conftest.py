"""A small world for the decide stage: definitions as plain Python, one customer, a virtual clock."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from orchestrator.expressions import ANYTHING, Environment, Names, compile_expression
from orchestrator.expressions.durations import Duration, parse_duration
from orchestrator.records import Action, Decision, Event
from orchestrator.stages import catalog as c
from orchestrator.stages.decide import Decide
from orchestrator.stages.protocol import Input
from orchestrator.testing.harness import Harness

_ENVIRONMENT = Environment(
    profile=Names({"heat": "double", "visits": "long"}, open=True),
    event=ANYTHING,
    entry=ANYTHING,
    latest=ANYTHING,
    any_step=True,
    steps={},
    timed=frozenset({"heat", "visits"}),
)


def instant(text: str) -> int:
    """Epoch ms of an ISO instant; without offset it is Berlin's wall time."""
    when = datetime.fromisoformat(text)
    if when.tzinfo is None:
        from zoneinfo import ZoneInfo

        when = when.replace(tzinfo=ZoneInfo("Europe/Berlin"))
    return int(when.timestamp() * 1000)


class Definitions:
    """Makes catalogs. Everything that is not said has the language's default."""

    ex = staticmethod(lambda text: None if text is None else compile_expression(text, _ENVIRONMENT))
    when = staticmethod(lambda text: compile_expression(text, _ENVIRONMENT, watched=True))
    dur = staticmethod(parse_duration)

    def pattern(self, on: str | tuple[str, ...] = (), **more: Any) -> c.Pattern:
        on = (on,) if isinstance(on, str) else on
        if "when" in more:
            more["when"] = self.when(more["when"])
        if "if_" in more:
            more["condition"] = self.ex(more.pop("if_"))
        return c.Pattern(on=on, **more)

    def message(self, name: str, **more: Any) -> c.Message:
        class_ = more.get("class_", "promotional")
        promotional = class_ == "promotional"
        mandatory = class_ == "mandatory"
        defaults: dict[str, Any] = {
            "category": "news",
            "definition": f"hash-{name}",
            "obeys_caps": promotional,
            "counts_to_caps": promotional,
            "obeys_quiet_hours": not mandatory,
            "cancel_on_exit": promotional,
            "expires": Duration(7, 0),
            "repeat": "never" if promotional else "always",
            "content": {ch: {} for ch in ("email", "push", "inapp", "sales")},
        }
        if isinstance(more.get("obsolete_if"), str):
            more["obsolete_if"] = self.ex(more["obsolete_if"])
        return c.Message(name=name, **{**defaults, **more})

    def steps(self, *steps: tuple[str, Any] | tuple[str, Any, dict[str, Any]]) -> dict[str, Any]:
        """``(id, do)`` or ``(id, do, {then, condition, was})``; ``then`` is the next in the list."""
        made = {}
        for number, (step_id, do, *rest) in enumerate(steps):
            more = dict(rest[0]) if rest else {}
            following = steps[number + 1][0] if number + 1 < len(steps) else None
            if "if_" in more:
                more["condition"] = self.ex(more.pop("if_"))
            made[step_id] = c.Step(id=step_id, do=do, **{"then": following, **more})
        return made

    def send(self, message: str, *channels: str, **more: Any) -> c.Send:
        if isinstance(more.get("value"), str):
            more["value"] = self.ex(more["value"])
        return c.Send(message=message, channels=channels or ("email",), **more)

    def journey(self, name: str, entry: Any, *steps: Any, **more: Any) -> c.Journey:
        if isinstance(entry, str):
            entry = c.EntryRule(on=(entry,), re_entry="always")
        made = self.steps(*steps)
        defaults: dict[str, Any] = {"version": f"{name}-1", "max_life": Duration(365, 0)}
        return c.Journey(
            name=name, entry=entry, steps=made, first=steps[0][0], **{**defaults, **more}
        )

    def policy(self, **more: Any) -> c.Policy:
        channels = {
            "email": c.Channel(name="email", address=self.ex("profile.email")),
            "push": c.Channel(name="push", address=self.ex("profile.push_token")),
            "inapp": c.Channel(name="inapp", needs_consent=False),
            "sales": c.Channel(name="sales", audience="internal", needs_consent=False),
        }
        channels |= more.pop("channels", {})
        defaults: dict[str, Any] = {
            "timezone": "Europe/Berlin",
            "channels": channels,
            "consent_default": {"news": "opt_out", "offers": "opt_in"},
            "spread_ms": 0,
        }
        return c.Policy(**{**defaults, **more})

    def catalog(
        self,
        *journeys: c.Journey,
        messages: Any = (),
        policy: c.Policy | None = None,
        traits: tuple[c.Trait, ...] = (),
        **more: Any,
    ) -> c.Catalog:
        plain = {
            name: c.Trait(name=name, kind="plain", type="string")
            for name in ("email", "push_token", "timezone", "country", "plan", "name")
        }
        known = plain | {trait.name: trait for trait in traits}
        by_event: dict[str, tuple[str, ...]] = {}
        for trait in traits:
            for type_ in {*trait.on, *trait.scores}:
                by_event[type_] = (*by_event.get(type_, ()), trait.name)
        by_name = {journey.name: journey for journey in journeys}
        entries: dict[str, tuple[str, ...]] = {}
        absences: dict[str, tuple[str, ...]] = {}
        for name in sorted(by_name):
            rule = by_name[name].entry
            for type_ in rule.on:
                entries[type_] = (*entries.get(type_, ()), name)
            if rule.absence_of:
                absences[rule.absence_of] = (*absences.get(rule.absence_of, ()), name)
        names = {m if isinstance(m, str) else m.name for m in messages}
        made = [self.message(m) if isinstance(m, str) else m for m in messages]
        for journey in journeys:
            for step in journey.steps.values():
                sends = [step.do] if isinstance(step.do, c.Send) else []
                if isinstance(step.do, c.Choose):
                    sends = [option.send for option in step.do.among]
                for send in sends:
                    if send.message not in names:
                        names.add(send.message)
                        made.append(self.message(send.message))
        defaults: dict[str, Any] = {
            "hash": "catalog-1",
            "timezone_trait": "timezone",
            "traits": known,
            "policy": policy or self.policy(),
            "messages": {message.name: message for message in made},
            "journeys": by_name,
            "entries_by_event": entries,
            "entries_when": tuple(n for n in sorted(by_name) if by_name[n].entry.when),
            "absences_by_event": absences,
            "traits_by_event": by_event,
        }
        return c.Catalog(**{**defaults, **more})


class World:
    """One customer on a virtual clock; every line is checked against the laws of the stage.

    Between any two inputs the state is encoded and decoded, which must change nothing.
    """

    def __init__(
        self, catalog: c.Catalog, at: str = "2026-03-02T10:00", *, accept: bool = True
    ) -> None:
        self.harness = Harness(Decide(assume_accepted=accept), catalog, instant(at))
        self.decisions: list[Decision] = []
        self.actions: list[Action] = []
        self.emitted: list[Any] = []
        self._count = 0
        self.tell("customer.updated", email="anna@example.com", push_token="t-1")

    @property
    def now(self) -> int:
        return self.harness.now

    @property
    def state(self):
        return self.harness.states["anna"]

    def tell(
        self,
        type_: str,
        *,
        at: str | int | None = None,
        after: str | None = None,
        id_: str | None = None,
        occurred_at: str | None = None,
        backfill: bool = False,
        customer: str = "anna",
        **properties: Any,
    ) -> list[str]:
        """Append an event; return what was decided since the line before, in short form."""
        when = self._when(at, after)
        self._count += 1
        event = Event(
            event_id=id_ or f"e{self._count}",
            type=type_,
            occurred_at=instant(occurred_at) if occurred_at else when,
            identities={"account": customer},
            source="test",
            properties=properties,
        )
        item = Input(key=customer, record=event, backfill=backfill)
        return self._note(self.harness.append(item, when))

    def append(self, item: Input, at: str | int | None = None) -> list[str]:
        return self._note(self.harness.append(item, self._when(at, None)))

    def receipt(self, status: str, action: Action | None = None, **more: Any) -> list[str]:
        action = action or [one for one in self.actions if one.kind == "send"][-1]
        return self.tell(f"message.{status}", action_id=action.action_id, **more)

    def pass_time(self, after: str | None = None, *, to: str | int | None = None) -> list[str]:
        return self._note(self.harness.advance(self._when(to, after)))

    def apply(self, catalog: c.Catalog, at: str | None = None) -> list[str]:
        return self._note(self.harness.switch(catalog, self._when(at, None)))

    def _when(self, at: str | int | None, after: str | None) -> int:
        if isinstance(at, str):
            return instant(at)
        if at is not None:
            return at
        if after is not None:
            from orchestrator.stages.calendar import calendar_for

            return calendar_for("Europe/Berlin").add(self.now, parse_duration(after))
        return self.now

    def _note(self, outputs) -> list[str]:
        lines = []
        for _, emit in outputs:
            self.emitted.append(emit)
            if isinstance(emit.record, Decision):
                self.decisions.append(emit.record)
                lines.append(short(emit.record))
            elif isinstance(emit.record, Action):
                self.actions.append(emit.record)
        stage = self.harness.stage
        for key, state in self.harness.states.items():
            data = stage.encode(state)
            again = stage.decode(data)
            assert stage.encode(again) == data, "a checkpoint between two inputs changes the bytes"
            assert again == state, "a checkpoint between two inputs changes the state"
            for entry in state.entries:
                assert entry.parked, f"{entry.journey} has neither a wake-up nor ended"
            assert state.due == 0 or state.due > self.now, (state.due, self.now)
            self.harness.states[key] = again
        assert not self.harness.dead_letters, self.harness.dead_letters
        assert len({one.decision_id for one in self.decisions}) == len(self.decisions)
        return lines

    def last(self, outcome: str) -> Decision:
        return [one for one in self.decisions if one.outcome == outcome][-1]


def short(decision: Decision) -> str:
    """``outcome subject[/channel] [reason]``: what tests read."""
    subject = decision.message or decision.journey
    channel = f"/{decision.channel}" if decision.channel else ""
    reason = f" {decision.reason}" if decision.reason else ""
    return f"{decision.outcome} {subject}{channel}{reason}"


@pytest.fixture(scope="session")
def define() -> Definitions:
    return Definitions()


@pytest.fixture(scope="session")
def world():
    return World


@pytest.fixture(scope="session")
def at():
    return instant


__all__ = ["Definitions", "World", "replace", "short"]
