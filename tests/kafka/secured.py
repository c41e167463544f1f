"""A broker as platform teams run it: TLS, log-ins, an authorizer that denies what was not granted.

Its plain listener is for its administrator (these tests) alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import yaml
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from orchestrator.kafka.acls import Grant
from orchestrator.testing.broker import Broker
from orchestrator.testing.certificates import Authority, Identity

ANSWER_S = 20
PATIENCE_S = 60
ITERATIONS = 4096
CHIEF = "chief"
"""A super user, as whom a whole deployment runs where grants are not the point."""
OPERATIONS = {
    "Read": AclOperation.READ,
    "Write": AclOperation.WRITE,
    "Create": AclOperation.CREATE,
    "Describe": AclOperation.DESCRIBE,
    "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
    "AlterConfigs": AclOperation.ALTER_CONFIGS,
}
RESOURCES = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactionalId": ResourceType.TRANSACTIONAL_ID,
}
TRIALS = "trials.v1"
"""A topic of another team, which a mapping of the workspace reads."""
WORKSPACE = {
    "profile.yaml": {
        "identities": {"primary": "account_id"},
        "traits": {"email": {"type": "string"}},
    },
    "policy.yaml": {
        "timezone": "UTC",
        "channels": {"email": {"address": "profile.email"}},
        "consent": {"default": {"service": "opt_out"}},
    },
    "events.yaml": {"trial.started": {}},
    "sources/trials.yaml": {
        "source": "crm",
        "topic": TRIALS,
        "format": "json",
        "events": [
            {
                "type": "customer.updated",
                "identities": {"account_id": "record.who"},
                "properties": {"email": "record.mail"},
            },
            {"type": "trial.started", "identities": {"account_id": "record.who"}},
        ],
    },
    "messages/hello.yaml": {
        "message": "hello",
        "category": "service",
        "channels": {"email": {"subject": "Hello", "text": "Hello."}},
    },
    "messages/thanks.yaml": {
        "message": "thanks",
        "category": "service",
        "channels": {"email": {"subject": "Thanks", "text": "You took it."}},
    },
    # The second message leaves only when the first one's receipt has come back.
    "journeys/hello.yaml": {
        "journey": "hello",
        "entry": {"on": "trial.started"},
        "steps": [
            {"id": "first", "send": {"message": "hello", "channel": "email"}},
            {
                "id": "receipt",
                "wait_for": {
                    "first": [{"on": "message.accepted", "of": "first", "then": "second"}],
                    "timeout": "P1D",
                },
            },
            {"id": "never", "stop": True},
            {"id": "second", "send": {"message": "thanks", "channel": "email"}},
        ],
    },
}


def write_workspace(folder: Path) -> Path:
    """Write the smallest workspace whose journey shows that a receipt has come back."""
    for name, content in WORKSPACE.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(yaml.safe_dump(content, sort_keys=False))
    return folder


class SecuredBroker:
    """A broker with listeners for SCRAM over TLS and for client certificates; a context manager."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder)
        server = self.authority.issue("broker")
        scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        self._broker = Broker(
            {
                "ssl.keystore.type": "PEM",
                "ssl.keystore.location": str(server.bundle),
                "ssl.truststore.type": "PEM",
                "ssl.truststore.location": str(self.authority.file),
                "listener.name.mtls.ssl.client.auth": "required",
                "sasl.enabled.mechanisms": "SCRAM-SHA-512",
                "listener.name.scram.scram-sha-512.sasl.jaas.config": scram,
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "super.users": f"User:ANONYMOUS;User:CN={CHIEF}",
            },
            listeners={"SCRAM": "SASL_SSL", "MTLS": "SSL"},
        )

    def __enter__(self) -> Self:
        self._broker.__enter__()
        self.admin = AdminClient({"bootstrap.servers": self._broker.bootstrap, "log_level": 0})
        return self

    def __exit__(self, *_: object) -> None:
        self._broker.close()

    @property
    def broker(self) -> Broker:
        """The broker itself."""
        return self._broker

    def scram(self, **more: Any) -> dict[str, Any]:
        """Return the ``kafka`` section for SCRAM over TLS; the account is the caller's."""
        return {
            "bootstrap.servers": self._broker.address("SCRAM"),
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-512",
            "ssl.ca.location": str(self.authority.file),
            **more,
        }

    def mtls(self, identity: Identity | None, **more: Any) -> dict[str, Any]:
        """Return the ``kafka`` section for client certificates."""
        own = {}
        if identity is not None:
            own = {
                "ssl.certificate.location": str(identity.certificate),
                "ssl.key.location": str(identity.key),
            }
        return {
            "bootstrap.servers": self._broker.address("MTLS"),
            "security.protocol": "SSL",
            "ssl.ca.location": str(self.authority.file),
            **own,
            **more,
        }

    def add_accounts(self, passwords: dict[str, str]) -> None:
        """Create SCRAM accounts."""
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, ITERATIONS)
        wanted = [
            UserScramCredentialUpsertion(name, info, password.encode())
            for name, password in passwords.items()
        ]
        for future in self.admin.alter_user_scram_credentials(wanted).values():
            future.result(ANSWER_S)

    def grant(self, principal: str, grants: Iterable[Grant]) -> None:
        """Allow exactly this; it is in force on return."""
        bindings = _bindings(principal, grants)
        for future in self.admin.create_acls(bindings).values():
            future.result(ANSWER_S)
        for one in bindings:
            self._until_in_force(_filter_of(one), there=True)

    def revoke(self, principal: str, grant: Grant, operation: str) -> None:
        """Take one operation of one grant back; it is out of force on return."""
        (binding,) = _bindings(principal, [replace(grant, operations=(operation,))])
        one = _filter_of(binding)
        for future in self.admin.delete_acls([one]).values():
            assert len(future.result(ANSWER_S)) == 1
        self._until_in_force(one, there=False)

    def _until_in_force(self, one: AclBindingFilter, *, there: bool) -> None:
        """Wait for the authorizer: the controller answers before the broker has heard of a change."""
        deadline = time.monotonic() + PATIENCE_S
        while bool(self.admin.describe_acls(one).result(ANSWER_S)) != there:
            assert time.monotonic() < deadline, f"never in force: {one}"
            time.sleep(0.02)


def _filter_of(binding: AclBinding) -> AclBindingFilter:
    return AclBindingFilter(
        binding.restype,
        binding.name,
        binding.resource_pattern_type,
        binding.principal,
        binding.host,
        binding.operation,
        binding.permission_type,
    )


def _bindings(principal: str, grants: Iterable[Grant]) -> Sequence[AclBinding]:
    return [
        AclBinding(
            RESOURCES[grant.resource],
            grant.name,
            ResourcePatternType.PREFIXED if grant.prefixed else ResourcePatternType.LITERAL,
            principal,
            "*",
            OPERATIONS[operation],
            AclPermissionType.ALLOW,
        )
        for grant in grants
        for operation in grant.operations
    ]
