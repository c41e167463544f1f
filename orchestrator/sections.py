"""What a section of the settings is: a closed struct that prints itself with secrets masked."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from orchestrator.layers import Secret

Port = Annotated[int, Meta(ge=0, le=65535, description="0 = any free port.")]
Positive = Annotated[int, Meta(ge=1)]


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all sections."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({shown(self)})"

    __str__ = __repr__

    def adorned(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Return ``fields``, this section's, as they are shown."""
        return fields


def shown(value: Any) -> Any:
    """Return ``value`` as plain data with every secret replaced by ``***``."""
    match value:
        case Secret():
            return str(value)
        case Section():
            fields = msgspec.structs.fields(value)
            return value.adorned(
                {field.encode_name: shown(getattr(value, field.name)) for field in fields}
            )
        case dict():
            return {key: shown(item) for key, item in value.items()}
        case list() | tuple():
            return [shown(item) for item in value]
        case _:
            return value
