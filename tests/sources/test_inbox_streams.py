"""How many inbox streams there may be, without a broker."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest
from aiohttp import web

from orchestrator.sources import inbox_api


def test_one_customers_streams_leave_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token is a customer's own; what he opens with it must not be all that there is."""
    monkeypatch.setattr(inbox_api, "MAX_OF_ONE", 2)
    monkeypatch.setattr(inbox_api, "MAX_STREAMS", 3)
    streams = inbox_api.Streams()
    with ExitStack() as opened:
        for _ in range(2):
            opened.enter_context(streams.enter("eve", asyncio.Event()))
        with pytest.raises(web.HTTPTooManyRequests), streams.enter("eve", asyncio.Event()):
            pass
        opened.enter_context(streams.enter("ada", asyncio.Event()))
        with pytest.raises(web.HTTPServiceUnavailable), streams.enter("bob", asyncio.Event()):
            pass
    with streams.enter("eve", asyncio.Event()):
        pass
