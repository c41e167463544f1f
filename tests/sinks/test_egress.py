"""SSRF: no URL leads a sink to an address that is not public, unless its network is allowed."""

from __future__ import annotations

import socket

import pytest

from orchestrator.sinks.egress import Guard, GuardedResolver, Refused

REFUSED = """
    http://example.com/ ftp://example.com/ file:///etc/passwd gopher://example.com/ //example.com/
    javascript:alert(1) https:///path https:// https://example.com:80/ https://example.com:22/
    https://example.com:99999/ https://example.com:x/ https://user@example.com/
    https://user:secret@example.com/ https://example.com@127.0.0.1/ https://example.com./
    https://127.0.0.1/ https://127.1/ https://2130706433/ https://0x7f000001/ https://0177.0.0.1/
    https://0x7f.0.0.1/ https://127.0.0.1./ https://0/ https://0.0.0.0/ https://10.0.0.1/
    https://172.16.0.1/ https://172.31.255.255/ https://192.168.1.1/ https://169.254.169.254/latest/
    https://100.64.0.1/ https://198.18.0.1/ https://192.0.2.1/ https://192.0.0.8/ https://203.0.113.1/
    https://224.0.0.1/ https://255.255.255.255/ https://[::1]/ https://[::]/ https://[fe80::1]/
    https://[fe80::1%25eth0]/ https://[fc00::1]/ https://[fd12::1]/ https://[::ffff:127.0.0.1]/
    https://[::ffff:7f00:1]/ https://[::127.0.0.1]/ https://[64:ff9b::7f00:1]/ https://[2002:7f00:1::]/
    https://[ff02::1]/ https://[2001:db8::1]/ https://[::1 https://exa%6dple.com/ https://exa_mple..com/
    https://[::ffff:0:127.0.0.1]/ https://[::fffe:7f00:1]/ https://[4000::1]/ https://[100:0:0:1::1]/
    https://[64:ff9b:1::7f00:1]/ https://[2001:0:7f00:1::]/ https://[0:0:0:0:0:ffff:a9fe:a9fe]/
    https://[2606:4700::1].example.com/ https://[2606:4700::1]127.0.0.1/ https://[2606:4700::1%25]/
    https://%31%32%37.0.0.1/ https://1.2.3.4.5/ https://a.0x7f/ https://localhost./
    https://example.com\\@127.0.0.1/ https://-example.com/ https://*.example.com/ https://{host}.com/
""".split()
ODD = [
    "https://example.com/a b",
    "https://exämple.com/",
    "https://ex\tample.com/",
    " https://a.com",
    "",
]


def test_there_are_more_than_forty():
    assert len(REFUSED) > 40


@pytest.mark.parametrize("url", [*REFUSED, *ODD])
def test_refused(url):
    with pytest.raises(Refused):
        Guard().check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/hook?id=1#x",
        "https://EXAMPLE.com:443/",
        "https://a-b.xn--exmple-cua.com/{path}",
        "https://8.8.8.8/",
        "https://[2606:4700:4700::1111]/",
        "https://1.example.com/",
    ],
)
def test_public_ones_pass(url):
    Guard().check_url(url)


def test_ports_and_http_are_opened_one_by_one():
    Guard(ports=[443, 8443]).check_url("https://example.com:8443/")
    guard = Guard(ports=[80], allow_http=True)
    guard.check_url("http://example.com/")
    for url in ("https://example.com/", "ftp://example.com:80/"):
        with pytest.raises(Refused):
            guard.check_url(url)


def test_own_networks_are_allowed_one_by_one():
    guard = Guard(["10.1.0.0/16", "fd12::/16"])
    guard.check_url("https://10.1.2.3/")
    guard.check_url("https://[fd12::1]/")
    for url in ("https://10.2.0.1/", "https://[fd13::1]/", "https://127.0.0.1/"):
        with pytest.raises(Refused):
            guard.check_url(url)


class Names:
    """A name server's answers."""

    def __init__(self, monkeypatch, **answers):
        self.asked = []

        def getaddrinfo(host, port, *_args, **_more):
            self.asked.append(host)
            found = answers[host.replace(".", "_")]
            kinds = [socket.AF_INET6 if ":" in one else socket.AF_INET for one in found]
            return [
                (kind, socket.SOCK_STREAM, 6, "", (one, port))
                for kind, one in zip(kinds, found, strict=True)
            ]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


async def test_names_are_resolved_once_and_pinned(monkeypatch):
    names = Names(monkeypatch, good_example=["93.184.216.34", "2606:4700::1"])
    found = await GuardedResolver(Guard()).resolve("good.example", 443)
    assert [(one["host"], one["hostname"], one["port"]) for one in found] == [
        ("93.184.216.34", "good.example", 443),
        ("2606:4700::1", "good.example", 443),
    ]
    assert names.asked == ["good.example"]


@pytest.mark.parametrize(
    "bad", ["127.0.0.1", "169.254.169.254", "::1", "fd00::1", "::ffff:10.0.0.1"]
)
async def test_one_bad_address_refuses_the_name(monkeypatch, bad):
    Names(monkeypatch, evil_example=["93.184.216.34", bad])
    with pytest.raises(Refused):
        await GuardedResolver(Guard()).resolve("evil.example", 443)


async def test_a_name_without_addresses(monkeypatch):
    Names(monkeypatch, none_example=[])
    resolver = GuardedResolver(Guard())
    with pytest.raises(OSError, match="no address"):
        await resolver.resolve("none.example", 443)
    await resolver.close()
