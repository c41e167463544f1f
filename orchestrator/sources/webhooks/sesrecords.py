"""SES' events as records of one recipient each. Pure.

Beside what SES says a record has ``type`` (SES names that field in two ways), ``at`` (the event's own
instant), ``recipient``, and ``tags`` with the one value of each. ``customer_id_b64`` is our own tag for
ids with signs that no tag may have.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from orchestrator.errors import NO_JSON, InputError

_PARTS: Final = {
    "Bounce": ("bounce", "bouncedRecipients"),
    "Complaint": ("complaint", "complainedRecipients"),
    "DeliveryDelay": ("deliveryDelay", "delayedRecipients"),
    "Delivery": ("delivery", "recipients"),
    "Open": ("open", ""),
    "Click": ("click", ""),
    "Reject": ("reject", ""),
    "Rendering Failure": ("failure", ""),
    "Subscription": ("subscription", ""),
}


def ses_records(message: str) -> list[bytes]:
    """Return the records of one message of SNS; none for AWS' words to people.

    Raises:
        InputError: ``bad_line``: it looks like JSON and is none.
    """
    if not message.lstrip().startswith("{"):
        return []
    try:
        event = msgspec.json.decode(message)
    except NO_JSON as error:
        raise InputError(f"no JSON: {error}", "bad_line") from error
    mail = event.get("mail")
    mail = mail if isinstance(mail, dict) else {}
    type_ = event.get("eventType") or event.get("notificationType") or ""
    name, list_ = _PARTS.get(type_, ("", "")) if isinstance(type_, str) else ("", "")
    said = event.get(name)
    said = said if isinstance(said, dict) else {}
    people = said.get(list_) or mail.get("destination")
    shaped = {
        **event,
        "type": type_,
        "at": said.get("timestamp") or mail.get("timestamp"),
        "tags": _tags(mail.get("tags")),
    }
    # Nothing but addresses and our own tags is used of the mail: its headers may be long.
    shaped["mail"] = {key: mail[key] for key in ("messageId", "timestamp", "source") if key in mail}
    addresses = [_address(one) for one in people] if isinstance(people, list) else []
    return [msgspec.json.encode({**shaped, "recipient": one}) for one in addresses or [None]]


def _address(one: object) -> str | None:
    address = one.get("emailAddress") if isinstance(one, dict) else one
    return address if isinstance(address, str) else None


def _tags(said: object) -> dict[str, Any]:
    tags: dict[str, Any] = {}
    if isinstance(said, Mapping):
        for name, values in said.items():
            if isinstance(values, list) and values:
                tags[name] = values[0]
    packed = tags.pop("customer_id_b64", None)
    if isinstance(packed, str):
        try:
            tags["customer_id"] = base64.urlsafe_b64decode(
                packed + "=" * (-len(packed) % 4)
            ).decode()
        except (binascii.Error, ValueError) as error:
            raise InputError("tag customer_id_b64 is no base64", "bad_line") from error
    return tags
