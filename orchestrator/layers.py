"""How settings come together: layers of plain data, each key checked where it was written.

A layer's mistakes are reported with their place (file and line, variable, flag) and the nearest
known name, before the layers are merged; only the merged whole is converted to its type.
"""

from __future__ import annotations

from pathlib import Path
from types import UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Final,
    Generic,
    TypeVar,
    Union,
    get_args,
    get_origin,
)

import msgspec
import yaml
from msgspec import Struct
from msgspec.structs import fields

from orchestrator.errors import SettingsError
from orchestrator.kafka.properties import check_name, suggestion

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T", bound=Struct)
PREFIX: Final = "ORCHESTRATOR_"
RESERVED_VARIABLES: Final = frozenset({"ORCHESTRATOR_SETTINGS"})
DOTTED: Final = "kafka"
"""The section whose keys contain dots; the environment writes them with underscores."""
UNDERSCORED: Final = frozenset({"log_level"})
"""The names of librdkafka that really have an underscore."""
Path_ = tuple[str, ...]


class Secret:
    """A value that prints as ``***``; ``reveal()`` is the only way to it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret itself."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


class Layers(Generic[T]):
    """Collects layers for one settings type; a later layer wins, key by key."""

    def __init__(self, model: type[T]) -> None:
        self._model = model
        self._data: dict[str, Any] = {}
        self._places: dict[str, str] = {}

    def add_file(self, path: Path) -> None:
        """Lay a YAML file over what is there."""
        try:
            node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        except OSError as error:
            raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
        except yaml.YAMLError as error:
            raise SettingsError(f"{path}: not YAML: {error}") from error
        if isinstance(node, yaml.MappingNode):
            self._add_mapping(node, path, ())
        elif node is not None:
            raise SettingsError(f"{path}: must be a mapping of sections")

    def _add_mapping(self, node: yaml.MappingNode, path: Path, above: Path_) -> None:
        seen: set[str] = set()
        for key_node, value_node in node.value:
            key, mark = str(key_node.value), key_node.start_mark
            place = f"{path}:{mark.line + 1}:{mark.column + 1}"
            at = (*above, key)
            if key in seen:
                raise SettingsError(f"{place}: {'.'.join(at)} is given twice")
            seen.add(key)
            kind = self._type_at(at, place)
            if isinstance(value_node, yaml.MappingNode):
                if not _takes_mapping(kind):
                    raise SettingsError(f"{place}: {'.'.join(at)} takes a value, not a mapping")
                self._set(at, {}, place)
                self._add_mapping(value_node, path, at)
            else:
                self._set(at, yaml.SafeLoader("").construct_object(value_node, deep=True), place)

    def add_environment(self, env: Mapping[str, str]) -> None:
        """Lay the variables ``ORCHESTRATOR_A__B`` and ``ORCHESTRATOR_A__B_FILE`` over it."""
        for variable in sorted(env):
            if variable.startswith(PREFIX) and variable not in RESERVED_VARIABLES:
                at = _path_of(variable)
                text = env[variable]
                stem = (*at[:-1], at[-1][: -len("_file")])
                if at[-1][-5:] in {"_file", ".file"} and not self._knows(at) and self._knows(stem):
                    at, text = stem, _read_secret(variable, text)
                self._add_text(at, text, variable)

    def add_flag(self, name: str, value: Any) -> None:
        """Lay one value over it; ``name`` is dotted, as in ``clock.mode``."""
        at = parts(name)
        place = f"--set {name}"
        if isinstance(value, str):
            self._add_text(at, value, place)
        else:
            self._type_at(at, place)
            self._set(at, value, place)

    def _add_text(self, at: Path_, text: str, place: str) -> None:
        kind = self._type_at(at, place)
        value: Any = text
        if _takes_list(kind) and not text.startswith("["):
            value = [item.strip() for item in text.split(",") if item.strip()]
        elif _takes_list(kind) or _takes_mapping(kind):
            try:
                value = yaml.safe_load(text)
            except yaml.YAMLError as error:
                raise SettingsError(f"{place}: not JSON or YAML: {error}") from error
        self._set(at, value, place)

    def _knows(self, at: Path_) -> bool:
        try:
            self._type_at(at, "")
        except SettingsError:
            return False
        return True

    def _type_at(self, at: Path_, place: str) -> Any:
        kind: Any = self._model
        for index, key in enumerate(at):
            name = ".".join(at[: index + 1])
            structs, values = _members(kind)
            if structs:
                known = {field.encode_name: field.type for one in structs for field in fields(one)}
                for one in structs:
                    if one.__struct_config__.tag_field is not None:
                        known[one.__struct_config__.tag_field] = str
                if key not in known:
                    near = suggestion(key, known)
                    raise SettingsError(f"{place}: unknown key {name}{near}")
                kind = known[key]
            elif values is not None:
                kind = values
            else:
                raise SettingsError(f"{place}: {'.'.join(at[:index])} takes a value, not a mapping")
        if at[0] == DOTTED and len(at) > 1:
            check_name(at[1], place)
        return kind

    def _set(self, at: Path_, value: Any, place: str) -> None:
        target = self._data
        for key in at[:-1]:
            inner = target.get(key)
            if not isinstance(inner, dict):
                inner = target[key] = {}
            target = inner
        if value != {} or not isinstance(target.get(at[-1]), dict):
            target[at[-1]] = value
        self._places[".".join(at)] = place

    def get(self, name: str) -> Any:
        """Return what the layers say so far; ``true`` and ``1`` in words count as True."""
        value: Any = self._data
        for key in parts(name):
            value = value.get(key) if isinstance(value, dict) else None
        return True if str(value).lower() in {"true", "1"} else value

    def default(self, name: str, value: Any) -> None:
        """Set ``name`` unless a layer has given it."""
        if self.get(name) is None:
            self._set(parts(name), value, "default")

    def convert(self) -> T:
        """Return the merged layers as their type."""
        try:
            return msgspec.convert(self._data, self._model, strict=False, dec_hook=_secret)
        except msgspec.ValidationError as error:
            text, _, where = str(error).partition(" - at `$.")
            name = where.rstrip("`").replace("[...]", ".*")
            place = self._places.get(name)
            raise SettingsError(
                ": ".join(part for part in (place, name, text[:1].lower() + text[1:]) if part)
            ) from error


def parts(name: str) -> Path_:
    """Split ``clock.mode``; in the section of dotted names only the first dot counts."""
    head, _, rest = name.partition(".")
    return (head, rest) if head == DOTTED and rest else tuple(name.split("."))


def _path_of(variable: str) -> Path_:
    at = tuple(variable.removeprefix(PREFIX).lower().split("__"))
    if at[0] == DOTTED and len(at) > 1:
        name = "_".join(at[1:])
        return (DOTTED, name if name in UNDERSCORED else name.replace("_", "."))
    return at


def _read_secret(variable: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise SettingsError(f"{variable}: {path}: {error.strerror}") from error


def _members(kind: Any) -> tuple[list[type[Struct]], Any]:
    """Return the structs among the members of ``kind``, and a mapping's type of values."""
    structs: list[type[Struct]] = []
    values = None
    for member in _alternatives(kind):
        if isinstance(member, type) and issubclass(member, Struct):
            structs.append(member)
        elif get_origin(member) is dict:
            values = get_args(member)[1]
    return structs, values


def _alternatives(kind: Any) -> list[Any]:
    if get_origin(kind) is Annotated:
        return _alternatives(get_args(kind)[0])
    if get_origin(kind) in {Union, UnionType}:
        return [one for member in get_args(kind) for one in _alternatives(member)]
    return [kind]


def _takes_mapping(kind: Any) -> bool:
    structs, values = _members(kind)
    return bool(structs) or values is not None


def _takes_list(kind: Any) -> bool:
    return any(get_origin(member) is list for member in _alternatives(kind))


def schema_of_secret(kind: type) -> dict[str, Any]:
    """Describe ``Secret`` to JSON Schema."""
    if kind is Secret:
        return {"type": "string", "description": "Secret; better given by a *_FILE variable."}
    raise NotImplementedError(kind)


def _secret(kind: type, value: Any) -> Any:
    if kind is Secret:
        return value if isinstance(value, Secret) else Secret(str(value))
    raise NotImplementedError(kind)
