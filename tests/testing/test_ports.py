"""Ports for servers of tests and demos: free, and nobody's in between."""

from __future__ import annotations

import socket

import pytest

from orchestrator.testing import ports


@pytest.fixture
def outgoing(tmp_path, monkeypatch):
    """What the system says of the ports that it gives to outgoing connections."""
    file = tmp_path / "range"
    monkeypatch.setattr(ports, "_OUTGOING", file)
    return file


def test_no_client_can_take_a_servers_port(outgoing):
    """All lie below what outgoing connections are given, all are different, all can be bound."""
    outgoing.write_text("20064\t60999\n")
    found = ports.free_ports(30)
    assert len(set(found)) == 30
    assert all(ports.FROM <= port < 20_064 for port in found)


def test_what_somebody_has_is_passed_over(monkeypatch):
    one, other = ports.free_ports(2)
    drawn = iter([one, one, other])
    monkeypatch.setattr(ports._chance, "randrange", lambda *_: next(drawn))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", one))
        assert ports.free_ports(1) == [other]


@pytest.mark.parametrize("said", ["", "nonsense", None])
def test_a_machine_that_does_not_tell(outgoing, said):
    if said is not None:
        outgoing.write_text(said)
    (port,) = ports.free_ports(1)
    assert ports.FROM <= port < 32_768


def test_a_machine_that_gives_all_to_outgoing_connections(outgoing):
    outgoing.write_text("1024 65535\n")
    (port,) = ports.free_ports(1)
    assert port > 0
