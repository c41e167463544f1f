"""Who may speak: write keys, as Segment's SDKs send them."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping

from orchestrator.settings import WriteKey
from orchestrator.sources.mapping import Origin


class WriteKeys:
    """The configured keys, compared in constant time."""

    def __init__(self, keys: Mapping[str, WriteKey]) -> None:
        self._keys = [(key.encode(), Origin(what.source, what.scope)) for key, what in keys.items()]

    def origin(self, key: str) -> Origin | None:
        """Return what a key stands for; takes as long for a wrong key as for a right one."""
        # Headers are bytes: those that are no UTF-8 stand for themselves.
        found, said = None, key.encode(errors="surrogateescape")
        for known, origin in self._keys:
            if hmac.compare_digest(known, said):
                found = origin
        return found


def key_of_header(authorization: str) -> str | None:
    """Return the write key of an Authorization header: Basic user name, or Bearer token.

    None: there is no key in it, so the body is asked.
    """
    scheme, _, said = authorization.partition(" ")
    said = said.strip()
    match scheme.lower():
        case "bearer":
            return said or None
        case "basic":
            try:
                pair = base64.b64decode(said, validate=True).decode()
            except (binascii.Error, UnicodeDecodeError):
                return None
            return pair.partition(":")[0] or None
        case _:
            return None
