"""Catalogs on a real broker: published whole or not at all, found again by everybody."""

from __future__ import annotations

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from orchestrator.codec import open_codec
from orchestrator.errors import (
    BrokerUnavailable,
    CouldNotRun,
    DefinitionMissing,
    InputError,
    RegistryUnavailable,
    TopologyError,
)
from orchestrator.kafka.clients import consumer_config, producer_config
from orchestrator.kafka.definitions import DefinitionStore, read_catalog, read_definitions
from orchestrator.kafka.publishing import SWITCHED, WRITES, CatalogPublisher
from orchestrator.kafka.reading import PartitionReader
from orchestrator.kafka.topics import Topology
from orchestrator.records import CatalogSwitch, Definition
from orchestrator.settings import load_settings
from orchestrator.testing.broker import Broker
from orchestrator.testing.registry import Registry
from tests.ends import ENDS_AT_ONCE

pytestmark = pytest.mark.kafka
WAIT_S = 20


def definition(name: str, hash_: str) -> Definition:
    return Definition(kind="journey", name=name, hash=hash_, source="{}")


def switch(*hashes: str) -> CatalogSwitch:
    return CatalogSwitch(
        catalog="+".join(hashes),
        definitions={f"journey/{hash_}": hash_ for hash_ in hashes},
        status={},
    )


def deployment(broker, registry, prefix, **flags):
    return load_settings(
        env={},
        flags={
            "dev": True,
            "kafka.bootstrap.servers": broker.bootstrap,
            "registry.url": registry.url,
            "topics.prefix": prefix,
            **flags,
        },
    )


def opened(settings):
    """The codec of a deployment whose topics exist."""
    topology = Topology(settings)
    topology.apply()
    codec = open_codec(settings)
    codec.prepare(topology.names(*WRITES))
    return codec


@pytest.fixture
def codec(settings):
    return opened(settings)


def read(settings, topic: str, partition: int):
    """Every committed message of a partition."""
    consumer = Consumer(consumer_config(settings, "test", **ENDS_AT_ONCE))
    consumer.assign([TopicPartition(topic, partition, 0)])
    messages = []
    while True:
        message = consumer.poll(WAIT_S)
        assert message is not None, "no end of partition"
        if message.error():
            consumer.close()
            return messages
        messages.append(message)


def test_a_catalog_is_in_every_partition_of_every_stages_input(settings, codec):
    publisher = CatalogPublisher(settings, codec)
    assert publisher.open().catalog is None
    publisher.publish([definition("a", "h1")], switch("h1"))
    topology = Topology(settings)
    for logical in SWITCHED:
        for partition in range(topology.partitions(logical)):
            [message] = read(settings, topology.name(logical), partition)
            assert codec.decode(message.value()) == switch("h1")
            assert message.key() is None
            assert ("ce_type", b"journey.Catalog") in message.headers()
    assert read_catalog(settings, codec) == switch("h1")
    assert read_definitions(settings, codec).by_hash == {"h1": definition("a", "h1")}


def test_the_log_clock_gets_the_catalogs_instant(broker, registry, prefix):
    settings = deployment(broker, registry, prefix, **{"clock.mode": "log"})
    topology, codec = Topology(settings), opened(settings)
    publisher = CatalogPublisher(settings, codec)
    publisher.open()
    publisher.publish([], switch(), at=1)
    publisher.publish([], switch("x"), at=4_102_444_800_000)
    times = [message.timestamp()[1] for message in read(settings, topology.name("timeline"), 0)]
    assert times == [1, 4_102_444_800_000]


def test_a_second_publisher_stops_the_first(settings, codec):
    """Two people apply at once: one of them wins whole, the other is told."""
    first, second = CatalogPublisher(settings, codec), CatalogPublisher(settings, codec)
    first.open()
    second.open()
    with pytest.raises(CouldNotRun, match="apply it again"):
        first.publish([definition("a", "h1")], switch("h1"))
    second.publish([definition("b", "h2")], switch("h2"))
    found = read_definitions(settings, codec)
    assert found.catalog == switch("h2")
    assert found.by_hash.keys() == {"h2"}


def test_an_unfinished_catalog_is_seen_by_nobody(settings, codec):
    topology = Topology(settings)
    torn = Producer(producer_config(settings, **{"transactional.id": f"{settings.app.id}-catalog"}))
    torn.init_transactions(WAIT_S)
    torn.begin_transaction()
    for topic in (topology.name("definitions"), topology.name("timeline")):
        torn.produce(topic, codec.encode(switch("torn"), topic), key=b"catalog", partition=0)
    assert torn.flush(WAIT_S) == 0
    publisher = CatalogPublisher(settings, codec)
    assert publisher.open().catalog is None
    publisher.publish([], switch("whole"))
    assert read_catalog(settings, codec) == switch("whole")
    [message] = read(settings, topology.name("timeline"), 0)
    assert codec.decode(message.value()) == switch("whole")


def test_a_store_follows_what_is_applied(settings, codec):
    publisher = CatalogPublisher(settings, codec)
    publisher.open()
    publisher.publish([definition("a", "h1")], switch("h1"))
    # A codec of its own: the schemas are looked up when the first record comes.
    with DefinitionStore(settings, open_codec(settings)) as store:
        store.wait_until_read(WAIT_S)
        assert store.catalog == switch("h1")
        assert store.get("h1") == definition("a", "h1")
        assert store.get("h2") is None
        publisher.publish([definition("b", "h2")], switch("h2"))
        store.wait_for(["h1", "h2"], WAIT_S)
        assert store.get("h2") == definition("b", "h2")
        with pytest.raises(DefinitionMissing, match="h3"):
            store.wait_for(["h1", "h3"], 0.01)


def test_foreign_bytes_on_the_definitions_topic_hide_nothing(settings, codec):
    topic = Topology(settings).name("definitions")
    producer = Producer(producer_config(settings))
    for value in (b"not ours", b"", None, b"\x00\x7f\xff\xff\xff!"):
        producer.produce(topic, value, key=b"x", partition=0)
    producer.produce(topic, codec.encode(definition("a", "h1"), topic), key=b"h1", partition=0)
    assert producer.flush(WAIT_S) == 0
    assert read_definitions(settings, codec).by_hash.keys() == {"h1"}
    with DefinitionStore(settings, codec) as store:
        store.wait_for(["h1"], WAIT_S)


def test_a_partition_between_two_leaders_is_waited_for(settings, monkeypatch):
    """An election takes moments; only a cluster that stays without an answer is away."""
    topology = Topology(settings)
    topology.apply()

    class Electing:
        """A client that is told so, at first."""

        def __init__(self, client, times: int) -> None:
            self.client, self.times = client, times

        def get_watermark_offsets(self, *where, **how):
            self.times -= 1
            if self.times >= 0:
                raise KafkaException(KafkaError(KafkaError.NOT_LEADER_FOR_PARTITION))
            return self.client.get_watermark_offsets(*where, **how)

    with PartitionReader(settings, topology.name("events"), 0) as reader:
        client = reader._consumer
        reader._consumer = Electing(client, 3)
        assert reader.bounds() == (0, 0)
        monkeypatch.setattr("orchestrator.kafka.reading.SILENT_S", 0.1)
        reader._consumer = Electing(client, 1_000_000)
        with pytest.raises(BrokerUnavailable, match="cannot be read from Kafka"):
            reader.bounds()
        reader._consumer = client


def test_a_missing_topic_is_named_with_its_remedy(settings):
    with pytest.raises(TopologyError, match="run `orchestrator topics apply`"):
        read_catalog(settings, open_codec(settings))


def test_a_store_outlives_an_outage_of_the_broker(registry, prefix):
    """Nobody restarts a sink because Kafka was away for a moment."""
    with Broker() as broker:
        settings = deployment(broker, registry, prefix)
        codec = opened(settings)
        with DefinitionStore(settings, codec) as store:
            CatalogPublisher(settings, codec).open()
            store.wait_until_read(WAIT_S)
            broker.kill()
            broker.start()
            publisher = CatalogPublisher(settings, codec)
            publisher.open()
            publisher.publish([definition("a", "h1")], switch("h1"))
            store.wait_for(["h1"], WAIT_S)


def test_a_store_waits_for_a_registry_that_is_away(broker, prefix):
    """What cannot be decoded yet is not skipped."""
    with Registry() as registry:
        settings = deployment(broker, registry, prefix)
        publisher = CatalogPublisher(settings, opened(settings))
        publisher.open()
        publisher.publish([definition("a", "h1")], switch("h1"))
        registry.down = True
        with DefinitionStore(settings, open_codec(settings)) as store:
            with pytest.raises(DefinitionMissing):
                store.wait_for(["h1"], 1)
            registry.down = False
            store.wait_for(["h1"], WAIT_S)


def test_reading_without_a_broker_says_so(monkeypatch, prefix):
    monkeypatch.setattr("orchestrator.kafka.reading.SILENT_S", 0.2)
    flags = {"kafka.bootstrap.servers": "127.0.0.1:1", "topics.prefix": prefix}
    settings = load_settings(env={}, flags=flags)
    with pytest.raises(BrokerUnavailable, match="cannot be read: no answer from Kafka at 127"):
        read_catalog(settings, open_codec(settings))


def test_a_store_that_waits_for_the_registry_can_be_closed(broker, prefix):
    with Registry() as registry:
        settings = deployment(broker, registry, prefix)
        publisher = CatalogPublisher(settings, opened(settings))
        publisher.open()
        publisher.publish([definition("a", "h1")], switch("h1"))
        registry.down = True
        store = DefinitionStore(settings, open_codec(settings)).start()
        with pytest.raises(BrokerUnavailable):
            store.wait_until_read(1)
        store.close()
        assert store.get("h1") is None
        with pytest.raises(RegistryUnavailable):
            read_definitions(settings, open_codec(settings))


def test_a_record_that_cannot_be_written_leaves_no_transaction_open(settings, codec):
    """An open one would hold up every reader of the timeline until it times out."""
    publisher = CatalogPublisher(settings, codec)
    publisher.open()
    with pytest.raises(InputError):
        publisher.publish([definition(5, "h1")], switch())
    publisher.publish([], switch("h1"))
    assert read_catalog(settings, codec) == switch("h1")
