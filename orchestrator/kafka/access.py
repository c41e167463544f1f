"""Why a broker does not answer: it is away, or it does not let us in. Only the first is worth a wait.

librdkafka says to the caller "transport failure" in both cases; the reason comes by its error
callback alone. So whoever asks a cluster its first question listens with a ``Doorkeeper``.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

from confluent_kafka import KafkaError, KafkaException

from orchestrator.errors import AccessRefused, BrokerUnavailable
from orchestrator.kafka.clients import bootstrap_servers, log_error

if TYPE_CHECKING:
    from confluent_kafka.admin import ClusterMetadata  # type: ignore[attr-defined] # its stubs

    from orchestrator.settings import Settings

GRANTS: Final = "compare its grants with `orchestrator topics acls`"
NOT_ALLOWED: Final = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    }
)
LOOK_S: Final = 1.0
"""Between two looks at what a client that waits for an answer has complained of."""
_TIMING: Final = re.compile(r" \(after \d+ms in state \w+.*?\)$")
_TLS: Final = re.compile(r"SSL|certificate")


class _Client(Protocol):
    def poll(self, timeout: float, /) -> Any: ...


class _Asker(_Client, Protocol):
    def list_topics(self, topic: str = ..., timeout: float = ...) -> ClusterMetadata: ...


class Doorkeeper:
    """Listens to one client and says what a failure means. Give ``hear`` as its ``error_cb``."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._heard: dict[str, str] = {}

    def hear(self, error: KafkaError) -> None:
        """Take what the client complains of."""
        self._heard[error.name()] = _TIMING.sub("", error.str())
        log_error(error)

    def verdict(
        self, what: str, failure: KafkaException, client: _Client | None = None
    ) -> AccessRefused | BrokerUnavailable:
        """Return the error to raise for ``failure``; ``what`` could not be done begins its text."""
        told: KafkaError = failure.args[0]
        if told.code() in NOT_ALLOWED:
            return AccessRefused(f"{what}: {told.str()} {self._me}: {GRANTS}")
        if client is not None:
            client.poll(0)  # complaints are delivered by polling alone
        servers = ",".join(bootstrap_servers(self._settings))
        if text := self._heard.get("_AUTHENTICATION"):
            return AccessRefused(
                f"{what}: Kafka at {servers} refuses the log-in {self._me}: {text}; "
                "see kafka.sasl.mechanism, kafka.sasl.username and kafka.sasl.password"
            )
        for text in self._heard.values():
            if _TLS.search(text):
                return AccessRefused(
                    f"{what}: no TLS with Kafka at {servers}: {text}; see kafka.security.protocol, "
                    "kafka.ssl.ca.location, kafka.ssl.certificate.location and kafka.ssl.key.location"
                )
        return BrokerUnavailable(f"{what}: no answer from Kafka at {servers}: {told.str()}")

    def metadata(
        self, client: _Asker, what: str, timeout: float, *, topic: str = ""
    ) -> ClusterMetadata:
        """Return what the cluster says of all topics, or of one. A refusal ends the wait early.

        Raises:
            AccessRefused: We are not let in, or may not see ``topic``.
            BrokerUnavailable: No answer within ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        named = {"topic": topic} if topic else {}
        while True:
            left = deadline - time.monotonic()
            try:
                answer = client.list_topics(**named, timeout=max(0.1, min(LOOK_S, left)))
            except KafkaException as failure:
                verdict = self.verdict(what, failure, client)
                if isinstance(verdict, AccessRefused) or left <= LOOK_S:
                    raise verdict from failure
            else:
                error = answer.topics[topic].error if topic else None
                if error is not None and error.code() in NOT_ALLOWED:
                    raise self.verdict(what, KafkaException(error))
                return answer

    @property
    def _me(self) -> str:
        name = self._settings.kafka.get("sasl.username")
        return f"of {name}" if name else "of this role"
