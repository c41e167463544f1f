"""Whether one version of an Avro schema can read what another has written (Avro 1.12, resolution).

As much of the rules as a development registry needs: records, enums, unions, maps, arrays, fixed
and primitives with their promotions; named types may be referred to.
"""

from __future__ import annotations

from typing import Any

_PROMOTIONS = {
    "int": {"long", "float", "double"},
    "long": {"float", "double"},
    "float": {"double"},
    "string": {"bytes"},
    "bytes": {"string"},
}
_NAMED = {"record", "error", "enum", "fixed"}


def unreadable(reader: Any, writer: Any) -> list[str]:
    """Return why data of ``writer`` cannot be read with ``reader`` (parsed JSON); empty: they can."""
    return _Comparison(reader, writer).differences()


class _Comparison:
    def __init__(self, reader: Any, writer: Any) -> None:
        self._root = (reader, writer)
        self._readers: dict[str, Any] = {}
        self._writers: dict[str, Any] = {}
        self._seen: set[tuple[str, str]] = set()
        _collect(reader, "", self._readers)
        _collect(writer, "", self._writers)

    def differences(self) -> list[str]:
        return self._compare(*self._root, "")

    def _compare(self, reader: Any, writer: Any, path: str) -> list[str]:
        reader, writer = _resolve(reader, self._readers), _resolve(writer, self._writers)
        if isinstance(writer, list):
            return [why for branch in writer for why in self._compare(reader, branch, path)]
        if isinstance(reader, list):
            if any(not self._compare(branch, writer, path) for branch in reader):
                return []
            return [f"{path or '/'}: no branch of the union reads {_kind(writer)}"]
        return self._same_shape(reader, writer, path)

    def _same_shape(self, reader: Any, writer: Any, path: str) -> list[str]:
        kind, written = _kind(reader), _kind(writer)
        found: list[str] = []
        if kind != written:
            if kind not in _PROMOTIONS.get(written, ()):
                found = [f"{path or '/'}: {written} cannot be read as {kind}"]
        elif kind == "record":
            found = self._records(reader, writer, path)
        elif kind == "enum":
            found = _enums(reader, writer, path)
        elif kind == "array":
            found = self._compare(reader["items"], writer["items"], f"{path}/items")
        elif kind == "map":
            found = self._compare(reader["values"], writer["values"], f"{path}/values")
        elif kind == "fixed" and reader["size"] != writer["size"]:
            found = [f"{path or '/'}: size {writer['size']} is not {reader['size']}"]
        return found

    def _records(self, reader: Any, writer: Any, path: str) -> list[str]:
        pair = (str(reader["name"]), str(writer["name"]))
        if _last(pair[0]) != _last(pair[1]):
            return [f"{path or '/'}: record {pair[1]} is not {pair[0]}"]
        if pair in self._seen:
            return []  # a record that holds itself
        self._seen.add(pair)
        written = {field["name"]: field for field in writer["fields"]}
        found: list[str] = []
        for field in reader["fields"]:
            names = [field["name"], *field.get("aliases", [])]
            same = next((written[name] for name in names if name in written), None)
            here = f"{path}/{field['name']}"
            if same is not None:
                found += self._compare(field["type"], same["type"], here)
            elif "default" not in field:
                found.append(f"{here}: the reader's field has no default and was not written")
        return found


def _enums(reader: Any, writer: Any, path: str) -> list[str]:
    unknown = [symbol for symbol in writer["symbols"] if symbol not in reader["symbols"]]
    if unknown and "default" not in reader:
        return [f"{path or '/'}: the reader does not know the symbols {', '.join(unknown)}"]
    return []


def _resolve(schema: Any, names: dict[str, Any]) -> Any:
    if isinstance(schema, dict) and isinstance(schema["type"], (dict, list)):
        return _resolve(schema["type"], names)
    if isinstance(schema, str):
        return names.get(schema, names.get(_last(schema), schema))
    return schema


def _kind(schema: Any) -> str:
    return str(schema["type"]) if isinstance(schema, dict) else str(schema)


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _collect(schema: Any, namespace: str, into: dict[str, Any]) -> None:
    match schema:
        case list():
            for branch in schema:
                _collect(branch, namespace, into)
        case dict():
            namespace = schema.get("namespace", namespace)
            if isinstance(schema["type"], str) and schema["type"] in _NAMED:
                name = str(schema["name"])
                into[name] = schema
                into[f"{namespace}.{name}"] = schema
            for field in schema.get("fields", ()):
                _collect(field["type"], namespace, into)
            for key in ("type", "items", "values"):
                if isinstance(schema.get(key), (dict, list)):
                    _collect(schema[key], namespace, into)
        case _:
            pass
