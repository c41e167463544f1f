"""Fixtures that several packages share: one real broker and one registry for the whole session."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from orchestrator.settings import Settings, load_settings
from orchestrator.testing.broker import Broker
from orchestrator.testing.registry import Registry


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """A verb sets up logging for its process; here the process goes on with the next test."""
    top = logging.getLogger()
    handlers, level = top.handlers[:], top.level
    yield
    top.handlers[:] = handlers
    top.setLevel(level)
    structlog.reset_defaults()


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


@pytest.fixture
def settings(broker: Broker, registry: Registry, prefix: str, tmp_path: Path) -> Settings:
    """Settings of a deployment of its own on the shared broker and registry."""
    return load_settings(
        env={},
        flags={
            "dev": "true",
            "kafka.bootstrap.servers": broker.bootstrap,
            "registry.url": registry.url,
            "topics.prefix": prefix,
            "worker.data_dir": str(tmp_path / "data"),
        },
    )
