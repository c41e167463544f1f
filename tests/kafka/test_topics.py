"""The topology: what it says without a broker, and what it does to a real one."""

from __future__ import annotations

import time

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from orchestrator.errors import BrokerUnavailable, SettingsError, TopologyError
from orchestrator.kafka.clients import admin_config
from orchestrator.kafka.topics import NO_LIMIT, Topology
from orchestrator.settings import load_settings


def settings_for(prefix: str, bootstrap: str = "127.0.0.1:1", **flags):
    return load_settings(
        env={},
        flags={
            "dev": True,
            "kafka.bootstrap.servers": bootstrap,
            "topics.prefix": prefix,
            "topics.channels": ["email", "sales"],
            **flags,
        },
    )


def by_logical(topology: Topology) -> dict:
    return {spec.logical: spec for spec in topology.specs()}


# ----------------------------------------------------------------------------- without a broker


def test_names_are_those_of_the_design():
    topology = Topology(load_settings(env={}))
    assert topology.name("events") == "journey.events.v1"
    assert topology.name("actions", "email") == "journey.actions.email.v1"
    assert topology.name("dead-letters") == "journey.dead-letters.v1"
    assert topology.changelog("identities") == "journey-identities-changelog"
    assert topology.changelog("customers") == "journey-customers-changelog"


def test_a_channel_goes_with_the_topics_of_channels_only():
    topology = Topology(load_settings(env={}))
    with pytest.raises(ValueError, match="channel"):
        topology.name("actions")
    with pytest.raises(ValueError, match="channel"):
        topology.name("events", "email")


def test_every_topic_of_the_design_is_there():
    names = [spec.name for spec in Topology(settings_for("p")).specs()]
    assert names == [
        "p.events.v1",
        "p.timeline.v1",
        "p.actions.email.v1",
        "p.actions.sales.v1",
        "p.deliveries.email.v1",
        "p.deliveries.sales.v1",
        "p.inbox.v1",
        "p.decisions.v1",
        "p.outcomes.v1",
        "p.models.v1",
        "p.definitions.v1",
        "p.dead-letters.v1",
        "p-identities-changelog",
        "p-customers-changelog",
    ]


@pytest.mark.parametrize(
    ("logical", "partitions", "cleanup", "days"),
    [
        ("events", 8, "delete", 7),
        ("timeline", 8, "delete", 30),
        ("actions", 8, "delete", 7),
        ("deliveries", 8, "compact,delete", 14),
        ("inbox", 4, "compact", None),
        ("decisions", 8, "delete", 90),
        ("outcomes", 4, "delete", 30),
        ("models", 1, "compact", None),
        ("definitions", 1, "compact", None),
        ("dead-letters", 4, "delete", 30),
        ("changelog", 8, "compact", None),
    ],
)
def test_partitions_cleanup_and_retention(logical, partitions, cleanup, days):
    spec = by_logical(Topology(load_settings(env={}, flags={"topics.channels": ["email"]})))[
        logical
    ]
    assert spec.partitions == partitions
    assert spec.replication_factor == 3
    assert spec.config["cleanup.policy"] == cleanup
    assert spec.config["min.insync.replicas"] == "2"
    assert spec.config.get("retention.ms") == (str(days * 86_400_000) if days else None)


def test_only_the_timeline_takes_the_brokers_time():
    """The log is the clock; other topics keep what the cluster does."""
    for spec in Topology(load_settings(env={})).specs():
        is_timeline = spec.logical == "timeline"
        assert ("message.timestamp.type" in spec.config) == is_timeline
        if is_timeline:
            assert spec.config["message.timestamp.type"] == "LogAppendTime"


def test_a_changelog_has_the_partitions_of_its_stages_input():
    topology = Topology(settings_for("p", **{"topics.partitions": 6}))
    partitions = {spec.name: spec.partitions for spec in topology.specs()}
    assert partitions["p-identities-changelog"] == partitions["p.events.v1"] == 6
    assert partitions["p-customers-changelog"] == partitions["p.timeline.v1"] == 6


def test_the_log_clock_needs_one_partition_and_no_limits():
    """Records of years ago or ahead are neither refused nor deleted, and keep their order."""
    for spec in Topology(settings_for("p", **{"clock.mode": "log"})).specs():
        assert spec.partitions == 1
        assert spec.config["message.timestamp.type"] == "CreateTime"
        assert spec.config["retention.ms"] == "-1"
        assert spec.config["message.timestamp.before.max.ms"] == NO_LIMIT
        assert spec.config["message.timestamp.after.max.ms"] == NO_LIMIT


def test_the_operators_settings_lie_over_ours_but_not_over_the_structure():
    flags = {"topics.config": {"timeline": {"retention.ms": 5}}}
    assert (
        by_logical(Topology(settings_for("p", **flags)))["timeline"].config["retention.ms"] == "5"
    )
    with pytest.raises(SettingsError, match="did you mean timeline"):
        Topology(settings_for("p", **{"topics.config": {"timelin": {"retention.ms": 5}}}))
    with pytest.raises(SettingsError, match="not to be changed"):
        Topology(settings_for("p", **{"topics.config": {"events": {"cleanup.policy": "compact"}}}))


# ------------------------------------------------------------------------------ a real broker


def config_of(settings, topic: str) -> dict[str, str]:
    admin = AdminClient(admin_config(settings))
    [future] = admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]).values()
    return {key: entry.value for key, entry in future.result().items()}


@pytest.mark.kafka
def test_apply_makes_the_cluster_as_planned_and_then_nothing_is_left_to_do(broker, prefix):
    topology = Topology(settings_for(prefix, broker.bootstrap))
    planned = topology.plan()
    assert {change.action for change in planned} == {"create"}
    assert [change.topic for change in planned] == [spec.name for spec in topology.specs()]
    assert topology.apply() == planned
    assert topology.plan() == []
    topology.verify()
    config = config_of(topology.settings, topology.name("timeline"))
    assert config["message.timestamp.type"] == "LogAppendTime"


@pytest.mark.kafka
def test_the_log_clocks_topics_too(broker, prefix):
    topology = Topology(settings_for(prefix, broker.bootstrap, **{"clock.mode": "log"}))
    topology.apply()
    assert topology.plan() == []
    topology.verify()


@pytest.mark.kafka
def test_apply_brings_a_drifted_setting_back(broker, prefix):
    drifted = settings_for(
        prefix, broker.bootstrap, **{"topics.config": {"events": {"retention.ms": 60000}}}
    )
    Topology(drifted).apply()
    topology = Topology(settings_for(prefix, broker.bootstrap))
    [change] = topology.plan()
    assert (change.action, change.topic) == ("configure", topology.name("events"))
    assert change.detail == "retention.ms: 60000 -> 604800000"
    topology.verify()  # tuning is no reason to refuse to start
    topology.apply()
    assert config_of(topology.settings, topology.name("events"))["retention.ms"] == "604800000"


@pytest.mark.kafka
def test_verify_names_what_is_missing_and_the_command(broker, prefix):
    topology = Topology(settings_for(prefix, broker.bootstrap))
    with pytest.raises(TopologyError) as caught:
        topology.verify("events", "changelog")
    assert str(caught.value).splitlines() == [
        f"{name} is missing: run `orchestrator topics apply`"
        for name in (
            f"{prefix}.events.v1",
            f"{prefix}-identities-changelog",
            f"{prefix}-customers-changelog",
        )
    ]


@pytest.mark.kafka
def test_another_number_of_partitions_is_refused_and_not_changed(broker, prefix):
    Topology(settings_for(prefix, broker.bootstrap)).apply()
    topology = Topology(settings_for(prefix, broker.bootstrap, **{"topics.partitions": 6}))
    refused = [change for change in topology.apply() if change.action == "refuse"]
    assert f"{prefix}.timeline.v1" in {change.topic for change in refused}
    with pytest.raises(TopologyError, match="has 4 partitions, not 6"):
        topology.verify("timeline")


@pytest.mark.kafka
def test_a_timeline_on_the_producers_clock_stops_the_start(broker, prefix):
    """Without LogAppendTime nothing of what we promise about time holds."""
    settings = settings_for(prefix, broker.bootstrap)
    topology = Topology(settings)
    admin = AdminClient(admin_config(settings))
    new = NewTopic(topology.name("timeline"), num_partitions=4, replication_factor=1)
    admin.create_topics([new])[new.topic].result()
    while new.topic not in admin.list_topics(timeout=10).topics:  # creation is asynchronous
        time.sleep(0.05)
    with pytest.raises(TopologyError, match="type is CreateTime, not LogAppendTime"):
        topology.verify("timeline")
    topology.apply()
    topology.verify("timeline")


@pytest.mark.kafka
def test_a_small_message_size_stops_the_start_and_a_large_one_does_not(broker, prefix):
    sized = {"topics.config": {"events": {"max.message.bytes": 1000}}}
    Topology(settings_for(prefix, broker.bootstrap, **sized)).apply()
    with pytest.raises(TopologyError, match=r"max\.message\.bytes is 1000"):
        Topology(settings_for(prefix, broker.bootstrap)).verify("events")
    sized = {"topics.config": {"events": {"max.message.bytes": 5_000_000}}}
    Topology(settings_for(prefix, broker.bootstrap, **sized)).apply()
    Topology(settings_for(prefix, broker.bootstrap)).verify("events")


def test_a_broker_that_is_away_is_not_a_broken_topology(monkeypatch):
    monkeypatch.setattr("orchestrator.kafka.cluster.ANSWER_S", 0.2)
    with pytest.raises(BrokerUnavailable, match="no answer from Kafka at 127"):
        Topology(settings_for("p")).verify()
