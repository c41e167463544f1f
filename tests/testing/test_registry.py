"""The registry for tests answers as Confluent's does, as far as clients of ours and others ask."""

from __future__ import annotations

import json
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from orchestrator.testing.registry import Registry

USER = {"type": "record", "name": "User", "fields": [{"name": "id", "type": "string"}]}
WITH_DEFAULT = {**USER, "fields": [*USER["fields"], {"name": "a", "type": "int", "default": 0}]}
WITHOUT_DEFAULT = {**USER, "fields": [*USER["fields"], {"name": "b", "type": "int"}]}


@pytest.fixture
def own():
    with Registry() as running:
        yield running


def ask(registry, method, path, body=None):
    """Return (status, JSON)."""
    data = None if body is None else json.dumps(body).encode()
    request = Request(registry.url + path, data, method=method)  # noqa: S310 - our own server
    try:
        with urlopen(request, timeout=10) as answer:  # noqa: S310
            return answer.status, json.load(answer)
    except HTTPError as error:
        with error:
            return error.code, json.load(error)


def register(registry, schema, subject="users-value"):
    body = {"schema": json.dumps(schema)}
    return ask(registry, "POST", f"/subjects/{subject}/versions", body)


def test_ids_count_in_order_of_registration(own):
    assert register(own, USER) == (200, {"id": 1})
    assert register(own, WITH_DEFAULT) == (200, {"id": 2})
    assert register(own, USER) == (200, {"id": 1})
    assert register(own, USER, "others-value") == (200, {"id": 1})


def test_equal_schemas_in_other_spelling_are_one(own):
    register(own, USER)
    spaced = {"schema": json.dumps(USER, indent=4)}
    assert ask(own, "POST", "/subjects/users-value", spaced)[1]["id"] == 1


def test_subjects_versions_and_schemas(own):
    assert ask(own, "GET", "/") == (200, {})
    assert ask(own, "GET", "/schemas/types") == (200, ["AVRO"])
    assert ask(own, "GET", "/subjects") == (200, [])
    register(own, USER)
    register(own, WITH_DEFAULT)
    assert ask(own, "GET", "/subjects") == (200, ["users-value"])
    assert ask(own, "GET", "/subjects/users-value/versions") == (200, [1, 2])
    status, latest = ask(own, "GET", "/subjects/users-value/versions/latest")
    assert (status, latest["version"], latest["id"]) == (200, 2, 2)
    assert json.loads(latest["schema"]) == WITH_DEFAULT
    assert ask(own, "GET", "/subjects/users-value/versions/1/schema") == (200, USER)
    assert json.loads(ask(own, "GET", "/schemas/ids/1")[1]["schema"]) == USER


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/subjects/none/versions", None, 404, 40401),
        ("POST", "/subjects/none", {"schema": '"string"'}, 404, 40401),
        ("POST", "/subjects/users-value", {"schema": '"string"'}, 404, 40403),
        ("GET", "/subjects/users-value/versions/9", None, 404, 40402),
        ("GET", "/subjects/users-value/versions/x", None, 422, 42202),
        ("GET", "/schemas/ids/9", None, 404, 40403),
        ("GET", "/schemas/ids/x", None, 404, 40403),
        ("POST", "/subjects/users-value/versions", {"schema": "{"}, 422, 42201),
        ("POST", "/subjects/users-value/versions", {"schema": '"gone"'}, 422, 42201),
        ("POST", "/subjects/users-value/versions", {}, 422, 42201),
        ("POST", "/subjects/users-value/versions", [], 400, 400),
        (
            "POST",
            "/subjects/users-value/versions",
            {"schema": '"string"', "schemaType": "JSON"},
            422,
            42201,
        ),
        ("PUT", "/config", {"compatibility": "SOMEHOW"}, 422, 42203),
        ("GET", "/config/users-value", None, 404, 40408),
    ],
)
def test_refusals_carry_confluents_codes(own, method, path, body, status, code):
    register(own, USER)
    found, answer = ask(own, method, path, body)
    assert (found, answer["error_code"]) == (status, code)
    assert answer["message"]


def test_an_incompatible_schema_is_a_conflict(own):
    register(own, USER)
    status, answer = register(own, WITHOUT_DEFAULT)
    assert (status, answer["error_code"]) == (409, 409)
    assert "b" in answer["message"]


def test_the_compatibility_level_decides(own):
    register(own, USER)
    body = {"schema": json.dumps(WITHOUT_DEFAULT)}
    path = "/compatibility/subjects/users-value/versions/latest?verbose=true"
    status, answer = ask(own, "POST", path, body)
    assert (status, answer["is_compatible"]) == (200, False)
    assert answer["messages"]
    assert ask(own, "GET", "/config") == (200, {"compatibilityLevel": "BACKWARD"})
    ask(own, "PUT", "/config/users-value", {"compatibility": "FORWARD"})
    assert ask(own, "GET", "/config/users-value") == (200, {"compatibilityLevel": "FORWARD"})
    assert ask(own, "POST", path, body)[1] == {"is_compatible": True, "messages": []}
    assert register(own, WITHOUT_DEFAULT)[0] == 200
    assert ask(own, "GET", "/config/x?defaultToGlobal=true")[0] == 200


def test_transitive_levels_look_at_every_version(own):
    """a: added with default, removed, added as another type: only the last version allows it."""
    other_type = {
        **USER,
        "fields": [*USER["fields"], {"name": "a", "type": "string", "default": ""}],
    }
    for level, status in (("BACKWARD", 200), ("BACKWARD_TRANSITIVE", 409)):
        subject = level.lower()
        ask(own, "PUT", f"/config/{subject}", {"compatibility": level})
        register(own, WITH_DEFAULT, subject)
        register(own, USER, subject)
        assert register(own, other_type, subject)[0] == status


def test_nothing_is_checked_at_level_none(own):
    ask(own, "PUT", "/config", {"compatibility": "NONE"})
    register(own, USER)
    assert register(own, "string")[0] == 200


def test_schemas_survive_in_a_file(tmp_path):
    file = tmp_path / "schemas.json"
    with Registry(file=file) as first:
        register(first, USER)
        ask(first, "PUT", "/config", {"compatibility": "FULL"})
    with Registry(file=file) as second:
        assert register(second, USER) == (200, {"id": 1})
        assert ask(second, "GET", "/config") == (200, {"compatibilityLevel": "FULL"})


def test_it_comes_back_at_the_same_address(own):
    register(own, USER)
    url = own.url
    own.stop()
    own.stop()
    own.start()
    own.start()
    assert own.url == url
    assert ask(own, "GET", "/subjects") == (200, ["users-value"])
