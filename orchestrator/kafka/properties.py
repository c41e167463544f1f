"""librdkafka's property names: known or not, secret or not, ours or the operator's.

librdkafka itself is the authority on names and values: a client that is built from them, without a
broker's address, refuses what it does not know and never leaves the machine.
"""

from __future__ import annotations

import difflib
import re
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from orchestrator.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SERVERS: Final = ("bootstrap.servers", "metadata.broker.list")
OIDC_ENDPOINT: Final = "sasl.oauthbearer.token.endpoint.url"
NOWHERE: Final = "http://127.0.0.1:9/"
OURS: Final = frozenset(
    "group.id group.instance.id transactional.id partitioner acks request.required.acks "
    "enable.idempotence enable.auto.commit auto.commit.enable isolation.level "
    "auto.offset.reset enable.partition.eof group.protocol socket.timeout.ms".split()
)
"""What the roles set themselves: another value would break a promise.

For example the end of a transaction is awaited for less than ``socket.timeout.ms``, so that
librdkafka never repeats it by itself.
"""
COMMON: Final = (
    "bootstrap.servers client.id client.rack security.protocol sasl.mechanism sasl.username "
    "sasl.password sasl.oauthbearer.method sasl.oauthbearer.client.id "
    "sasl.oauthbearer.client.secret sasl.oauthbearer.token.endpoint.url sasl.oauthbearer.scope "
    "sasl.kerberos.service.name sasl.kerberos.principal sasl.kerberos.keytab ssl.ca.location "
    "ssl.ca.pem ssl.certificate.location ssl.certificate.pem ssl.key.location ssl.key.password "
    "ssl.key.pem ssl.keystore.location ssl.keystore.password ssl.cipher.suites "
    "ssl.endpoint.identification.algorithm enable.ssl.certificate.verification linger.ms "
    "batch.size compression.type message.max.bytes "
    "socket.connection.setup.timeout.ms socket.keepalive.enable connections.max.idle.ms "
    "metadata.max.age.ms broker.address.family fetch.max.bytes fetch.wait.max.ms "
    "session.timeout.ms heartbeat.interval.ms max.poll.interval.ms log_level debug".split()
)
"""Names to suggest from; librdkafka does not list its own."""

_SECRET = re.compile(r"password|secret|passphrase|key\.pem|oauthbearer\.config")


def is_secret(name: str) -> bool:
    """Return whether the value of the librdkafka property ``name`` must not be shown."""
    return _SECRET.search(name) is not None


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean X?`` or nothing."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def check_name(name: str, place: str) -> None:
    """Refuse a property that librdkafka does not know, or that the roles set themselves.

    Raises:
        SettingsError: With ``place`` in front.
    """
    if name in OURS:
        raise SettingsError(f"{place}: kafka.{name} is set by the roles themselves; remove it")
    if not _known(name):
        raise SettingsError(
            f"{place}: kafka.{name}: no such librdkafka property{suggestion(name, COMMON)}"
        )


@cache
def _known(name: str) -> bool:
    if name in COMMON:
        return True
    # A wrong value is another complaint than an unknown name.
    return "No such configuration property" not in _complaint({name: ""})


def check_values(properties: Mapping[str, Any]) -> None:
    """Refuse values that librdkafka refuses, also in their combination.

    Raises:
        SettingsError: With librdkafka's own words, which name the property.
    """
    rest = {name: value for name, value in properties.items() if name not in SERVERS}
    if rest.get(OIDC_ENDPOINT):
        rest[OIDC_ENDPOINT] = NOWHERE  # a client fetches its first token as soon as it is made
    if rest and (complaint := _complaint(rest)):
        raise SettingsError(f"kafka: {complaint}")


def _complaint(properties: Mapping[str, Any]) -> str:
    from confluent_kafka import KafkaException, Producer

    try:
        Producer({"log_level": 0, **properties})
    except (KafkaException, ValueError, TypeError) as error:
        inner = error.args[0] if error.args else error
        return str(inner.str() if hasattr(inner, "str") else inner)
    return ""
