"""Leaving the group for good as a static member, which aiokafka 0.14 cannot say.

A static member that stops is waited for until its session expires, and its partitions stand still
meanwhile: right for a restart after a crash, wrong for an orderly stop. LeaveGroup knows static
members from version 3 on; aiokafka ends at 1 and never sends it for them.
"""

from __future__ import annotations

from typing import Any

from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Int16, Int32, Schema, String

_MEMBER = (("member_id", String("utf-8")), ("group_instance_id", String("utf-8")))


class LeaveGroupResponse(Response):  # type: ignore[misc]
    """KIP-345."""

    API_KEY = 13
    API_VERSION = 3
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("members", Array(*_MEMBER, ("error_code", Int16))),
    )


class LeaveGroupRequestV3(RequestStruct):  # type: ignore[misc]
    """KIP-345."""

    API_KEY = 13
    API_VERSION = 3
    RESPONSE_TYPE = LeaveGroupResponse
    SCHEMA = Schema(("group", String("utf-8")), ("members", Array(*_MEMBER)))


class LeaveGroup(Request[LeaveGroupRequestV3]):  # type: ignore[misc]
    """What aiokafka's client sends; it picks the version."""

    API_KEY = 13

    def __init__(self, group: str, member: str, instance: str) -> None:
        self._group = group
        self._members = [(member, instance)]

    def build(self, request_struct_class: Any) -> Any:
        """Return the request."""
        return request_struct_class(self._group, self._members)


async def leave_group(consumer: Any) -> None:
    """Take the member of an ``AIOKafkaConsumer`` out of its group; the others rebalance at once.

    Raises:
        KafkaError: The coordinator did not take it; the session will expire instead.
    """
    coordinator = consumer._coordinator  # noqa: SLF001 - aiokafka offers no way
    if coordinator.generation <= 0 or coordinator._group_instance_id is None:  # noqa: SLF001
        return
    request = LeaveGroup(
        coordinator.group_id,
        coordinator.member_id,
        coordinator._group_instance_id,  # noqa: SLF001
    )
    await coordinator.close()  # else it would join again at the next heartbeat
    answer = await coordinator._send_req(request)  # noqa: SLF001
    for code in (answer.error_code, *(member[-1] for member in answer.members)):
        if code:
            error: type[KafkaError] = for_code(code)
            raise error
