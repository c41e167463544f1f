"""Simulated customers: what each of them does, and when. Pure: a seed gives the same people.

A visitor comes anonymously, may sign up, uses the product for a while and reacts to what arrives.
Times are seconds from now; nothing here knows a clock or the network.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

Key = Literal["web", "server"]
Kind = Literal["say", "look", "leave"]

NAMES: Final = (
    "Ada Ben Clara David Emma Finn Greta Hugo Ida Jonas Klara Leon Mia Noah Olga Paul".split()
)
HOMES: Final = (
    ("DE", "Europe/Berlin"),
    ("DE", "Europe/Berlin"),
    ("FR", "Europe/Paris"),
    ("FR", "Europe/Paris"),
    ("PT", "Europe/Lisbon"),
)
FEATURES: Final = ("alerts", "boards", "export", "imports", "search")
PLANS: Final = ("solo", "team", "scale")

# Shares of customers, of mails and of in-app messages.
SIGNS_UP: Final = 0.85
CONSENTS: Final = 0.85
HAS_PUSH: Final = 0.4
NO_ADDRESS: Final = 0.04
VIEWS_PRICING: Final = 0.25
RAISES_TICKET: Final = 0.15
PAYS: Final = 0.15
DELETES: Final = 0.04
STARTS_AGAIN: Final = 0.08
OPENS: Final = 0.65
CLICKS: Final = 0.35
COMPLAINS: Final = 0.03
UNSUBSCRIBES: Final = 0.06
BOUNCES: Final = 0.02
READS: Final = 0.8
CLICKS_IN_APP: Final = 0.3
PRICING_AFTER_IN_APP: Final = 0.5


class Act(NamedTuple):
    """One thing to do. ``say`` has a message and the write key that it needs."""

    after: float
    kind: Kind
    message: dict[str, Any] | None = None
    key: Key = "web"


class Person:
    """One customer; ``life`` is what they do by themselves, the rest is how they react.

    Args:
        seed: Of the whole population.
        number: Which of them.
    """

    def __init__(self, seed: int, number: int) -> None:
        self._random = Random(f"{seed}:{number}")  # noqa: S311 - simulated people, no secret
        self.account_id = f"acme-{number}"
        self.name = self._random.choice(NAMES)
        self.email = f"{self.name.lower()}.{number}@example.com"
        self._anonymous_id = f"visitor-{seed}-{number}"
        self._country, self._zone = self._random.choice(HOMES)
        self._said = 0
        self._seen: set[str] = set()

    def life(self) -> Iterator[Act]:
        """Yield everything from the first page view to the last."""
        chance = self._random
        yield self._page(0.0)
        if chance.random() < VIEWS_PRICING:
            yield self._say(chance.uniform(1, 3), "pricing.viewed", plan=chance.choice(PLANS))
        at = chance.uniform(1, 6)
        if chance.random() > SIGNS_UP:
            yield Act(at, "leave")
            return
        yield from self._sign_up(at)
        end = at + chance.uniform(20, 45)
        yield from self._use(at, end)
        yield from self._one_offs(at, end)
        yield Act(end, "leave")

    def on_mail(self, action_id: str) -> Iterator[Act]:
        """Yield the reactions to an e-mail, as the provider's webhooks tell them."""
        chance = self._random
        if not self._first_sight(action_id):
            return
        if chance.random() < BOUNCES:
            yield self._receipt(0.2, "bounced", action_id, hard=True)
            return
        yield self._receipt(0.2, "delivered", action_id)
        if chance.random() > OPENS:
            return
        at = 0.2 + chance.uniform(0.3, 3)
        yield self._receipt(at, "opened", action_id)
        at += chance.uniform(0.3, 2)
        if chance.random() < CLICKS:
            yield self._receipt(at, "clicked", action_id)
        elif chance.random() < UNSUBSCRIBES:
            yield self._receipt(at, "unsubscribed", action_id)
        elif chance.random() < COMPLAINS:
            yield self._receipt(at, "complained", action_id)

    def reads(self, action_id: str) -> bool:
        """Return whether they open this in-app message, now that they see it."""
        return self._first_sight(action_id) and self._random.random() < READS

    def on_in_app(self, action_id: str) -> Iterator[Act]:
        """Yield what follows an in-app message that was read."""
        chance = self._random
        if chance.random() < CLICKS_IN_APP:
            yield self._receipt(0.5, "clicked", action_id)
        if chance.random() < PRICING_AFTER_IN_APP:
            yield self._say(chance.uniform(0.5, 3), "pricing.viewed", plan=chance.choice(PLANS))

    def _sign_up(self, at: float) -> Iterator[Act]:
        """From now on they are known: the SDK tells both ids, which links the visits before."""
        chance = self._random
        traits = {"name": self.name, "country": self._country, "timezone": self._zone}
        if chance.random() > NO_ADDRESS:
            traits["email"] = self.email
        if chance.random() < HAS_PUSH:
            traits["push_token"] = f"token-{self.account_id}"
        yield Act(at, "say", self._message("identify", userId=self.account_id, traits=traits))
        if chance.random() < CONSENTS:
            yield self._account(at, "consent.granted", channel="email", category="education")
            yield self._account(at, "consent.granted", channel="push", category="education")
        yield self._say(at + 0.1, "trial.started", known=True)

    def _use(self, begin: float, end: float) -> Iterator[Act]:
        at = begin + self._random.uniform(0.5, 4)
        while at < end:
            feature = self._random.choice(FEATURES)
            yield self._say(at, "feature.used", known=True, feature=feature)
            yield Act(at, "look")
            at += self._random.uniform(2, 8)

    def _one_offs(self, begin: float, end: float) -> Iterator[Act]:
        chance = self._random
        if chance.random() < VIEWS_PRICING:
            plan = chance.choice(PLANS)
            yield self._say(chance.uniform(begin + 1, end), "pricing.viewed", known=True, plan=plan)
        if chance.random() < RAISES_TICKET:
            at, ticket = begin + chance.uniform(0.5, 8), f"T-{self.account_id}"
            yield self._account(at, "ticket.opened", ticket=ticket)
            yield self._account(at + chance.uniform(3, 9), "ticket.closed", ticket=ticket)
        if chance.random() < STARTS_AGAIN:
            yield self._say(chance.uniform(begin + 1, end), "trial.started", known=True)
        if chance.random() < PAYS:
            at, plan = chance.uniform(begin + 3, end), chance.choice(PLANS)
            yield self._account(at, "subscription.started", plan=plan, amount=49.0)
            paid = self._message("identify", userId=self.account_id, traits={"plan": plan})
            yield Act(at + 0.3, "say", paid, "server")
        elif chance.random() < DELETES:
            yield self._account(end, "account.deleted")

    # ------------------------------------------------------------------------- messages

    def _page(self, at: float) -> Act:
        return Act(at, "say", self._message("page", anonymousId=self._anonymous_id, name="Welcome"))

    def _say(self, at: float, event: str, *, known: bool = False, **properties: Any) -> Act:
        """What the browser tells: before they sign up, it knows no more than the visitor."""
        who = {"anonymousId": self._anonymous_id}
        if known:
            who["userId"] = self.account_id
        message = self._message("track", event=event, properties=properties, **who)
        return Act(at, "say", message)

    def _account(self, at: float, event: str, **properties: Any) -> Act:
        """What billing, support and the consent service tell."""
        message = self._message("track", event=event, properties=properties, userId=self.account_id)
        return Act(at, "say", message, "server")

    def _receipt(self, at: float, status: str, action_id: str, **properties: Any) -> Act:
        """What a provider's webhook tells."""
        message = self._message(
            "track",
            event=f"message.{status}",
            properties={"action_id": action_id, **properties},
            identities={"customer": self.account_id},
        )
        return Act(at, "say", message, "server")

    def _message(self, kind: str, **fields: Any) -> dict[str, Any]:
        self._said += 1
        if kind == "identify":
            fields["anonymousId"] = self._anonymous_id
        return {"type": kind, "messageId": f"{self._anonymous_id}-{self._said}", **fields}

    def _first_sight(self, action_id: str) -> bool:
        """A message that comes twice (a sink that died in between) is read once."""
        fresh = action_id not in self._seen
        self._seen.add(action_id)
        return fresh
