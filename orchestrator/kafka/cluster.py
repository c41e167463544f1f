"""The cluster as it is, beside the topology as it should be: plan, apply, verify."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined] # its stubs export nothing
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from orchestrator.errors import AccessRefused, CouldNotRun, TopologyError
from orchestrator.kafka.access import GRANTS, NOT_ALLOWED, Doorkeeper
from orchestrator.kafka.clients import admin_config
from orchestrator.kafka.topics import STRUCTURE

if TYPE_CHECKING:
    from concurrent.futures import Future

    from orchestrator.kafka.topics import TopicSpec, Topology

ANSWER_S: Final = 15.0
"""How long a broker may take to answer one question."""
SETTLE_S: Final = 30.0
"""How long the cluster may take to know a topic everywhere after creating it."""
REMEDY: Final = "run `orchestrator topics apply`"
RECREATE: Final = "it cannot be changed in place: use a new topics.prefix, or delete the topic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference. ``refuse``: apply cannot remove it; ``detail`` says why."""

    action: Literal["create", "configure", "refuse"]
    topic: str
    detail: str
    spec: TopicSpec
    config: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Existing:
    partitions: int
    config: dict[str, str]


def plan(topology: Topology) -> list[Change]:
    """Return the differences between topology and cluster, in the topology's order."""
    return _differences(topology, _existing(topology, topology.specs()))


def apply(topology: Topology) -> list[Change]:
    """Remove the differences that can be removed and wait until the cluster knows it.

    Raises:
        CouldNotRun: The cluster refused; its words are in the text.
    """
    admin = AdminClient(admin_config(topology.settings))
    changes = plan(topology)
    new = [
        NewTopic(
            change.topic,
            num_partitions=change.spec.partitions,
            replication_factor=change.spec.replication_factor,
            config=dict(change.spec.config),
        )
        for change in changes
        if change.action == "create"
    ]
    if new:
        for name, future in admin.create_topics(new, operation_timeout=ANSWER_S).items():
            _settled(future, f"create {name}", but=KafkaError.TOPIC_ALREADY_EXISTS)
    altered = [_resource(change) for change in changes if change.action == "configure"]
    if altered:
        for resource, future in admin.incremental_alter_configs(altered).items():
            _settled(future, f"configure {resource.name}")
    if new or altered:
        _wait_until_settled(topology, admin)
    return changes


def verify(topology: Topology, needed: frozenset[str], channel: str = "") -> None:
    """See ``Topology.verify``."""
    specs = [
        spec
        for spec in topology.specs()
        if (not needed or spec.logical in needed) and (not channel or spec.channel in {"", channel})
    ]
    faults: list[str] = []
    existing = _existing(topology, specs)
    for change in _differences(topology, existing, specs):
        if change.action == "create":
            faults.append(f"{change.topic} is missing: {REMEDY}")
        elif change.action == "refuse":
            faults.append(f"{change.topic}: {change.detail}")
        elif structural := sorted(STRUCTURE & change.config.keys()):
            now = existing[change.topic].config
            faults += [
                f"{change.topic}: {name} is {now.get(name)}, not {change.config[name]}: {REMEDY}"
                for name in structural
                if not _suffices(name, now.get(name), change.config[name])
            ]
    if faults:
        raise TopologyError("\n".join(faults))


def _differences(
    topology: Topology, existing: dict[str, _Existing], specs: list[TopicSpec] | None = None
) -> list[Change]:
    changes: list[Change] = []
    for spec in topology.specs() if specs is None else specs:
        found = existing.get(spec.name)
        if found is None:
            text = ", ".join(f"{key}={value}" for key, value in spec.config.items())
            detail = f"{spec.partitions} partitions, {spec.replication_factor} copies, {text}"
            changes.append(_change("create", spec, detail, dict(spec.config)))
            continue
        if found.partitions != spec.partitions:
            # Another number moves every key: customers would lose their state.
            detail = f"has {found.partitions} partitions, not {spec.partitions}; {RECREATE}"
            changes.append(_change("refuse", spec, detail, {}))
        wrong = {key: value for key, value in spec.config.items() if found.config.get(key) != value}
        if wrong:
            detail = ", ".join(
                f"{key}: {found.config.get(key)} -> {value}" for key, value in wrong.items()
            )
            changes.append(_change("configure", spec, detail, wrong))
    return changes


def _change(
    action: Literal["create", "configure", "refuse"],
    spec: TopicSpec,
    detail: str,
    config: dict[str, str],
) -> Change:
    return Change(action=action, topic=spec.name, detail=detail, spec=spec, config=config)


def _suffices(name: str, now: str | None, wanted: str) -> bool:
    """A larger message size than we need is fine."""
    return name == "max.message.bytes" and now is not None and int(now) >= int(wanted)


def _existing(topology: Topology, specs: list[TopicSpec]) -> dict[str, _Existing]:
    door = Doorkeeper(topology.settings)
    admin = AdminClient(admin_config(topology.settings, error_cb=door.hear))
    what = "the topics cannot be looked at"
    metadata = door.metadata(admin, what, ANSWER_S).topics
    for spec in specs:
        if spec.name not in metadata:
            # One that may not be described looks like one that is missing, unless asked by name.
            door.metadata(admin, f"{spec.name} cannot be looked at", ANSWER_S, topic=spec.name)
    try:
        names = [spec.name for spec in specs if spec.name in metadata]
        if not names:
            return {}
        answers = admin.describe_configs(
            [ConfigResource(ResourceType.TOPIC, name) for name in names],
            request_timeout=ANSWER_S,
        )
        return {
            resource.name: _Existing(
                partitions=len(metadata[resource.name].partitions),
                config={key: entry.value for key, entry in future.result().items()},
            )
            for resource, future in answers.items()
        }
    except KafkaException as error:
        raise door.verdict(what, error, admin) from error


def _resource(change: Change) -> ConfigResource:
    return ConfigResource(
        ResourceType.TOPIC,
        change.topic,
        incremental_configs=[
            ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
            for key, value in change.config.items()
        ],
    )


def _settled(future: Future[None], what: str, but: int | None = None) -> None:
    try:
        future.result(SETTLE_S)
    except KafkaException as error:
        told = error.args[0]
        if told.code() in NOT_ALLOWED:
            raise AccessRefused(f"{what}: {told.str()}: {GRANTS}") from error
        if told.code() != but:
            raise CouldNotRun(f"{what}: {error.args[0].str()}") from error


def _wait_until_settled(topology: Topology, admin: AdminClient) -> None:
    """Changes spread through a cluster: a role that starts now must find all of them in place."""
    deadline = time.monotonic() + SETTLE_S
    wanted = {spec.name for spec in topology.specs()}
    while True:
        pending = {change.topic for change in plan(topology) if change.action != "refuse"}
        known = admin.list_topics(timeout=ANSWER_S).topics
        pending |= {
            name
            for name in wanted & known.keys()
            if any(part.leader < 0 for part in known[name].partitions.values())
        }
        if not pending:
            return
        if time.monotonic() > deadline:
            raise CouldNotRun(f"changed, but not in place yet: {', '.join(sorted(pending))}")
        time.sleep(0.05)
