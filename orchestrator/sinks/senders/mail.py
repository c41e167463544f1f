"""What e-mail senders share: the parts of a mail, and the headers by which its reader gets rid of us."""

from __future__ import annotations

from collections.abc import Mapping
from email.errors import MessageError
from email.headerregistry import Address
from email.utils import parseaddr
from typing import NamedTuple

from orchestrator.records import Action
from orchestrator.sinks.senders.protocol import Order, Unfit


class Mail(NamedTuple):
    """One mail, checked; at least one of ``text`` and ``html`` is there."""

    to: Address
    subject: str
    text: str | None
    html: str | None
    headers: Mapping[str, str]


def mail_of(order: Order, from_address: str) -> Mail:
    """Return what an order says as a mail.

    Raises:
        Unfit: No address, no content, or one of them cannot stand in a mail.
    """
    fields, subject = order.fields, order.fields.get("subject", "")
    text, html = fields.get("text"), fields.get("html")
    if text is None and html is None:
        raise Unfit("no_content", "an e-mail needs the field text or html")
    if any(sign in subject for sign in "\r\n"):
        raise Unfit("bad_content", "a subject is one line")
    headers = {
        "Message-ID": message_id(order.action, from_address),
        "X-Action-Id": order.action.action_id,
        **unsubscribe_headers(order.unsubscribe_url),
    }
    return Mail(_recipient(order.action), subject, text, html, headers)


def message_id(action: Action, from_address: str) -> str:
    """Return ``<ACTION@DOMAIN>``: the same for every attempt."""
    domain = parseaddr(from_address)[1].rpartition("@")[2] or "localhost"
    return f"<{action.action_id}@{domain}>"


def unsubscribe_headers(url: str | None) -> Mapping[str, str]:
    """Return List-Unsubscribe and its one-click twin (RFC 8058), if there is an address for it."""
    if url is None:
        return {}
    return {
        "List-Unsubscribe": f"<{url}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }


def _recipient(action: Action) -> Address:
    if not action.address:
        raise Unfit("no_address", "the action has no address")
    try:
        address = Address(addr_spec=action.address)
        if address.domain.isascii():
            return address
        # Not every relay speaks UTF-8, and all of them know the domain's other form.
        return Address(username=address.username, domain=address.domain.encode("idna").decode())
    except (ValueError, MessageError, IndexError) as error:
        raise Unfit(
            "bad_address", f"this is no e-mail address: {type(error).__name__}", report="bounced"
        ) from error
