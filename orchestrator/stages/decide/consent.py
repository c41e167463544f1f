"""Consent: what a customer said about being written to, and which statement decides.

The newest statement that covers (channel, category) decides, by occurred_at; a revocation wins a
tie. Without one the policy's default for the category does: ``opt_out`` sends until revoked, and
``opt_in`` (also for a category that the policy does not name) waits for a word.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Literal, NamedTuple

from orchestrator.errors import InputError
from orchestrator.stages.decide.event_time import event_time
from orchestrator.stages.decide.receipts import find
from orchestrator.stages.decide.state import Statement

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.records import Event
    from orchestrator.stages.catalog import Catalog
    from orchestrator.stages.decide.state import Customer, Profile, Sent

Rule = Literal["granted", "revoked", "opt_in", "opt_out", "not_needed"]
MOST_UNUSABLE = 8
MOST_STATEMENTS = 64
"""Of one list; what was granted longest ago gives way first."""
MOST_LISTS = 16
NAME_CHARS = 63
"""No channel or category has a longer name."""
CONSENT_TYPES = frozenset(
    {
        "consent.granted",
        "consent.revoked",
        "message.unsubscribed",
        "message.complained",
        "message.bounced",
    }
)
"""The event types that this module listens to."""


class Revocation(NamedTuple):
    """A scope for which consent was withdrawn; an empty name = all.

    Whoever holds unaccepted actions in it cancels those that ``allowed`` no longer allows: a newer
    grant for a part of the scope may stand beside it.
    """

    channel: str
    category: str

    def covers(self, channel: str, category: str) -> bool:
        """Return whether (channel, category) lies in the scope."""
        return self.channel in {"", channel} and self.category in {"", category}


def allowed(profile: Profile, channel: str, category: str, catalog: Catalog) -> tuple[bool, Rule]:
    """Return whether consent allows a send, and the rule that decided.

    ``not_needed``: the channel needs none. ``granted`` and ``revoked``: the customer's own word (see
    ``deciding``). ``opt_in`` and ``opt_out``: the category's default, for lack of a word.
    """
    known = catalog.policy.channels.get(channel)
    if known is not None and not known.needs_consent:
        return True, "not_needed"
    statement = deciding(profile, channel, category)
    if statement is not None:
        return (True, "granted") if statement.granted else (False, "revoked")
    default = catalog.policy.consent_default.get(category, "opt_in")
    return default == "opt_out", default


def deciding(profile: Profile, channel: str, category: str) -> Statement | None:
    """Return the statement that decides about (channel, category); None if there is none.

    Where customers were merged each list has its own newest; a revoked one wins over a granted one.
    """
    found: Statement | None = None
    for statements in profile.consent:
        newest = _newest(statements, channel, category)
        if newest is not None and (found is None or _caution(newest) > _caution(found)):
            found = newest
    return found


def _newest(statements: Iterable[Statement], channel: str, category: str) -> Statement | None:
    newest: Statement | None = None
    for one in statements:
        if (
            (not one.channel or one.channel == channel)
            and (not one.category or one.category == category)
            and (newest is None or _rank(one) > _rank(newest))
        ):
            newest = one
    return newest


def _caution(statement: Statement) -> tuple[bool, int]:
    return not statement.granted, statement.at


def _rank(statement: Statement) -> tuple[int, bool]:
    return statement.at, not statement.granted


def apply_event(customer: Customer, event: Event, now: int, catalog: Catalog) -> list[Revocation]:
    """Take in what ``event`` says about consent and addresses; return what it withdrew.

    An unsubscription or complaint whose action is no longer remembered, and that names no channel
    itself, withdraws everything: better one message too few.

    Raises:
        InputError: ``bad_consent``: a grant whose channel or category is no name. (A revocation like
            that withdraws everything.)
    """
    if event.type == "message.bounced":
        _bounce(customer, event, catalog)
    scope = _scope(customer, event)
    if scope is None:
        return []
    granted = event.type == "consent.granted"
    changed = state(customer.profile, Statement(*scope, granted, event_time(event, now)))
    return [scope] if changed and not granted else []


def _scope(customer: Customer, event: Event) -> Revocation | None:
    """Return what an event's statement covers; None if it states nothing."""
    match event.type:
        case "consent.granted":
            return Revocation(
                _name(event, "channel", needed=True), _name(event, "category", needed=True)
            )
        case "consent.revoked":
            return Revocation(_name(event, "channel"), _name(event, "category"))
        case "message.unsubscribed" | "message.complained":
            sent = find(customer, event)
            channel, category = (
                (_name(event, "channel"), _name(event, "category"))
                if sent is None
                else (sent.channel, sent.category)
            )
            return Revocation(channel, "" if event.type == "message.complained" else category)
        case _:
            return None


def _name(event: Event, name: str, *, needed: bool = False) -> str:
    value = event.properties.get(name)
    if isinstance(value, str) and len(value.strip()) <= NAME_CHARS:
        return value.strip()
    if value is not None and needed:
        raise InputError(
            f"{event.type}: property {name} must be a name (absent = all), not {value!r:.80}",
            "bad_consent",
        )
    return ""


def _bounce(customer: Customer, event: Event, catalog: Catalog) -> None:
    """Remember the address of a hard bounce."""
    if not is_hard(event):
        return
    sent = find(customer, event)
    if sent is None:
        channel, text = _name(event, "channel"), _name(event, "address")
        address = digest(text) if text else b""
    else:
        channel, address = sent.channel, sent.address
    if channel in catalog.policy.channels and address:
        kept = {*customer.profile.unusable.get(channel, ()), address}
        customer.profile.unusable[channel] = fewest(kept)


def worsens(customer: Customer, sent: Sent, event: Event) -> bool:
    """Whether a bounce is the first for good of an action that has only bounced for now so far."""
    known = customer.profile.unusable.get(sent.channel, ())
    return event.type == "message.bounced" and is_hard(event) and sent.address not in known


def is_hard(event: Event) -> bool:
    """Return whether a bounce is for good: its property ``hard`` is true."""
    return event.properties.get("hard") is True


def fewest(addresses: set[bytes]) -> tuple[bytes, ...]:
    """Return the addresses that are remembered of these, in order."""
    return tuple(sorted(addresses)[:MOST_UNUSABLE])


def usable(profile: Profile, channel: str, address: str) -> bool:
    """Return whether no hard bounce is known of ``address``."""
    known = profile.unusable.get(channel)
    return known is None or digest(address) not in known


def digest(address: str) -> bytes:
    """Return the 8 bytes by which an address is remembered."""
    return sha256(address.encode()).digest()[:8]


def state(profile: Profile, statement: Statement) -> bool:
    """Add a statement; return whether it changes anything (an older one may say nothing new)."""
    before = profile.consent
    lists = profile.consent or ((),)
    profile.consent = unite(tidy((*statements, statement)) for statements in lists)
    return profile.consent != before


def tidy(statements: Iterable[Statement]) -> tuple[Statement, ...]:
    """Return, sorted, the statements that can still decide something.

    One that a newer or equal one of the same or wider scope covers never decides again.
    """
    unique = sorted(set(statements))
    tidied = tuple(
        one
        for one in unique
        if not any(
            other is not one
            and other.channel in {"", one.channel}
            and other.category in {"", one.category}
            and _rank(other) >= _rank(one)
            for other in unique
        )
    )
    return tidied if len(tidied) <= MOST_STATEMENTS else tidy(_fewer(tidied))


def _fewer(statements: tuple[Statement, ...]) -> list[Statement]:
    """Forget what was granted longest ago; too many revocations become one of everything.

    Nobody says so much: this is a bound, and it errs on the side of silence.
    """
    surplus = len(statements) - MOST_STATEMENTS
    granted = sorted((one for one in statements if one.granted), key=_rank)[:surplus]
    kept = [one for one in statements if one not in granted]
    if len(kept) <= MOST_STATEMENTS:
        return kept
    return [*kept, Statement("", "", granted=False, at=max(one.at for one in kept))]


def unite(lists: Iterable[tuple[Statement, ...]]) -> tuple[tuple[Statement, ...], ...]:
    """Return the lists in one order, each once, without empty ones.

    Of more than 16 those with the oldest words become one that keeps their revocations alone.
    """
    unique = {statements for statements in lists if statements}
    if len(unique) > MOST_LISTS:
        by_age = sorted(unique, key=lambda some: (max(one.at for one in some), some))
        old, newest = by_age[: 1 - MOST_LISTS], by_age[1 - MOST_LISTS :]
        revoked = tidy(one for some in old for one in some if not one.granted)
        unique = {*newest, revoked} - {()}
    return tuple(sorted(unique))
