"""A customer is forgotten on request: what is under way ends, and nothing is kept.

A state in which nothing is left is no state: the engine deletes its row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.stages.decide.entries import end
from orchestrator.stages.decide.state import FLAGS, Customer
from orchestrator.stages.protocol import Emit

if TYPE_CHECKING:
    from orchestrator.records import Forget
    from orchestrator.stages.decide.turn import Turn

RULE = "forgotten"


def forget(turn: Turn, order: Forget) -> list[Emit]:
    """Erase the turn's customer; return what leaves.

    One who was merged sends the order on, behind all that he forwarded before. Messages that a sink
    may still hold are cancelled, except mandatory ones: the law, or the person, asks for these.
    """
    customer = turn.customer
    if customer.redirect:
        turn.emits.append(Emit(topic="timeline", key=customer.redirect, record=order))
    for entry in list(customer.entries):
        end(turn, entry, "exit", rule=RULE, leaving=True)
    for sent in customer.sends:
        message = turn.catalog.messages.get(sent.message)
        if not sent.cancellable or (message is not None and message.class_ == "mandatory"):
            continue
        sent.flags |= FLAGS["cancelled"]
        decision = turn.decide("cancelled", reason="no_consent", rule=RULE, sent=sent)
        turn.cancel(sent, decision, message)
    clear(customer)
    return turn.emits


def clear(customer: Customer) -> None:
    """Leave nothing but the engine's own field."""
    fresh = Customer(catalog=customer.catalog)
    for name in Customer.__struct_fields__:
        setattr(customer, name, getattr(fresh, name))


def blank(customer: Customer) -> bool:
    """Whether nothing is known of this customer."""
    return not customer.first_seen and customer == Customer(catalog=customer.catalog)
