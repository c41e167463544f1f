"""What a dead letter of the collector keeps beside its bytes, so that they can be mapped anew.

A sender was thanked for it and will not come again: once the cause is mended, ``dlq replay`` makes the
event that it would have been, with its id and time.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from orchestrator.sources.mapping import Kind, Scope

HEADER: Final = "orchestrator.arrival"


class Tracked(Struct, tag="tracked"):
    """A message of the tracking API; instants in epoch ms.

    ``kind`` None: of a batch, it names its own. ``sent_at``: the batch's.
    """

    at: int
    kind: Kind | None
    scope: Scope
    sent_at: int | None = None


class Hooked(Struct, tag="hooked"):
    """A record of a webhook: as ``mappings.Arrival``, with those headers that its mapping read."""

    at: int
    stable: tuple[str, ...]
    header: dict[str, str]


Told = Tracked | Hooked
encode_told = msgspec.json.Encoder().encode
decode_told = msgspec.json.Decoder(Told).decode
