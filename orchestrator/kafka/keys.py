"""Client certificates for Python's TLS: from PEM files, PEM texts or a PKCS#12 store.

Python's ``ssl`` reads keys from files alone. What the settings bring as text or in a store is put
into a private folder for that one moment, its key encrypted with a password that nobody keeps.
"""

from __future__ import annotations

import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ssl import SSLContext

    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class KeyMaterial:
    """librdkafka's properties of the same names; all None: no client certificate."""

    certificate_location: str | None = None
    certificate_pem: str | None = None
    key_location: str | None = None
    key_pem: str | None = None
    key_password: str | None = None
    keystore_location: str | None = None
    keystore_password: str | None = None


def load_into(context: SSLContext, given: KeyMaterial) -> None:
    """Give ``context`` the client certificate, if there is one.

    Raises:
        OSError: A file cannot be read; OpenSSL's own complaints are of this kind too.
        ValueError: A key does not open with its password, or is none.
        TypeError: A password is missing.
    """
    if given.keystore_location is not None:
        key, chain = _opened_store(given)
    elif given.certificate_pem is None and given.key_pem is None:
        if given.certificate_location is not None:
            # Never None: OpenSSL would ask the terminal for the password of an encrypted key.
            context.load_cert_chain(
                given.certificate_location, given.key_location, given.key_password or ""
            )
        return
    else:
        key, chain = _opened_texts(given)
    _load(context, key, chain)


def _opened_store(given: KeyMaterial) -> tuple[PrivateKeyTypes, bytes]:
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12

    password = None if given.keystore_password is None else given.keystore_password.encode()
    store = load_pkcs12(Path(str(given.keystore_location)).read_bytes(), password)
    if store.key is None or store.cert is None:
        raise ValueError(f"{given.keystore_location} holds no key with its certificate")
    certificates = [store.cert, *store.additional_certs]
    chain = b"".join(one.certificate.public_bytes(Encoding.PEM) for one in certificates)
    return store.key, chain


def _opened_texts(given: KeyMaterial) -> tuple[PrivateKeyTypes, bytes]:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    chain = _text(given.certificate_pem, given.certificate_location)
    # As in a file: the key may stand beside the certificate.
    key = _text(given.key_pem, given.key_location) or chain
    if not chain:
        raise ValueError("there is a key, but no certificate")
    password = None if given.key_password is None else given.key_password.encode()
    return load_pem_private_key(key, password), chain


def _text(pem: str | None, location: str | None) -> bytes:
    if pem is not None:
        return pem.encode()
    return b"" if location is None else Path(location).read_bytes()


def _load(context: SSLContext, key: PrivateKeyTypes, chain: bytes) -> None:
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
    )

    password = secrets.token_hex(16)
    sealed = key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password.encode())
    )
    with tempfile.TemporaryDirectory() as folder:  # mode 0700
        certificate_file, key_file = Path(folder, "certificate.pem"), Path(folder, "key.pem")
        certificate_file.write_bytes(chain)
        key_file.write_bytes(sealed)
        context.load_cert_chain(certificate_file, key_file, password)
