"""Our murmur2 puts every key where librdkafka's ``murmur2_random`` puts it on a real broker."""

from __future__ import annotations

import random

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from orchestrator.kafka.clients import admin_config, producer_config
from orchestrator.partitioning import murmur2, partition_for
from orchestrator.settings import load_settings

KEYS = 5_000
PARTITIONS = 7


def test_golden_values_of_the_java_client():
    """From Kafka's own UtilsTest.testMurmur2, as unsigned numbers."""
    golden = {
        b"21": -973932308,
        b"foobar": -790332482,
        b"a-little-bit-long-string": -985981536,
        b"a-little-bit-longer-string": -1486304829,
        b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
        b"abc": 479470107,
    }
    for key, value in golden.items():
        assert murmur2(key) == value & 0xFFFFFFFF


@pytest.mark.kafka
def test_equal_to_librdkafka_on_thousands_of_keys(broker, prefix):
    """Words, every length up to 40, bytes that are no UTF-8, and the empty key."""
    settings = load_settings(env={}, flags={"kafka.bootstrap.servers": broker.bootstrap})
    topic = f"{prefix}.keys"
    admin = AdminClient(admin_config(settings))
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result()
    draw = random.Random(7)
    keys = [f"email:someone.{number}@example.com".encode() for number in range(KEYS // 2)]
    keys += [draw.randbytes(draw.randrange(41)) for _ in range(KEYS // 2)]
    keys += [b"\xff\xfe", b"\x80", bytes(1), "Zoë".encode()]
    landed: dict[bytes, int] = {}

    def note(error, message):
        assert error is None
        landed[message.key()] = message.partition()

    producer = Producer(producer_config(settings))
    for key in keys:
        producer.produce(topic, key=key, on_delivery=note)
        producer.poll(0)
    assert producer.flush(30) == 0
    assert landed == {key: partition_for(key, PARTITIONS) for key in set(keys)}
