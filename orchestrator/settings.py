"""Settings of every role: ``orchestrator.yaml`` < environment < flags; refused when unknown.

The environment overrides one leaf each: ``ORCHESTRATOR_WORKER__DATA_DIR=/var/lib/orchestrator`` is
``worker.data_dir``; with ``_FILE`` behind it the value is read from that file, as mounted secrets
are. In the ``kafka`` section names are librdkafka's, ``.`` written as ``_``:
``ORCHESTRATOR_KAFKA__SASL_PASSWORD_FILE``. The mechanics stand in ``orchestrator.layers``.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from orchestrator import layers
from orchestrator.errors import SettingsError
from orchestrator.kafka.properties import check_values, is_secret
from orchestrator.layers import Secret
from orchestrator.sections import Port, Positive, Section, shown
from orchestrator.sender_settings import AnySender, check_sender
from orchestrator.webhook_settings import Webhook, check_webhook

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Secret", "Settings", "json_schema", "load_settings", "shown"]

DEFAULT_FILE = "orchestrator.yaml"


class Registry(Section, frozen=True, kw_only=True):
    """The schema registry (Confluent-compatible)."""

    url: str = "http://127.0.0.1:8081"
    username: str | None = None
    password: Secret | None = None
    token: Annotated[Secret | None, Meta(description="Bearer token, instead of a user name.")] = (
        None
    )
    ca_location: str | None = None
    certificate_location: Annotated[
        str | None, Meta(description="Client certificate (PEM) for mutual TLS.")
    ] = None
    key_location: str | None = None
    key_password: Secret | None = None
    subjects: Annotated[
        Literal["topic_record", "record"],
        Meta(description="How the subjects of our own topics are named."),
    ] = "topic_record"
    auto_register: Annotated[
        bool, Meta(description="Register missing schemas at start; true in dev only.")
    ] = False
    timeout_ms: Positive = 10_000


class Topics(Section, frozen=True, kw_only=True):
    """Names, sizes and copies of the topics."""

    prefix: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]{0,99}$",
            description="First part of every topic's name; `journey-log` if clock.mode is log.",
        ),
    ] = "journey"
    partitions: Annotated[
        Positive,
        Meta(
            description="Of all topics that are keyed by customer; never changed later. 4 in dev."
        ),
    ] = 8
    replication_factor: Annotated[Positive, Meta(description="1 in dev.")] = 3
    channels: Annotated[
        list[str],
        Meta(description="Channels that have topics, beside those that `deliver` names."),
    ] = msgspec.field(default_factory=list)
    config: Annotated[
        dict[str, dict[str, str | int]],
        Meta(description="Kafka topic settings laid over ours: {timeline: {retention.ms: ...}}."),
    ] = msgspec.field(default_factory=dict)


class App(Section, frozen=True, kw_only=True):
    """Which deployment this is: names consumer groups, transactional ids and changelogs."""

    id: Annotated[
        str,
        Meta(
            pattern=r"^([A-Za-z0-9][A-Za-z0-9.-]{0,99})?$",
            description="The identity of the state; the topics' prefix if not given.",
        ),
    ] = ""


class Clock(Section, frozen=True, kw_only=True):
    """Who says what time it is."""

    mode: Annotated[
        Literal["broker", "log"],
        Meta(description="broker: the broker's append time. log: the records' own time."),
    ] = "broker"


class Worker(Section, frozen=True, kw_only=True):
    """The stream app."""

    data_dir: str = ".state"
    slot: Annotated[int, Meta(ge=0, description="Number of this worker; static membership.")] = 0
    web_host: str = "127.0.0.1"
    web_port: Port = 6066
    url: Annotated[str | None, Meta(description="Any worker's web address, for tools.")] = None
    checkpoint_ms: Annotated[
        int, Meta(ge=0, description="Least time between two checkpoints of a partition.")
    ] = 50
    tick_gap_ms: Annotated[
        Positive,
        Meta(description="Silence of a partition after which a due timer asks for a tick."),
    ] = 250
    assume_accepted: Annotated[
        bool, Meta(description="Every sent action is taken as accepted at once; no sinks run.")
    ] = False


class WriteKey(Section, frozen=True, kw_only=True):
    """What a caller of the collector may do."""

    source: str
    scope: Annotated[
        Literal["client", "server"],
        Meta(description="server: may also send receipts, consent and identity `customer`."),
    ] = "client"


class Collector(Section, frozen=True, kw_only=True):
    """The HTTP collector."""

    host: str = "127.0.0.1"
    port: Port = 8080
    write_keys: Annotated[
        dict[str, WriteKey], Meta(description="Write key -> what it may do. The keys are secret.")
    ] = msgspec.field(default_factory=dict)
    inbox_secret: Annotated[
        Secret | None, Meta(description="Signs the tokens by which apps read an inbox.")
    ] = None
    webhooks: Annotated[
        dict[str, Webhook],
        Meta(description="Source (sources/*.yaml, or a shipped one) -> how it proves itself."),
    ] = msgspec.field(default_factory=dict)
    cors_origins: list[str] = msgspec.field(default_factory=lambda: ["*"])

    def adorned(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Return the fields without the write keys: here the keys themselves are the secret."""
        keys = enumerate(fields["write_keys"].values(), 1)
        return {**fields, "write_keys": {f"*** ({number})": key for number, key in keys}}


class LinkSettings(Section, frozen=True, kw_only=True):
    """Signed links in messages: one-click unsubscribe and the preference page."""

    url: Annotated[
        str | None, Meta(description="Where the collector is reached from outside, with https.")
    ] = None
    secret: Annotated[
        Secret | None, Meta(description="Signs the links; the same for collector and sinks.")
    ] = None
    earlier_secrets: Annotated[
        list[Secret], Meta(description="No longer sign; links in older mails still hold.")
    ] = msgspec.field(default_factory=list)


class Connect(Section, frozen=True, kw_only=True):
    """The reader of topics that exist already; which ones, sources/*.yaml say."""

    topics: Annotated[
        list[str], Meta(description="Those topics, for `topics acls`: what the role may read.")
    ] = msgspec.field(default_factory=list)
    web_host: str = "127.0.0.1"
    web_port: Annotated[Port, Meta(description="Of /livez, /readyz and /metrics; 0 = any.")] = 0


class Log(Section, frozen=True, kw_only=True):
    """What the roles write about themselves, on stderr."""

    format: Annotated[
        Literal["auto", "json", "console"], Meta(description="auto: console on a terminal.")
    ] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"
    customer_ids: Annotated[
        Literal["hashed", "plain"], Meta(description="How customers are named in logs.")
    ] = "hashed"


class Settings(Section, frozen=True, kw_only=True):
    """All of ``orchestrator.yaml``."""

    dev: Annotated[
        bool, Meta(description="Lowers the defaults to one broker: 4 partitions, 1 copy.")
    ] = False
    kafka: Annotated[
        dict[str, Any], Meta(description="librdkafka's property names and values.")
    ] = msgspec.field(default_factory=lambda: {"bootstrap.servers": "127.0.0.1:9092"})
    registry: Registry = Registry()
    topics: Topics = Topics()
    app: App = App()
    clock: Clock = Clock()
    worker: Worker = Worker()
    collector: Collector = Collector()
    connect: Connect = Connect()
    deliver: Annotated[
        dict[str, AnySender], Meta(description="Channel -> how its messages leave.")
    ] = msgspec.field(default_factory=dict)
    links: LinkSettings = LinkSettings()
    log: Log = Log()

    def __post_init__(self) -> None:
        if not self.app.id:
            msgspec.structs.force_setattr(self, "app", App(id=self.topics.prefix))
        for name, value in self.kafka.items():
            if is_secret(name) and not isinstance(value, Secret):
                self.kafka[name] = Secret(str(value))

    @property
    def channels(self) -> tuple[str, ...]:
        """Every channel that has topics, sorted."""
        return tuple(sorted({*self.topics.channels, *self.deliver}))


def load_settings(
    path: str | Path | None = None,
    *,
    env: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Settings:
    """Read the settings of this process.

    Args:
        path: The file; None = ``$ORCHESTRATOR_SETTINGS``, else ``orchestrator.yaml`` if it exists.
        env: The environment; None = this process's.
        flags: Dotted name -> value, for example ``{"clock.mode": "log"}``; the strongest layer.

    Raises:
        SettingsError: A key is unknown, a value is wrong, or a named file does not exist.
    """
    env = os.environ if env is None else env
    given = layers.Layers(Settings)
    named = path or env.get("ORCHESTRATOR_SETTINGS")
    if named is not None:
        given.add_file(Path(named))
    elif Path(DEFAULT_FILE).is_file():
        given.add_file(Path(DEFAULT_FILE))
    given.add_environment(env)
    for key, value in (flags or {}).items():
        given.add_flag(key, value)
    if given.get("dev") is True:
        given.default("topics.partitions", 4)
        given.default("topics.replication_factor", 1)
        given.default("registry.auto_register", value=True)
    if given.get("clock.mode") == "log":
        given.default("topics.prefix", "journey-log")
    given.default("kafka.bootstrap.servers", "127.0.0.1:9092")
    settings: Settings = given.convert()
    _check(settings)
    return settings


def _check(settings: Settings) -> None:
    if urlsplit(settings.registry.url).username is not None:
        raise SettingsError(
            "registry.url: user and password do not belong in the address; "
            "use registry.username and registry.password"
        )
    if settings.registry.username and settings.registry.token:
        raise SettingsError("registry: username or token, not both: a request has one log-in")
    for channel in settings.channels:
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,62}", channel):
            raise SettingsError(f"channel {channel!r}: use lower-case letters, digits and dashes")
    for name, hook in settings.collector.webhooks.items():
        check_webhook(f"collector.webhooks.{name}", hook)
    for channel, sender in settings.deliver.items():
        check_sender(f"deliver.{channel}", sender)
    check_values({name: _plain(value) for name, value in settings.kafka.items()})


def _plain(value: Any) -> Any:
    return value.reveal() if isinstance(value, Secret) else value


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of ``orchestrator.yaml``, as shipped in ``schemas/json``."""
    schema = msgspec.json.schema(Settings, schema_hook=layers.schema_of_secret)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "orchestrator.yaml",
        **_closed(schema),
    }


def _closed(schema: Any) -> Any:
    """Objects with named properties take no others: an editor shows a misspelt key at once."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(item) for key, item in schema.items()}
    if "properties" in closed and closed.get("type") == "object":
        closed["additionalProperties"] = False
    return closed


if __name__ == "__main__":
    print(msgspec.json.format(msgspec.json.encode(json_schema()), indent=2).decode())  # noqa: T201 - its purpose
