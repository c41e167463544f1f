"""Which webhooks there are: a mapping of the catalog in force, or a shipped one, and a proof in the settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from orchestrator.errors import UnavailableError, UsageError
from orchestrator.kafka.definitions import DefinitionStore
from orchestrator.sources.applied import arrived, in_force
from orchestrator.sources.mappings import Mapper
from orchestrator.sources.webhooks import defaults, named
from orchestrator.sources.webhooks.salesforce import Salesforce
from orchestrator.sources.webhooks.sendgrid import SendGrid
from orchestrator.sources.webhooks.sns import Sns
from orchestrator.sources.webhooks.twilio import Twilio
from orchestrator.sources.webhooks.verify import HmacProvider, Provider, StandardProvider
from orchestrator.webhook_settings import Webhook

SOURCE = "source/"
PROVIDERS: Final[Mapping[str, Callable[[Webhook], Provider]]] = {
    "github": named.github,
    "hmac": HmacProvider,
    "hubspot": named.HubSpot,
    "intercom": named.Intercom,
    "salesforce": Salesforce,
    "sendgrid": SendGrid,
    "ses": Sns,
    "shopify": named.Shopify,
    "slack": named.Slack,
    "standard": StandardProvider,
    "stripe": named.Stripe,
    "twilio": Twilio,
    "zendesk": named.zendesk,
}
"""The words of ``webhook:``; the grammar of sources/*.yaml has the same."""


@dataclass(frozen=True, slots=True)
class Hook:
    """One webhook, ready."""

    mapper: Mapper
    provider: Provider


class AppliedHooks:
    """Follows ``sources/*.yaml`` as they are applied; each is compiled once."""

    def __init__(self, store: DefinitionStore, settings: Mapping[str, Webhook]) -> None:
        self._store = store
        self._settings = settings
        self._compiled: dict[str, tuple[str, Hook | None]] = {}

    def get(self, name: str) -> Hook | None:
        """Return the webhook of a source; None = there is none, or nobody set how it proves itself.

        Raises:
            DefinitionMissing: No catalog was applied yet, or the mapping has not arrived.
            UnavailableError: Mapping or settings are broken: an operator must act, the sender wait.
        """
        catalog, settings = in_force(self._store), self._settings.get(name)
        hash_ = catalog.definitions.get(SOURCE + name, "")
        if settings is None or not (hash_ or defaults.definition(name)):
            return None
        known = self._compiled.get(name)
        if known is None or known[0] != hash_:
            known = self._compiled[name] = (hash_, self._compile(name, hash_, settings))
        return known[1]

    def _compile(self, name: str, hash_: str, settings: Webhook) -> Hook | None:
        source = defaults.definition(name) or ""
        if hash_:
            source = arrived(self._store, hash_).source
        try:
            mapper = Mapper(source)
            if not mapper.webhook:
                return None
            return Hook(mapper, PROVIDERS[mapper.webhook](settings))
        except UsageError as error:
            raise UnavailableError(f"source {name}: {error}") from error
