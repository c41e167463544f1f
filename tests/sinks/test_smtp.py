"""``sender: smtp`` against a local server: what each answer of a relay means, and what a mail looks like."""

from __future__ import annotations

from contextlib import asynccontextmanager
from email import message_from_bytes
from email.policy import default

import pytest
from aiosmtplib.email import flatten_message

from orchestrator.sender_settings import SmtpSender
from orchestrator.sinks.senders.protocol import Rejected, TryAgain, Unfit
from orchestrator.sinks.senders.smtp import compose, open_smtp
from tests.sinks.test_deliver import _Controller
from tests.sinks.test_providers import order


class Relay:
    """Answers each command as told; 250 otherwise."""

    def __init__(self):
        self.says = {}
        self.taken = 0

    async def handle_MAIL(self, _server, _session, envelope, address, _options):  # noqa: N802 - aiosmtpd's names
        envelope.mail_from = address
        return self.says.get("MAIL", "250 OK")

    async def handle_RCPT(self, _server, _session, envelope, address, _options):  # noqa: N802
        said = self.says.get("RCPT", "250 OK")
        if said.startswith("250"):
            envelope.rcpt_tos.append(address)
        return said

    async def handle_DATA(self, _server, _session, _envelope):  # noqa: N802
        self.taken += 1
        return self.says.get("DATA", "250 OK")


@pytest.fixture
def relay():
    handler = Relay()
    controller = _Controller(handler, hostname="127.0.0.1", port=0)
    controller.start()
    handler.port = controller.port
    yield handler
    controller.stop()


@asynccontextmanager
async def sending(port):
    async with open_smtp(SmtpSender(port=port, from_address="Acme <a@acme.com>")) as sender:
        yield sender


@pytest.mark.parametrize(
    ("command", "said", "kind", "reason", "blame"),
    [
        ("RCPT", "550 5.1.1 <ada@example.com> unknown", Rejected, "bad_address", "bounced"),
        ("RCPT", "550 5.1.10 null MX", Rejected, "bad_address", "bounced"),
        ("RCPT", "550 5.7.1 your reputation", Rejected, "rejected", None),
        ("RCPT", "550 no", Rejected, "rejected", None),
        ("RCPT", "450 4.2.0 greylisted", TryAgain, "refused", "message"),
        ("RCPT", "421 4.3.2 closing", TryAgain, "refused", "provider"),
        ("DATA", "554 5.6.0 content", Rejected, "rejected", None),
        ("DATA", "550 5.1.1 later than usual", Rejected, "rejected", None),
        ("DATA", "451 4.3.0 later", TryAgain, "refused", "message"),
        ("MAIL", "553 5.7.1 not yours", TryAgain, "configuration", "setup"),
        ("MAIL", "452 4.3.1 full", TryAgain, "refused", "message"),
    ],
)
async def test_what_a_relay_says(relay, command, said, kind, reason, blame):
    """A bare 550 is no word about the address; the connection is used again; codes alone are told."""
    relay.says[command] = said
    async with sending(relay.port) as sender:
        with pytest.raises(kind) as caught:
            await sender.send(order())
        error = caught.value
        assert error.reason == reason
        assert (error.report if kind is Rejected else error.blame) == blame
        assert str(error).startswith(f"SMTP {said[:3]}")
        assert "@" not in str(error)
        if said[:3] != "421":
            relay.says.clear()
            await sender.send(order())
            assert relay.taken >= 1


async def test_nobody_listens():
    async with sending(9) as sender:
        with pytest.raises(TryAgain) as caught:
            await sender.send(order())
    assert (caught.value.reason, caught.value.unknown) == ("unreachable", False)


def test_a_repetition_is_the_same_mail():
    """Message-ID, action and the one-click header of RFC 8058 come from the order alone."""
    settings = SmtpSender(from_address="Acme <a@acme.com>")
    one, two = compose(order(), settings), compose(order(), settings)
    assert one.items()[:-1] == two.items()[:-1]
    assert one["Message-ID"] == "<a1@acme.com>"
    assert one["List-Unsubscribe"] == "<https://u.x/1>"
    assert one["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert [part.get_content_type() for part in one.iter_parts()] == ["text/plain", "text/html"]
    only = compose(order({"html": "<p>Ä</p>"}), settings)
    assert only.get_content_type() == "text/html"


@pytest.mark.parametrize(
    "subject",
    [
        "Hello  Ada",
        "",
        "Grüße, Ada! " * 12,
        "many words " * 40,
        "x" * 2_000,
        "a\x00b",
        "Hi =?utf-8?q?=0D=0ABcc:_all@example.com?=",
        "=?utf-8?b?DQpCY2M6IGFsbEBleGFtcGxlLmNvbQ0KDQpib2R5?= you",
    ],
)
def test_a_subject_is_what_it_says_and_nothing_else(subject):
    """Encoded words in a customer's name stay text: unpacked they would be headers, and the body."""
    raw = flatten_message(compose(order({"text": "x", "subject": subject}), SmtpSender()))
    plain = compose(order({"text": "x", "subject": "s"}), SmtpSender())
    read = message_from_bytes(raw, policy=default)
    assert read["Subject"] == subject
    assert read.keys() == plain.keys()
    assert read.get_content().split() == plain.get_content().split()
    assert max(map(len, raw.split(b"\r\n"))) < 998


def test_a_domain_in_any_script_is_written_as_every_relay_takes_it():
    message = compose(order({"text": "x"}, address="ada@bücher.example"), SmtpSender())
    assert message["To"] == "ada@xn--bcher-kva.example"


@pytest.mark.parametrize(
    ("fields", "changes", "reason"),
    [
        ({"text": "x", "subject": "a\x85b"}, {}, "bad_content"),
        ({"text": "x"}, {"address": "a@b.c, d@e.f"}, "bad_address"),
        ({"text": "x"}, {"address": "a@" + "ü" * 70 + ".example"}, "bad_address"),
        ({"text": "x", "subject": "a\nBcc: all@example.com"}, {}, "bad_content"),
        ({"text": "x"}, {"address": "no address"}, "bad_address"),
        ({"text": "x"}, {"address": "a@b.c\r\nBcc: all@example.com"}, "bad_address"),
        ({"text": "x"}, {"address": ""}, "no_address"),
        ({}, {}, "no_content"),
    ],
)
def test_what_cannot_be_a_mail(fields, changes, reason):
    """Nothing of a template or an address becomes a header of its own."""
    with pytest.raises(Unfit) as caught:
        compose(order(fields, **changes), SmtpSender())
    assert caught.value.reason == reason
