"""Which webhooks there are: a mapping of the catalog in force, and a secret of the settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.errors import DefinitionMissing, UnavailableError, UsageError
from orchestrator.kafka.definitions import DefinitionStore
from orchestrator.settings import Webhook
from orchestrator.sources.mappings import Mapper
from orchestrator.sources.webhooks.verify import HmacVerifier, StandardVerifier, Verifier

SOURCE = "source/"


@dataclass(frozen=True, slots=True)
class Hook:
    """One webhook, ready."""

    mapper: Mapper
    verifier: Verifier


class AppliedHooks:
    """Follows ``sources/*.yaml`` as they are applied; each is compiled once."""

    def __init__(self, store: DefinitionStore, settings: Mapping[str, Webhook]) -> None:
        self._store = store
        self._settings = settings
        self._compiled: dict[str, tuple[str, Hook | None]] = {}

    def get(self, name: str) -> Hook | None:
        """Return the webhook of a source; None = there is none, or nobody set its secret.

        Raises:
            DefinitionMissing: No catalog was applied yet, or the mapping has not arrived.
            UnavailableError: Mapping or secret are broken: an operator must act, the sender wait.
        """
        catalog, settings = self._store.catalog, self._settings.get(name)
        if catalog is None:
            raise DefinitionMissing("no catalog is in force: run `orchestrator journeys apply`")
        hash_ = catalog.definitions.get(SOURCE + name)
        if hash_ is None or settings is None:
            return None
        known = self._compiled.get(name)
        if known is None or known[0] != hash_:
            known = self._compiled[name] = (hash_, self._compile(hash_, settings))
        return known[1]

    def _compile(self, hash_: str, settings: Webhook) -> Hook | None:
        definition = self._store.get(hash_)
        if definition is None:
            raise DefinitionMissing(f"definition {hash_} has not arrived yet")
        try:
            mapper = Mapper(definition.source)
            return Hook(mapper, verifier_of(mapper.webhook, settings)) if mapper.webhook else None
        except UsageError as error:
            raise UnavailableError(f"source {definition.name}: {error}") from error


def verifier_of(kind: str, settings: Webhook) -> Verifier:
    """Return the verifier of ``webhook: KIND``; providers with rules of their own join here.

    Raises:
        SettingsError: The secret is not of this kind.
    """
    return StandardVerifier(settings) if kind == "standard" else HmacVerifier(settings)
