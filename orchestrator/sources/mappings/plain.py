"""Typed values of Avro and Parquet, as mappings read them: what JSON knows, and nothing else.

An instant is epoch ms; a wall time stays without offset, so that the mapping's ``zone`` decides; a
date and a time of day are ISO texts; a decimal is a double; bytes are base64; an entry of an enum is
its name. What is no number (NaN, infinity) is null: no condition could be true of it.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from math import isfinite
from typing import Any, Final
from uuid import UUID

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)


def plain(value: Any) -> Any:  # noqa: PLR0911 - a table of types
    """Return a value of a typed format as JSON has it, however deep."""
    match value:
        case None | bool() | str() | int():
            return value
        case float() | Decimal():
            number = float(value)
            return number if isfinite(number) else None
        case datetime():
            return (value - _EPOCH) // _MS if value.tzinfo else value.isoformat()
        case date() | time():
            return value.isoformat()
        case timedelta():
            return value // _MS
        case UUID():
            return str(value)
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(value).decode()
        case Mapping():
            return {str(key): plain(inner) for key, inner in value.items()}
        case _:
            return [plain(inner) for inner in value]
