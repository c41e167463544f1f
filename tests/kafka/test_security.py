"""Real brokers that ask who is there: SCRAM over TLS, client certificates, and grants for each role.

Every role runs as the process that operators start. In the SCRAM deployment each of them logs in as
an account of its own that holds exactly the grants of `topics acls`, under an authorizer that denies
everything else. In the other one all share a client certificate.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic

from orchestrator.kafka.acls import grants
from orchestrator.kafka.exports import account
from orchestrator.settings import load_settings
from orchestrator.testing.caller import Caller
from orchestrator.testing.certificates import Authority
from orchestrator.testing.stack import Stack
from tests.kafka.secured import CHIEF, TRIALS, SecuredBroker, write_workspace

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

PREFIX = "guarded"
SECRET = "hush-hush"
MAIL_S = 60
DENIED_S = 60
SENDERS = {"email": "smtp", "inapp": "inapp", "push": "log", "sales": "log"}
"""The channels of a ``Stack``."""
VERBS = {"journeys": "apply", "topics": "topics", "customer": "tools"}
"""First word of a command -> its role, where it is another."""


@pytest.fixture(scope="module")
def secured(tmp_path_factory):
    with SecuredBroker(tmp_path_factory.mktemp("authority")) as running:
        yield running


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return write_workspace(tmp_path_factory.mktemp("workspace"))


def role_of(words) -> str:
    return VERBS.get(words[0]) or " ".join(words[:2] if words[0] == "deliver" else words[:1])


class Guarded:
    """The deployment whose roles hold exactly their grants."""

    def __init__(self, secured: SecuredBroker, workspace) -> None:
        self.secured = secured
        flags = {"topics.prefix": PREFIX, "connect.topics": TRIALS}
        flags |= {f"deliver.{channel}.sender": sender for channel, sender in SENDERS.items()}
        settings = load_settings(env={}, flags=flags)
        self.grants = grants(settings)
        secured.admin.create_topics([NewTopic(TRIALS, 1, 1)])[TRIALS].result(60)
        self.accounts = {role: account(settings, role) for role in self.grants}
        secured.add_accounts({name: f"{SECRET}-{name}" for name in self.accounts.values()})
        for role, needs in self.grants.items():
            secured.grant(f"User:{self.accounts[role]}", needs)
        nobody = {"sasl.username": "nobody", "sasl.password": "each role has its own"}
        sections = {"kafka": secured.scram(**nobody), "topics": {"partitions": 1}}
        self.stack = Stack(
            workspace,
            prefix=PREFIX,
            broker=secured.broker,
            settings=sections,
            environment=self.log_in,
        )

    def log_in(self, words) -> dict[str, str]:
        name = self.accounts[role_of(words)]
        return {
            "ORCHESTRATOR_KAFKA__SASL_USERNAME": name,
            "ORCHESTRATOR_KAFKA__SASL_PASSWORD": f"{SECRET}-{name}",
        }

    def find(self, role: str, name: str):
        """The grant of ``role`` on the resource whose name ends so."""
        (one,) = (grant for grant in self.grants[role] if grant.name.endswith(name))
        return one


@pytest.fixture(scope="module")
def guarded(secured, workspace):
    guarded = Guarded(secured, workspace)
    with guarded.stack as stack:
        start(stack)
        yield guarded


def start(stack) -> None:
    for words in (("worker",), ("collect",), ("deliver", "email")):
        stack.start(*words)
    stack.wait_ready("worker", f"{stack.worker_url}/readyz")
    stack.wait_ready("collect", f"{stack.collector_url}/healthz")


def sign_up(stack, name: str) -> None:
    now = int(time.time() * 1000)
    caller = Caller(stack, name)
    caller.identify(now, email=f"{name}@example.com")
    caller.track(now, "trial.started")


def came_again(stack, name: str) -> bool:
    """As SDKs do after a 503; False: not yet."""
    try:
        sign_up(stack, name)
    except urllib.error.HTTPError as error:
        with error:
            return error.code != 503
    return True


def subjects(stack, name: str) -> list[str]:
    return [str(mail["subject"]) for mail in stack.mail.messages if f"{name}@" in str(mail["to"])]


def expect_both_mails(stack, name: str, *, supervised: bool = False) -> None:
    """The first e-mail left, and its receipt came back: without it there is no second.

    ``supervised``: a role that its authorizer has ended is started again, whenever that end comes.
    """
    deadline = time.monotonic() + MAIL_S
    while subjects(stack, name) != ["Hello", "Thanks"]:
        assert time.monotonic() < deadline, f"{subjects(stack, name)}\n{stack.last_words()}"
        if supervised:
            stack.revive()
        time.sleep(0.05)


def everything_logged(stack) -> str:
    return "".join(role.log.read_text() for role in stack.roles.values())


# ------------------------------------------------------------------- SCRAM over TLS, grants


def test_every_role_runs_with_exactly_its_grants(guarded):
    """HTTP in, identify, decide, e-mail out, receipt back, decide: five accounts, no super user."""
    sign_up(guarded.stack, "ann")
    expect_both_mails(guarded.stack, "ann")
    assert "hello: sent on email" in guarded.stack.run("customer", "why", "ann", "hello")
    logged = everything_logged(guarded.stack)
    assert "uthorization" not in logged
    assert SECRET not in logged


def test_connect_reads_another_teams_topic_with_exactly_its_grants(guarded):
    """A record there becomes events, and these two e-mails; its account sees that topic and ours."""
    stack = guarded.stack
    stack.start("connect")
    other = Producer({"bootstrap.servers": guarded.secured.broker.bootstrap})
    other.produce(TRIALS, json.dumps({"who": "cora", "mail": "cora@example.com"}).encode())
    assert not other.flush(60)
    expect_both_mails(stack, "cora")
    assert stack.stop("connect") == 0
    assert "uthorization" not in (stack.home / "connect.log").read_text()


@pytest.mark.parametrize(
    ("role", "name", "operation"),
    [
        ("worker", "decide-", "Write"),
        ("worker", ".actions.email.v1", "Write"),
        ("deliver email", ".deliveries.email.v1", "Write"),
        ("deliver email", ".actions.email.v1", "Read"),
    ],
)
def test_a_role_without_a_grant_says_so_and_goes_on_when_it_has_it_again(
    guarded, role, name, operation
):
    """Each grant is needed; to take it away stops the message and loses nothing."""
    stack, principal = guarded.stack, f"User:{guarded.accounts[role]}"
    process = stack.roles[role.replace(" ", "-")]
    grant = guarded.find(role, name)
    seen = len(process.log.read_text())
    customer = f"without-{role.replace(' ', '-')}-{operation}-{grant.resource}".lower()
    guarded.secured.revoke(principal, grant, operation)
    try:
        sign_up(stack, customer)
        deadline = time.monotonic() + DENIED_S
        while "uthorization" not in process.log.read_text()[seen:]:
            assert time.monotonic() < deadline, stack.last_words()
            time.sleep(0.05)
        assert subjects(stack, customer) == []
    finally:
        guarded.secured.grant(principal, [grant])
    expect_both_mails(stack, customer, supervised=True)


def test_the_collector_without_its_grant_asks_callers_to_come_again(guarded):
    principal = f"User:{guarded.accounts['collect']}"
    grant = guarded.find("collect", ".events.v1")
    guarded.secured.revoke(principal, grant, "Write")
    try:
        with pytest.raises(urllib.error.HTTPError) as caught:
            sign_up(guarded.stack, "eve")
        assert caught.value.code == 503
        caught.value.close()
    finally:
        guarded.secured.grant(principal, [grant])
    deadline = time.monotonic() + DENIED_S
    while not came_again(guarded.stack, "eve"):
        assert time.monotonic() < deadline, guarded.stack.last_words()
        time.sleep(0.2)
    expect_both_mails(guarded.stack, "eve")


@pytest.mark.parametrize(
    ("words", "role", "name", "operation"),
    [
        (("journeys", "apply", "."), "apply", "-catalog", "Write"),
        (("topics", "plan"), "topics", ".timeline.v1", "Describe"),
        (("deliver", "email"), "deliver email", ".definitions.v1", "DescribeConfigs"),
    ],
)
def test_a_start_without_a_grant_ends_with_words_and_a_code(
    guarded, workspace, words, role, name, operation
):
    principal, grant = f"User:{guarded.accounts[role]}", guarded.find(role, name)
    guarded.secured.revoke(principal, grant, operation)
    try:
        code, told = call(guarded.stack, words, guarded.log_in(words), workspace)
    finally:
        guarded.secured.grant(principal, [grant])
    assert code == 3, told
    assert "authorization failed" in told
    assert "compare its grants with `orchestrator topics acls`" in told


# -------------------------------------------------------------------------- client certificates


def test_a_deployment_with_client_certificates(secured, workspace):
    """The same way through all roles; the worker's client and librdkafka bring one certificate."""
    kafka = secured.mtls(secured.authority.issue(CHIEF))
    with Stack(
        workspace,
        prefix="certified",
        broker=secured.broker,
        settings={"kafka": kafka, "topics": {"partitions": 1}},
    ) as stack:
        start(stack)
        sign_up(stack, "bob")
        expect_both_mails(stack, "bob")


# --------------------------------------------------------------------------------- not let in


def call(stack, words, environment: dict[str, str], folder) -> tuple[int, str]:
    """Run one command to its end; return its exit code and everything that it said."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("ORCHESTRATOR_")}
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator", "--settings", str(stack.settings_file), *words],
        env=inherited | environment,
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


STARTS = (("topics", "plan"), ("worker",), ("collect",), ("deliver", "email"))


@pytest.mark.parametrize("words", STARTS, ids=" ".join)
def test_a_wrong_password_ends_every_role_with_words_and_a_code(guarded, words, tmp_path):
    environment = guarded.log_in(words)
    environment["ORCHESTRATOR_KAFKA__SASL_PASSWORD"] = f"{SECRET}-wrong"
    code, told = call(guarded.stack, words, environment, tmp_path)
    assert code == 3, told
    account = guarded.accounts[role_of(words)]
    assert f"refuses the log-in of {account}" in told
    assert "see kafka.sasl.mechanism, kafka.sasl.username and kafka.sasl.password" in told
    assert SECRET not in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("words", "case"),
    [(("topics", "plan"), "none"), (("topics", "plan"), "mistrusted"), (("worker",), "stranger")],
)
def test_a_wrong_certificate_ends_with_words_and_a_code(guarded, secured, words, case, tmp_path):
    elsewhere = Authority(tmp_path / "elsewhere")
    given = {
        "none": secured.mtls(None),
        "stranger": secured.mtls(elsewhere.issue(CHIEF)),
        "mistrusted": secured.mtls(
            secured.authority.issue("other"), **{"ssl.ca.location": str(elsewhere.file)}
        ),
    }[case]
    environment = {
        f"ORCHESTRATOR_KAFKA__{name.upper().replace('.', '_')}": str(value)
        for name, value in given.items()
    }
    code, told = call(guarded.stack, words, environment, tmp_path)
    assert code == 3, told
    assert "no TLS with Kafka at" in told
    assert "kafka.ssl.certificate.location" in told
    assert "Traceback" not in told
