"""Settings of the senders: ``deliver.CHANNEL`` of ``orchestrator.yaml``; ``sender`` says which.

``on_unknown`` is ``resend`` where the receiving side folds a repetition (the same webhook-id,
Message-ID, inbox or transaction), else ``give_up``: there a repetition would be a second message.
"""

from __future__ import annotations

from ipaddress import ip_network
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from orchestrator.errors import SettingsError
from orchestrator.layers import Secret
from orchestrator.sections import Port, Positive, Section

OnUnknown = Annotated[
    Literal["resend", "give_up"],
    Meta(description="What becomes of a message of which nobody knows whether it was sent."),
]
Concurrency = Annotated[
    Positive,
    Meta(description="Messages between claim and outcome: the most that a crash leaves unknown."),
]
Url = Annotated[str, Meta(description="Of the API: another region, or a simulator.")]
_LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})


class Sender(Section, frozen=True, kw_only=True, tag_field="sender"):
    """What all senders share."""

    concurrency: Concurrency = 16
    rate: Annotated[
        float, Meta(ge=0, description="Messages per second and process; 0 = no limit.")
    ] = 0
    attempts: Annotated[
        Positive,
        Meta(description="Tries before `message.failed`; while the provider is away none counts."),
    ] = 8
    on_unknown: OnUnknown = "resend"
    web_host: str = "127.0.0.1"
    web_port: Annotated[Port, Meta(description="Of /livez, /readyz and /metrics; 0 = any.")] = 0

    def adorned(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Return the fields behind the sender's name."""
        return {"sender": self.__struct_config__.tag, **fields}


class SmtpSender(Sender, frozen=True, kw_only=True, tag="smtp"):
    """E-mail by SMTP."""

    host: str = "127.0.0.1"
    port: Port = 25
    tls: Literal["none", "starttls", "tls"] = "none"
    username: str | None = None
    password: Secret | None = None
    from_address: str = "journeys@example.com"


class InappSender(Sender, frozen=True, kw_only=True, tag="inapp"):
    """Messages for the in-app inbox."""


class LogSender(Sender, frozen=True, kw_only=True, tag="log"):
    """Writes that a message left, and nothing else: for trials and internal channels."""


class KafkaSender(Sender, frozen=True, kw_only=True, tag="kafka"):
    """Rendered messages on a topic of yours, each exactly once."""

    topic: Annotated[str, Meta(description="Must exist; none of the engine's own.")]


class WebhookSender(Sender, frozen=True, kw_only=True, tag="webhook"):
    """JSON by HTTP POST, signed as Standard Webhooks has it."""

    url: Annotated[
        str | None, Meta(description="Where to; else each action's address is the URL.")
    ] = None
    secret: Annotated[Secret, Meta(description="whsec_ and base64: `openssl rand -base64 32`.")]
    previous_secret: Annotated[
        Secret | None, Meta(description="Signs too, while the receiver changes over.")
    ] = None
    timeout_s: Annotated[float, Meta(gt=0, le=120)] = 20
    ports: Annotated[list[Port], Meta(description="Ports that may be spoken to.")] = msgspec.field(
        default_factory=lambda: [443]
    )
    allow_http: Annotated[bool, Meta(description="Also without TLS; add the port as well.")] = False
    allow: Annotated[
        list[str],
        Meta(description="Networks (CIDR) that may be reached although they are not public."),
    ] = msgspec.field(default_factory=list)


class ApiSender(Sender, frozen=True, kw_only=True):
    """What the senders by a provider's HTTP API share."""

    concurrency: Concurrency = 64
    on_unknown: OnUnknown = "give_up"
    timeout_s: Annotated[float, Meta(gt=0, le=120)] = 20


class SendgridSender(ApiSender, frozen=True, kw_only=True, tag="sendgrid"):
    """E-mail by SendGrid."""

    api_key: Secret
    from_address: Annotated[str, Meta(description="`Name <address>`, a verified sender.")]
    url: Url = "https://api.sendgrid.com"


class SesSender(ApiSender, frozen=True, kw_only=True, tag="ses"):
    """E-mail by Amazon SES (API v2)."""

    region: Annotated[str, Meta(pattern=r"^[a-z0-9-]+$")]
    access_key_id: str
    secret_access_key: Secret
    session_token: Annotated[
        Secret | None, Meta(description="Of temporary credentials; read at start.")
    ] = None
    from_address: Annotated[str, Meta(description="`Name <address>`, a verified identity.")]
    configuration_set: Annotated[
        str | None, Meta(description="Whose event destination reports bounces and clicks.")
    ] = None
    url: Annotated[str | None, Meta(description="Instead of the region's own.")] = None


class TwilioSender(ApiSender, frozen=True, kw_only=True, tag="twilio"):
    """SMS by Twilio; from_number or messaging_service_sid."""

    account_sid: str
    auth_token: Annotated[Secret, Meta(description="The account's, or the secret of api_key.")]
    api_key: Annotated[str | None, Meta(description="SID of an API key (SK...).")] = None
    from_number: str | None = None
    messaging_service_sid: str | None = None
    status_callback: Annotated[
        str | None,
        Meta(description="Where Twilio reports to: the collector, as seen from outside."),
    ] = None
    url: Url = "https://api.twilio.com"


class FcmSender(ApiSender, frozen=True, kw_only=True, tag="fcm"):
    """Push by Firebase Cloud Messaging (HTTP v1)."""

    service_account: Annotated[
        Secret, Meta(description="The JSON of the key; by a variable that ends in _FILE.")
    ]
    url: Url = "https://fcm.googleapis.com"


class SlackSender(ApiSender, frozen=True, kw_only=True, tag="slack"):
    """Messages to one's own people in Slack."""

    token: Annotated[Secret, Meta(description="Of a bot with chat:write (xoxb-...).")]
    to: Annotated[
        str | None, Meta(description="Channel id; else each action's address is the channel.")
    ] = None
    rate: Annotated[
        float, Meta(ge=0, description="Slack takes about one a second for each channel.")
    ] = 1
    url: Url = "https://slack.com"


AnySender = (
    SmtpSender
    | InappSender
    | LogSender
    | KafkaSender
    | WebhookSender
    | SendgridSender
    | SesSender
    | TwilioSender
    | FcmSender
    | SlackSender
)


def check_sender(at: str, sender: AnySender) -> None:
    """Refuse what no sender could work with.

    Args:
        at: Where the section stands: ``deliver.CHANNEL``.
        sender: The section.

    Raises:
        SettingsError: Says what to write instead.
    """
    match sender:
        case WebhookSender():
            for network in sender.allow:
                try:
                    ip_network(network)
                except ValueError as error:
                    raise SettingsError(f"{at}.allow: {error}") from error
        case TwilioSender() if bool(sender.from_number) == bool(sender.messaging_service_sid):
            raise SettingsError(f"{at}: one of from_number and messaging_service_sid is needed")
        case SendgridSender() | SesSender() | TwilioSender() | FcmSender() | SlackSender():
            _check_url(at, sender.url)
        case _:
            pass


def _check_url(at: str, url: str | None) -> None:
    if url is None:
        return
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOCAL):
        raise SettingsError(f"{at}.url: credentials travel by https only")
