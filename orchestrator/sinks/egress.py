"""Where a sink may connect to: no way from a customer's data into our own network (SSRF).

A name is resolved once; if any of its addresses is not public, it is refused; the connection goes to
the very addresses that were checked, with the name in TLS. Redirects are never followed. Networks of
one's own are allowed one by one; there is no switch that turns all of this off.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final
from urllib.parse import SplitResult, urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult

Address = IPv4Address | IPv6Address
_REFUSED: Final = [
    ip_network(text)
    for text in (
        "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 "
        "192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 "
        "224.0.0.0/4 240.0.0.0/4 "
        "2001::/23 2001:db8::/32 2002::/16 3fff::/20"
    ).split()
]
"""Private, local, reserved, documentation, and all that carry an IPv4 address inside."""
_UNICAST: Final = ip_network("2000::/3")
"""All that is given out of IPv6: beside it lie the local and mapped ones, and what translators take apart."""
_HOST: Final = re.compile(
    r"(?=.{1,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*"
)
_BRACKETED: Final = re.compile(r"\[[^\[\]@]*\](:[0-9]*)?")
_NUMBER: Final = re.compile(r"(0x[0-9a-f]*|[0-9]+)")
"""A last label like this makes a host a number to some resolvers: 2130706433, 0177.1, 0x7f.1."""


class Refused(OSError):  # noqa: N818 - reads as a verdict
    """This address is not spoken to; the text names the rule and never the URL's path."""


class Guard:
    """The rules of one channel."""

    def __init__(
        self, allow: Sequence[str] = (), ports: Sequence[int] = (443,), *, allow_http: bool = False
    ) -> None:
        self._allow = [ip_network(text) for text in allow]
        self._ports = frozenset(ports)
        self._schemes = ("https", "http") if allow_http else ("https",)

    def check_url(self, url: str) -> None:
        """Check everything that needs no look-up.

        Raises:
            Refused: By the scheme, the port, user data, or the form of the host.
        """
        if not url.isascii() or any(sign <= " " or sign in "\\\x7f" for sign in url):
            raise Refused("the URL has characters that no URL has")
        try:
            parts = urlsplit(url)
            port = parts.port or (443 if parts.scheme == "https" else 80)
            host = parts.hostname or ""
        except ValueError as error:
            raise Refused("this is no URL") from error
        if parts.scheme not in self._schemes:
            raise Refused(f"only {' and '.join(self._schemes)} may be used")
        if "@" in parts.netloc:
            raise Refused("a URL must not carry user data")
        if port not in self._ports:
            raise Refused(f"port {port} is not among the allowed ones")
        self._check_host(host, parts)

    def _check_host(self, host: str, parts: SplitResult) -> None:
        if parts.netloc.startswith("["):
            if not _BRACKETED.fullmatch(parts.netloc):
                raise Refused("this is no host")
            self.check_address(host)
            return
        if not _HOST.fullmatch(host):
            raise Refused("this is no host name")
        labels = host.split(".")
        if _NUMBER.fullmatch(labels[-1]):
            self.check_address(host)

    def check_address(self, text: str) -> Address:
        """Return an address that may be spoken to.

        Raises:
            Refused: It is not public and in no allowed network, or no plain address at all.
        """
        try:
            address = ip_address(text)
        except ValueError as error:
            raise Refused("this is no plain address") from error
        if isinstance(address, IPv6Address) and address.scope_id:
            raise Refused("an address with a zone is local")
        if any(address in network for network in self._allow):
            return address
        given_out = isinstance(address, IPv4Address) or address in _UNICAST
        refused = any(address in network for network in _REFUSED)
        if not given_out or not address.is_global or refused:
            raise Refused("the address is not public, and no allowed network has it")
        return address


class GuardedResolver(AbstractResolver):
    """Resolves a name once, for one connection, and gives only checked addresses."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return all addresses of a name.

        Raises:
            Refused: One of them may not be spoken to.
        """
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)
        results: list[ResolveResult] = []
        for kind, _, proto, _, place in found:
            address = str(self._guard.check_address(str(place[0])))
            results.append(
                ResolveResult(
                    hostname=host,
                    host=address,
                    port=port,
                    family=kind,
                    proto=proto,
                    flags=socket.AI_NUMERICHOST,
                )
            )
        if not results:
            raise OSError("the name has no address")
        return results

    async def close(self) -> None:
        """Nothing is kept."""
