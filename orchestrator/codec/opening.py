"""A codec as the settings describe it."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from orchestrator.codec.codec import SUBJECT_STRATEGIES, Codec
from orchestrator.codec.registry import RegistryClient
from orchestrator.errors import SettingsError

if TYPE_CHECKING:
    from orchestrator.settings import Registry, Settings


def open_registry(settings: Registry) -> RegistryClient:
    """Return a client of the registry that the settings name; asks nothing yet.

    Raises:
        SettingsError: A certificate or key cannot be read.
    """
    return RegistryClient(
        settings.url,
        username=settings.username or "",
        password=settings.password.reveal() if settings.password else "",
        token=settings.token.reveal() if settings.token else "",
        tls=_tls(settings) if settings.url.startswith("https:") else None,
        timeout=settings.timeout_ms / 1000,
    )


def open_codec(settings: Settings) -> Codec:
    """Return the codec of this process; ``prepare`` it for the topics that are written.

    Raises:
        SettingsError: A certificate or key cannot be read.
    """
    return Codec(
        open_registry(settings.registry),
        subject=SUBJECT_STRATEGIES[settings.registry.subjects],
        auto_register=settings.registry.auto_register,
    )


def _tls(settings: Registry) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ca_location)
        if settings.certificate_location is not None:
            # Never None: OpenSSL would ask the terminal for the password of an encrypted key.
            password = settings.key_password.reveal() if settings.key_password else ""
            context.load_cert_chain(settings.certificate_location, settings.key_location, password)
    except OSError as error:  # ssl.SSLError is one
        raise SettingsError(f"registry: a certificate or key cannot be read: {error}") from error
    return context
