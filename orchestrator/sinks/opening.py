"""From the settings of a channel to its sender. The only place that knows which senders there are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, NamedTuple

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from orchestrator.codec import Codec
from orchestrator.errors import SettingsError, TransactionFailed
from orchestrator.kafka.clients import admin_config
from orchestrator.kafka.inbox import InboxTable
from orchestrator.sender_settings import (
    FcmSender,
    InappSender,
    KafkaSender,
    LogSender,
    SendgridSender,
    SesSender,
    SlackSender,
    SmtpSender,
    TwilioSender,
    WebhookSender,
)
from orchestrator.settings import Settings
from orchestrator.sinks.senders.fcm import open_fcm
from orchestrator.sinks.senders.inapp import InappSender as Inapp
from orchestrator.sinks.senders.kafka import KafkaSender as ToKafka
from orchestrator.sinks.senders.log import LogSender as Log
from orchestrator.sinks.senders.protocol import Sender
from orchestrator.sinks.senders.sendgrid import open_sendgrid
from orchestrator.sinks.senders.ses import open_ses
from orchestrator.sinks.senders.slack import open_slack
from orchestrator.sinks.senders.smtp import open_smtp
from orchestrator.sinks.senders.twilio import open_twilio
from orchestrator.sinks.senders.webhook import open_webhook

START_S = 60.0
OUTWARD: Final[Mapping[type, Callable[[Any], AbstractAsyncContextManager[Sender]]]] = {
    SmtpSender: open_smtp,
    WebhookSender: open_webhook,
    SendgridSender: open_sendgrid,
    SesSender: open_ses,
    TwilioSender: open_twilio,
    FcmSender: open_fcm,
    SlackSender: open_slack,
}
"""Those whose messages leave Kafka."""


class Opened(NamedTuple):
    """A channel's sender."""

    make: Callable[[], Sender]
    """Called at each opening of a partition, in a thread, after its former owner was fenced."""
    marks: Callable[[str], Sequence[str]] = lambda _: ()
    """Customer -> ids of the actions whose read marks lie beside the inbox."""


@asynccontextmanager
async def open_sender(settings: Settings, codec: Codec, channel: str) -> AsyncIterator[Opened]:
    """Yield the sender of a channel; what it holds open is closed at the end.

    Raises:
        SettingsError: It cannot work with its settings.
    """
    match settings.deliver[channel]:
        case InappSender():
            table = await asyncio.to_thread(InboxTable(settings, codec).start)
            try:
                yield Opened(lambda: _inapp(table), table.marks)
            finally:
                await asyncio.to_thread(table.close)
        case LogSender():
            yield Opened(Log)
        case KafkaSender() as chosen:
            await asyncio.to_thread(_check_topic, settings, chosen.topic)
            writer = ToKafka(chosen.topic, settings.app.id)
            yield Opened(lambda: writer)
        case outward:
            async with OUTWARD[type(outward)](outward) as sender:
                yield Opened(lambda: sender)


def _inapp(table: InboxTable) -> Sender:
    # The former owner's last inboxes must be in sight before the first one is written here.
    if not table.catch_up(START_S):
        raise TransactionFailed("the inbox topic cannot be read to its end")
    return Inapp(table.get, table.removals)


def _check_topic(settings: Settings, topic: str) -> None:
    if topic.startswith(f"{settings.topics.prefix}."):
        raise SettingsError(f"{topic} is one of the engine's own topics: name one of yours")
    try:
        found = AdminClient(admin_config(settings)).list_topics(topic, timeout=START_S)
    except KafkaException as error:
        raise SettingsError(f"topic {topic} cannot be looked at: {error}") from error
    if found.topics[topic].error is not None:
        raise SettingsError(f"topic {topic} does not exist, or may not be seen: create it first")
