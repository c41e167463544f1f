"""How a provider's webhook proves where it comes from; the mapping's ``webhook:`` names the provider."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from orchestrator.errors import SettingsError
from orchestrator.layers import Secret
from orchestrator.sections import Positive, Section

_ARN: Final = re.compile(r"arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]{1,256}")


class Webhook(Section, frozen=True, kw_only=True):
    """The proof of one source: `secret` for most, `topics` for SES, also `url` for Twilio and HubSpot.

    `header` and everything behind it are for `webhook: hmac` alone; the named providers know theirs.
    """

    secret: Annotated[
        Secret | None,
        Meta(
            description="What the provider shows as signing secret, client secret, auth token or (SendGrid) verification key."
        ),
    ] = None
    previous_secret: Annotated[
        Secret | None, Meta(description="Still accepted, while the sender changes over.")
    ] = None
    url: Annotated[
        str | None,
        Meta(
            description="The webhook's address as the provider calls it: Twilio and HubSpot sign it."
        ),
    ] = None
    topics: Annotated[
        list[str],
        Meta(description="SES: the ARNs of the SNS topics that are ours; others are refused."),
    ] = msgspec.field(default_factory=list)
    window_s: Annotated[
        Positive, Meta(description="A signed timestamp may be so far from now, old or new.")
    ] = 300
    header: Annotated[str, Meta(description="Where the signature stands.")] = "X-Signature"
    prefix: Annotated[str, Meta(description="What stands before it, such as `sha256=`.")] = ""
    encoding: Literal["hex", "base64"] = "hex"
    signed: Annotated[
        str,
        Meta(
            pattern=r"\{body\}",
            description="What is signed, of {body}, {timestamp} and {id}: Slack's v0:{timestamp}:{body}.",
        ),
    ] = "{body}"
    timestamp_header: Annotated[
        str | None, Meta(description="Epoch seconds or ISO 8601; replays are refused by it.")
    ] = None
    id_header: Annotated[
        str | None, Meta(description="The sender's id of a delivery: repetitions are duplicates.")
    ] = None


def check_webhook(at: str, hook: Webhook) -> None:
    """Check what no schema says.

    Args:
        at: Where it stands in the settings.
        hook: The section.

    Raises:
        SettingsError: It would prove nothing, or can never fit.
    """
    for slot, header in (("timestamp", hook.timestamp_header), ("id", hook.id_header)):
        if f"{{{slot}}}" in hook.signed and header is None:
            raise SettingsError(f"{at}.signed has {{{slot}}}: name its {slot}_header")
    if hook.timestamp_header and "{timestamp}" not in hook.signed:
        raise SettingsError(f"{at}: a timestamp that is not signed proves nothing")
    for topic in hook.topics:
        if not _ARN.fullmatch(topic):
            raise SettingsError(f"{at}.topics: {topic!r} is no ARN of an SNS topic")
    if hook.url is not None:
        parts = urlsplit(hook.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query:
            raise SettingsError(
                f"{at}.url: write it whole, without a query: https://HOST/v1/webhooks/NAME"
            )
