"""Free ports of this machine."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Final

FROM: Final = 20_000
"""Below it lie ports that well-known services have."""
_OUTGOING: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_OUTGOING_FROM: Final = 32_768
"""Where they begin on machines that do not tell; elsewhere than on Linux later than that."""
_chance = random.SystemRandom()


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that were free a moment ago, all different.

    None of them is one that the system gives to outgoing connections, so that no client takes it
    before its server binds it, or while its server restarts.
    """
    with ExitStack() as exits:
        return [_bound(exits.enter_context(socket.socket())) for _ in range(count)]


def _bound(one: socket.socket) -> int:
    while (until := _outgoing_from()) > FROM:
        port = _chance.randrange(FROM, until)
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            continue  # somebody has it
        return port
    one.bind(("127.0.0.1", 0))
    return int(one.getsockname()[1])


def _outgoing_from() -> int:
    """Return the first port that outgoing connections are given."""
    try:
        return int(_OUTGOING.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return _OUTGOING_FROM
