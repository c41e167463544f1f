"""AWS Signature Version 4 for one POST with a JSON body: all that SES needs. Pure."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Final, NamedTuple
from urllib.parse import quote, urlsplit

ALGORITHM: Final = "AWS4-HMAC-SHA256"


class Credentials(NamedTuple):
    """Who signs; ``token`` for temporary ones."""

    access_key_id: str
    secret_access_key: str
    token: str | None = None

    def __repr__(self) -> str:
        """Name the key, never the secret."""
        return f"Credentials({self.access_key_id!r}, ***)"


class Scope(NamedTuple):
    """What a signature is good for."""

    region: str
    service: str


def signed_headers(
    url: str, body: bytes, headers: Mapping[str, str], at: datetime, who: Credentials, scope: Scope
) -> dict[str, str]:
    """Return ``headers`` with those of a signed POST added.

    Args:
        url: With a path that needs no encoding beyond one pass, and no query.
        body: The bytes that are sent.
        headers: Signed too; names in any case.
        at: Now, UTC.
        who: The credentials.
        scope: Region and service.
    """
    parts = urlsplit(url)
    stamp = at.strftime("%Y%m%dT%H%M%SZ")
    extra = {"Host": parts.netloc, "X-Amz-Date": stamp}
    if who.token:
        extra["X-Amz-Security-Token"] = who.token
    sent = {**headers, **extra}
    lower = {name.lower(): " ".join(value.split()) for name, value in sent.items()}
    names = ";".join(sorted(lower))
    canonical = "\n".join(
        [
            "POST",
            quote(parts.path or "/", safe="/~"),
            "",
            *(f"{name}:{lower[name]}" for name in sorted(lower)),
            "",
            names,
            sha256(body).hexdigest(),
        ]
    )
    day = stamp[:8]
    place = f"{day}/{scope.region}/{scope.service}/aws4_request"
    text = "\n".join([ALGORITHM, stamp, place, sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{who.secret_access_key}".encode()
    for part in (day, scope.region, scope.service, "aws4_request"):
        key = hmac.digest(key, part.encode(), sha256)
    signature = hmac.digest(key, text.encode(), sha256).hex()
    proof = f"{ALGORITHM} Credential={who.access_key_id}/{place}, SignedHeaders={names}, Signature={signature}"
    return {**sent, "Authorization": proof}
