"""In-app messages: the channel is a compacted topic that collectors serve to the apps.

Nothing leaves here: the customer's new inbox goes into the transaction that records the outcome.
"""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.records import Inbox, InboxMessage
from orchestrator.sinks.senders.protocol import Accepted, Order, Unfit

INBOX_LIMIT = 50
MAX_CHARS = 200_000
"""Of all messages of an inbox: more would not fit into a record. The oldest give way."""
MAX_MESSAGE_CHARS = 50_000


class InappSender:
    """One partition's writer of inboxes.

    ``read`` gives a customer's inbox as it stands on the topic; what this writer has put there
    itself and not yet read back is remembered, so that two messages in a row never lose the first.
    ``removals`` counts how often a customer's inbox was removed: what was remembered before is void.
    """

    def __init__(
        self,
        read: Callable[[str], Inbox | None],
        removals: Callable[[str], int] = lambda _: 0,
    ) -> None:
        self._read = read
        self._removals = removals
        self._written: dict[str, tuple[Inbox, int]] = {}

    async def send(self, order: Order) -> Accepted:
        """Lay the message on top of the customer's inbox; see ``Sender``."""
        customer_id = order.action.customer_id
        seen, removals = self._read(customer_id), self._removals(customer_id)
        written, before = self._written.get(customer_id, (None, removals))
        if written and (before != removals or (seen and covers(seen, written))):
            written = None
        inbox = with_message(merged(seen, written, customer_id), order)
        self._written[customer_id] = inbox, removals
        return Accepted(inbox=inbox)


def with_message(inbox: Inbox, order: Order) -> Inbox:
    """Return the inbox with one message on top; one that is there already stays as it is.

    Raises:
        Unfit: The message is too large for an inbox.
    """
    action, fields = order.action, order.fields
    if any(one.action_id == action.action_id for one in inbox.messages):
        return inbox
    message = InboxMessage(
        action_id=action.action_id,
        message=action.message,
        title=fields.get("title", ""),
        body=fields.get("body", fields.get("text", "")),
        link=fields.get("link"),
        sent_at=order.now,
    )
    if _chars(message) > MAX_MESSAGE_CHARS:
        raise Unfit("too_large", f"longer than {MAX_MESSAGE_CHARS} characters")
    messages = [message, *inbox.messages][:INBOX_LIMIT]
    while sum(map(_chars, messages)) > MAX_CHARS:
        messages.pop()
    return Inbox(customer_id=inbox.customer_id, messages=messages)


def _chars(message: InboxMessage) -> int:
    return len(message.title) + len(message.body) + len(message.link or "")


def covers(seen: Inbox, written: Inbox) -> bool:
    """Whether the newest message that we wrote has come back from the topic."""
    return written.messages[0].action_id in {one.action_id for one in seen.messages}


def merged(seen: Inbox | None, written: Inbox | None, customer_id: str) -> Inbox:
    """Return what we wrote, with the read marks that have come in since."""
    if not written:
        return seen or Inbox(customer_id=customer_id)
    marks = {one.action_id: one.read_at for one in seen.messages} if seen else {}
    for message in written.messages:
        message.read_at = message.read_at or marks.get(message.action_id)
    return written
