"""Say in one screen why a customer got a message, or why not, and when it can be sent next."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click
import msgspec

from orchestrator.cli.customer._reader import CustomerReader
from orchestrator.cli.output import output_option
from orchestrator.explain import because, concerning, instant, sentence, stage_of, told, verdict
from orchestrator.stages.decide.seen import last_heard

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.cli.customer._reader import Found
    from orchestrator.cli.session import Session
    from orchestrator.outlook import Outlook, Prospect, Way
    from orchestrator.records import Decision

SCREEN = 20
"""So many decisions are shown; the newest decide."""


@click.command(
    epilog="Example: orchestrator customer why acme-42 follow-up", short_help="Why, or why not."
)
@click.argument("customer")
@click.argument("message")
@output_option
@click.pass_obj
def command(session: Session, customer: str, message: str) -> None:
    """Explain what became of MESSAGE for CUSTOMER (a customer id, or an identity kind:value).

    First what was decided: at which stage of the pipeline, by which rule, with which values. Then how
    it stands now, by the catalog in force and the customer's own state: which journeys send it, where
    the customer is, what would have to happen, and what would become of the send.
    """
    from orchestrator.cli._catalog import catalog_in_force
    from orchestrator.outlook import outlook

    found = CustomerReader(session.settings).find(customer)
    decisions = concerning(found.decisions, message)
    catalog, _ = catalog_in_force(session.settings)
    log_clock = session.settings.clock.mode == "log"
    now = _log_time(found) if log_clock else time.time_ns() // 1_000_000
    ahead = outlook(found.customer_id, found.state, catalog, message, now)
    answer = verdict(decisions, message)
    if not decisions:
        answer += f": {_at_a_glance(ahead)}"

    def show(console: Console) -> None:
        console.print(answer, style="bold", markup=False)
        for decision in decisions[-SCREEN:]:
            _show_decision(console, decision)
        if len(decisions) > SCREEN:
            console.print(f"\n({len(decisions) - SCREEN} earlier ones: --output json)")
        _show_outlook(console, ahead)

    session.output.result(
        {
            "customer": found.customer_id,
            "message": message,
            "answer": answer,
            "decisions": [
                msgspec.to_builtins(decision)
                | {"because": because(decision), "stage": stage_of(decision.reason or "")}
                for decision in decisions
            ],
            "now": msgspec.to_builtins(ahead),
        },
        show,
    )


def _log_time(found: Found) -> int:
    """Return the newest instant that the log is known to have come to for this customer."""
    told = [decision.decided_at for decision in found.decisions]
    arrived = [entry.arrived for entry in found.state.entries]
    heard = last_heard(found.state.profile)
    return max([found.state.first_seen, heard, *told, *arrived])


def _show_decision(console: Console, decision: Decision) -> None:
    console.print(f"\n{instant(decision.decided_at)}  {sentence(decision)}", markup=False)
    stage = stage_of(decision.reason or "")
    if stage:
        console.print(f"    at {stage}", markup=False, style="dim")
    if decision.journey:
        place = f"journey {decision.journey}, step {decision.step}, entry {decision.entry_id}"
        console.print(f"    {place}", markup=False, style="dim")
    console.print(f"    caused by {decision.caused_by}", markup=False, style="dim")
    for candidate in decision.candidates:
        until = f" until {instant(candidate.until)}" if candidate.until else ""
        rule = f", rule {candidate.rule}" if candidate.rule else ""
        console.print(
            f"    {candidate.name}: {candidate.outcome} {candidate.reason or ''}{rule}{until}",
            markup=False,
        )


# -- how it stands now --------------------------------------------------------------------------


def _at_a_glance(ahead: Outlook) -> str:
    """Return why nothing has been decided yet, in one sentence."""
    if not ahead.known:
        return "the catalog in force has no message of this name"
    if not ahead.prospects:
        return "no journey in force sends it"
    under_way = [one for one in ahead.prospects if one.stands and not one.passed]
    if under_way:
        return f"{under_way[0].journey} is under way and has not come to it"
    if any(one.stands for one in ahead.prospects):
        return "the customer's entry cannot come to a step that sends it any more"
    return (
        f"the customer is not in {' or '.join(dict.fromkeys(p.journey for p in ahead.prospects))}"
    )


def _show_outlook(console: Console, ahead: Outlook) -> None:
    if not ahead.prospects:
        return
    console.print(f"\nnow, {instant(ahead.at)} UTC", style="bold", markup=False)
    for one in ahead.prospects:
        status = "" if one.status == "live" else f" ({one.status})"
        key = f", key {one.key}" if one.key else ""
        console.print(f"  {one.journey}{status}, step {one.step}{key}", markup=False)
        console.print(f"    {_where(one)}", markup=False)
        for way in one.ways:
            console.print(f"    if it fell due now: {_way(way)}", markup=False)


def _where(one: Prospect) -> str:
    until = f" until {instant(one.due)}" if one.due else ""
    if not one.stands:
        refused = f"; now that would be refused: {one.refused}" if one.refused else ""
        return f"no live entry; one begins with {one.begins}{refused}"
    if one.passed:
        return f"its entry stands at {one.stands} and does not come here any more"
    if one.stands == one.step:
        return f"its entry stands here, deferred{until}"
    behind = [name for name in one.waits if name != one.stands]
    more = f", then {', '.join(behind)}" if behind else ""
    return f"its entry waits at {one.stands}{until}{more}"


def _way(way: Way) -> str:
    name = f"{way.option} on {way.channel}" if way.option else way.channel
    if not way.reason:
        return f"sent on {name}"
    words = {"defer": "deferred", "skip": "not sent", "exit": "not sent, and the entry ends"}
    rule = f", rule {way.rule}" if way.rule else ""
    values = ", ".join(told(key, value) for key, value in sorted(way.values.items()))
    said = f" ({values})" if values else ""
    if way.until:
        after = f"; possible from {instant(way.until)}"
    else:
        after = f"; it needs {way.needs}" if way.needs else ""
    return f"{words[way.then]} on {name}: {way.reason}{rule}{said}, {stage_of(way.reason)}{after}"
