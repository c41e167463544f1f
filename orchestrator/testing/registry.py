"""A small schema registry for development and tests, compatible with Confluent's as far as used.

It runs in a thread of this process and keeps its schemas in memory, or in a file. Ids count from 1
in the order of first registration, so the same steps always give the same bytes on the topics.

::

    with Registry() as registry:
        client = RegistryClient(registry.url)
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import web
from fastavro import parse_schema
from fastavro.schema import SchemaParseException, UnknownType

from orchestrator.testing.compatibility import unreadable

CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
LEVELS = "NONE BACKWARD BACKWARD_TRANSITIVE FORWARD FORWARD_TRANSITIVE FULL FULL_TRANSITIVE".split()
DEFAULT_LEVEL = "BACKWARD"
START_SECONDS = 10.0
GLOBAL = ""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Registry:
    """The server; a context manager.

    Args:
        file: Keeps the schemas over restarts.
        credentials: (user name, password) that basic authentication must bring.
        token: What bearer authentication must bring.
        tls: Serves https.
    """

    def __init__(
        self,
        *,
        file: Path | None = None,
        credentials: tuple[str, str] | None = None,
        token: str = "",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.down = False
        """Answer everything with 503, as a registry without its Kafka does."""
        self.delay = 0.0
        """Seconds before each answer."""
        self.requests: list[str] = []
        """``METHOD path`` of everything asked."""
        self._file = file
        self._wanted = _authorization(credentials, token)
        self._tls = tls
        self._schemas: list[str] = []  # id - 1 -> canonical text
        self._subjects: dict[str, list[int]] = {}  # subject -> ids by version - 1
        self._levels: dict[str, str] = {}
        self._port = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._runner: web.AppRunner | None = None
        if file is not None and file.exists():
            kept = json.loads(file.read_text(encoding="utf-8"))
            self._schemas, self._subjects, self._levels = (
                kept["schemas"],
                kept["subjects"],
                kept["levels"],
            )

    @property
    def url(self) -> str:
        """Base URL; stays the same over a restart."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Listen, on the port of the last time if there was one."""
        if self._thread is not None:
            return
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="schema-registry", daemon=True
        )
        self._thread.start()
        self._run(self._listen())

    def stop(self) -> None:
        """Refuse connections from now on; what is registered stays."""
        if self._thread is None or self._loop is None:
            return
        if self._runner is not None:
            self._run(self._runner.cleanup())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(START_SECONDS)
        self._loop.close()
        self._thread = self._loop = self._runner = None

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        if self._loop is None:
            raise RuntimeError("not started")
        done: Future[None] = asyncio.run_coroutine_threadsafe(work, self._loop)
        done.result(START_SECONDS)

    async def _listen(self) -> None:
        application = web.Application(middlewares=[self._gate])
        application.add_routes(
            [
                web.get("/", self._root),
                web.get("/subjects", self._list_subjects),
                web.post("/subjects/{subject}", self._lookup),
                web.get("/subjects/{subject}/versions", self._list_versions),
                web.post("/subjects/{subject}/versions", self._register),
                web.get("/subjects/{subject}/versions/{version}", self._version),
                web.get("/subjects/{subject}/versions/{version}/schema", self._version_schema),
                web.get("/schemas/types", self._types),
                web.get("/schemas/ids/{id}", self._schema),
                web.post("/compatibility/subjects/{subject}/versions", self._compatibility),
                web.post(
                    "/compatibility/subjects/{subject}/versions/{version}", self._compatibility
                ),
                web.get("/config", self._get_level),
                web.put("/config", self._put_level),
                web.get("/config/{subject}", self._get_level),
                web.put("/config/{subject}", self._put_level),
            ]
        )
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, ssl_context=self._tls)
        await site.start()
        self._port = self._runner.addresses[0][1]

    @web.middleware
    async def _gate(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.path}")
        if self.delay:
            await asyncio.sleep(self.delay)
        if self.down:
            return _error(HTTPStatus.SERVICE_UNAVAILABLE, 50301, "told to be down")
        if self._wanted and request.headers.get("Authorization") != self._wanted:
            return _error(HTTPStatus.UNAUTHORIZED, 40101, "Unauthorized")
        try:
            return await handler(request)
        except _Refused as refusal:
            return _error(refusal.status, refusal.code, str(refusal))

    # What is asked.

    async def _root(self, _: web.Request) -> web.Response:
        return _answer({})

    async def _types(self, _: web.Request) -> web.Response:
        return _answer(["AVRO"])

    async def _list_subjects(self, _: web.Request) -> web.Response:
        return _answer(sorted(self._subjects))

    async def _list_versions(self, request: web.Request) -> web.Response:
        return _answer(list(range(1, len(self._versions(request)) + 1)))

    async def _schema(self, request: web.Request) -> web.Response:
        number = request.match_info["id"]
        if not number.isdecimal() or not 1 <= int(number) <= len(self._schemas):
            raise _Refused(HTTPStatus.NOT_FOUND, 40403, "Schema not found")
        return _answer({"schema": self._schemas[int(number) - 1]})

    async def _version(self, request: web.Request) -> web.Response:
        version, number = self._picked(request)
        return _answer(self._described(request.match_info["subject"], version, number))

    async def _version_schema(self, request: web.Request) -> web.Response:
        _, number = self._picked(request)
        return _answer(json.loads(self._schemas[number - 1]))

    async def _lookup(self, request: web.Request) -> web.Response:
        ids, text = self._versions(request), await _schema_of(request)
        for version, number in enumerate(ids, 1):
            if self._schemas[number - 1] == text:
                return _answer(self._described(request.match_info["subject"], version, number))
        raise _Refused(HTTPStatus.NOT_FOUND, 40403, "Schema not found")

    async def _register(self, request: web.Request) -> web.Response:
        subject, text = request.match_info["subject"], await _schema_of(request)
        ids = self._subjects.get(subject, [])
        known = [number for number in ids if self._schemas[number - 1] == text]
        if known:
            return _answer({"id": known[0]})
        problems = self._problems(subject, text, ids)
        if problems:
            raise _Refused(
                HTTPStatus.CONFLICT,
                409,
                f"Schema being registered is incompatible with an earlier schema for subject "
                f'"{subject}", details: {problems}',
            )
        if text not in self._schemas:
            self._schemas.append(text)
        number = self._schemas.index(text) + 1
        self._subjects.setdefault(subject, []).append(number)
        self._keep()
        return _answer({"id": number})

    async def _compatibility(self, request: web.Request) -> web.Response:
        subject, text = request.match_info["subject"], await _schema_of(request)
        if "version" in request.match_info:
            ids = [self._picked(request)[1]]
        else:
            ids = self._subjects.get(subject, [])
        problems = self._problems(subject, text, ids)
        answer: dict[str, Any] = {"is_compatible": not problems}
        if request.query.get("verbose") == "true":
            answer["messages"] = problems
        return _answer(answer)

    async def _get_level(self, request: web.Request) -> web.Response:
        subject = request.match_info.get("subject", GLOBAL)
        own = subject == GLOBAL or subject in self._levels
        if not own and request.query.get("defaultToGlobal") != "true":
            raise _Refused(
                HTTPStatus.NOT_FOUND,
                40408,
                f"Subject '{subject}' does not have subject-level compatibility configured",
            )
        return _answer({"compatibilityLevel": self._level(subject)})

    async def _put_level(self, request: web.Request) -> web.Response:
        body = await _body(request)
        level = body.get("compatibility")
        if level not in LEVELS:
            raise _Refused(HTTPStatus.UNPROCESSABLE_ENTITY, 42203, "Invalid compatibility level")
        self._levels[request.match_info.get("subject", GLOBAL)] = level
        self._keep()
        return _answer({"compatibility": level})

    # What it knows.

    def _level(self, subject: str) -> str:
        return self._levels.get(subject, self._levels.get(GLOBAL, DEFAULT_LEVEL))

    def _versions(self, request: web.Request) -> list[int]:
        ids = self._subjects.get(request.match_info["subject"])
        if ids is None:
            raise _Refused(HTTPStatus.NOT_FOUND, 40401, "Subject not found")
        return ids

    def _picked(self, request: web.Request) -> tuple[int, int]:
        ids, wanted = self._versions(request), request.match_info["version"]
        version = len(ids) if wanted in {"latest", "-1"} else _number(wanted)
        if not 1 <= version <= len(ids):
            raise _Refused(HTTPStatus.NOT_FOUND, 40402, "Version not found")
        return version, ids[version - 1]

    def _described(self, subject: str, version: int, number: int) -> dict[str, Any]:
        schema = self._schemas[number - 1]
        return {"subject": subject, "version": version, "id": number, "schema": schema}

    def _problems(self, subject: str, text: str, ids: list[int]) -> list[str]:
        level, new = self._level(subject), json.loads(text)
        if not level.endswith("_TRANSITIVE"):
            ids = ids[-1:]
        found: list[str] = []
        for number in ids:
            old = json.loads(self._schemas[number - 1])
            if level.startswith(("BACKWARD", "FULL")):
                found += unreadable(reader=new, writer=old)
            if level.startswith(("FORWARD", "FULL")):
                found += unreadable(reader=old, writer=new)
        return found

    def _keep(self) -> None:
        if self._file is None:
            return
        kept = {"schemas": self._schemas, "subjects": self._subjects, "levels": self._levels}
        partial = self._file.with_name(f"{self._file.name}.partial")
        partial.write_text(json.dumps(kept), encoding="utf-8")
        partial.replace(self._file)


class _Refused(Exception):  # noqa: N818 - never leaves this module
    def __init__(self, status: HTTPStatus, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.text())
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise _Refused(HTTPStatus.BAD_REQUEST, 400, "Unable to process JSON")
    return body


async def _schema_of(request: web.Request) -> str:
    """Return the schema of a request in one spelling: equal schemas must be equal texts."""
    body = await _body(request)
    try:
        schema = json.loads(body["schema"])
        parse_schema(schema)
    except (KeyError, TypeError, ValueError, SchemaParseException, UnknownType) as error:
        raise _Refused(
            HTTPStatus.UNPROCESSABLE_ENTITY, 42201, f"Invalid schema: {error}"
        ) from error
    if body.get("schemaType", "AVRO") != "AVRO" or body.get("references"):
        raise _Refused(
            HTTPStatus.UNPROCESSABLE_ENTITY, 42201, "Invalid schema: AVRO without references only"
        )
    return json.dumps(schema, separators=(",", ":"), ensure_ascii=False)


def _authorization(credentials: tuple[str, str] | None, token: str) -> str:
    """Return the header that lets a caller in; empty: everybody."""
    if credentials is not None:
        return "Basic " + base64.b64encode(":".join(credentials).encode()).decode()
    return f"Bearer {token}" if token else ""


def _number(text: str) -> int:
    if not text.isdecimal():
        raise _Refused(HTTPStatus.UNPROCESSABLE_ENTITY, 42202, "The specified version is invalid")
    return int(text)


def _answer(body: Any, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    return web.Response(text=json.dumps(body), status=status, content_type=CONTENT_TYPE)


def _error(status: HTTPStatus, code: int, message: str) -> web.Response:
    return _answer({"error_code": code, "message": message}, status)
