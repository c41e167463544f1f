"""Fixtures that several packages share: one real broker and one registry for the whole session."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from orchestrator.testing.broker import Broker
from orchestrator.testing.registry import Registry


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    """A real Apache Kafka, shared: tests that stop or kill a broker start their own."""
    with Broker() as running:
        yield running


@pytest.fixture(scope="session")
def registry() -> Iterator[Registry]:
    """A schema registry, shared: tests that need it down or slow start their own."""
    with Registry() as running:
        yield running


@pytest.fixture
def prefix() -> str:
    """A topic prefix (and app id) that no other test uses."""
    return f"t{uuid.uuid4().hex[:12]}"
