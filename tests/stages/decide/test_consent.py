"""Consent: the newest statement that covers decides, and a revocation wins a tie."""

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import InputError
from orchestrator.records import Event
from orchestrator.stages.catalog import Catalog, Channel, Policy
from orchestrator.stages.decide import consent
from orchestrator.stages.decide.consent import Revocation
from orchestrator.stages.decide.state import Customer, Profile, Sent, Statement

NOW = 1_780_308_000_000
CATALOG = Catalog(
    policy=Policy(
        channels={
            "email": Channel(name="email"),
            "push": Channel(name="push"),
            "sales": Channel(name="sales", audience="internal", needs_consent=False),
        },
        consent_default={"news": "opt_in", "tips": "opt_out"},
    )
)
ACTION = bytes(16)


def event(type_: str, at: int = NOW, **properties) -> Event:
    return Event(
        event_id="1", type=type_, occurred_at=at, identities={}, source="s", properties=properties
    )


def apply(customer: Customer, type_: str, at: int = NOW, **properties) -> list[Revocation]:
    return consent.apply_event(customer, event(type_, at, **properties), NOW, CATALOG)


def verdict(customer: Customer, channel: str = "email", category: str = "news"):
    return consent.allowed(customer.profile, channel, category, CATALOG)


def with_action() -> Customer:
    sent = Sent(
        action=ACTION,
        message="m",
        channel="email",
        category="news",
        at=NOW,
        address=consent.digest("a@x.example"),
    )
    return Customer(sends=[sent])


def test_defaults():
    """Unknown: opt_in waits for a word, also where the policy is silent; opt_out sends."""
    customer = Customer()
    assert verdict(customer) == (False, "opt_in")
    assert verdict(customer, category="tips") == (True, "opt_out")
    assert verdict(customer, category="unheard-of") == (False, "opt_in")
    assert verdict(customer, channel="sales") == (True, "not_needed")
    assert verdict(customer, channel="unheard-of") == (False, "opt_in")


def test_the_newest_that_covers_decides_by_occurred_at():
    customer = Customer()
    apply(customer, "consent.granted", at=5)
    apply(customer, "consent.revoked", at=7, channel="email")
    assert verdict(customer) == (False, "revoked")
    assert verdict(customer, channel="push") == (True, "granted")
    apply(customer, "consent.granted", at=6, channel="email", category="news")
    assert verdict(customer) == (False, "revoked")
    apply(customer, "consent.granted", at=8, channel="email", category="news")
    assert verdict(customer) == (True, "granted")
    assert verdict(customer, category="tips") == (False, "revoked")
    assert consent.deciding(customer.profile, "email", "news") == Statement(
        "email", "news", True, 8
    )


def test_a_revocation_wins_a_tie_whatever_the_order():
    for types in permutations(["consent.granted", "consent.revoked"]):
        customer = Customer()
        for type_ in types:
            apply(customer, type_, channel="email")
        assert verdict(customer) == (False, "revoked")


def test_absent_means_all_also_later_ones():
    customer = Customer()
    apply(customer, "consent.granted", channel=None, category="  ")
    assert verdict(customer, "a-new-channel", "a-new-category") == (True, "granted")


def test_what_was_revoked_is_returned():
    """So that actions on their way can be cancelled; what says nothing new returns nothing."""
    customer = Customer()
    assert apply(customer, "consent.granted") == []
    assert apply(customer, "consent.revoked", at=NOW + 1, channel="email") == [
        Revocation("email", "")
    ]
    assert apply(customer, "consent.revoked", at=NOW + 1, channel="email") == []
    assert apply(customer, "consent.revoked", at=NOW, channel="email", category="news") == []
    assert Revocation("email", "").covers("email", "news")
    assert not Revocation("email", "").covers("push", "news")
    assert not Revocation("", "tips").covers("push", "news")


def test_unsubscribing_is_about_the_actions_channel_and_category():
    customer = with_action()
    assert apply(customer, "message.unsubscribed", action_id=ACTION.hex()) == [
        Revocation("email", "news")
    ]
    assert verdict(customer) == (False, "revoked")
    assert verdict(customer, category="tips") == (True, "opt_out")


def test_a_complaint_is_about_the_whole_channel():
    customer = with_action()
    assert apply(customer, "message.complained", action_id=ACTION.hex()) == [
        Revocation("email", "")
    ]
    assert verdict(customer, category="tips") == (False, "revoked")
    assert verdict(customer, channel="push", category="tips") == (True, "opt_out")


@pytest.mark.parametrize("action_id", [None, 5, "no hex", "ff" * 16])
def test_an_unknown_action_revokes_what_the_event_names_else_all(action_id):
    customer = with_action()
    assert apply(customer, "message.unsubscribed", action_id=action_id, channel="push") == [
        Revocation("push", "")
    ]
    assert apply(customer, "message.complained", action_id=action_id) == [Revocation("", "")]
    assert verdict(customer, channel="new", category="tips") == (False, "revoked")


def test_a_hard_bounce_makes_the_address_unusable():
    """Until it changes: another address is usable, and so is the same one on another channel."""
    customer = with_action()
    assert apply(customer, "message.bounced", action_id=ACTION.hex()) == []
    assert consent.usable(customer.profile, "email", "a@x.example")
    assert apply(customer, "message.bounced", action_id=ACTION.hex(), hard=True) == []
    assert not consent.usable(customer.profile, "email", "a@x.example")
    assert consent.usable(customer.profile, "email", "b@x.example")
    assert consent.usable(customer.profile, "push", "a@x.example")


def test_a_bounce_of_a_forgotten_action_must_name_its_address():
    customer = Customer()
    apply(customer, "message.bounced", hard=True)
    assert customer.profile.unusable == {}
    for number in range(10):
        apply(customer, "message.bounced", hard=True, channel="email", address=f"{number}@x")
    assert len(customer.profile.unusable["email"]) == 8


def test_a_grant_must_be_understood_a_revocation_is_obeyed():
    """A grant of we-know-not-what is a dead letter; a revocation like that withdraws everything."""
    customer = Customer()
    with pytest.raises(InputError, match="channel must be a name") as refused:
        apply(customer, "consent.granted", channel=5)
    assert refused.value.cause == "bad_consent"
    assert apply(customer, "consent.revoked", channel=5) == [Revocation("", "")]


def test_other_events_say_nothing():
    customer = Customer()
    assert apply(customer, "page.viewed") == []
    assert customer == Customer()


def test_a_grant_from_the_future_is_clamped():
    """Else a wrong clock would make consent irrevocable."""
    customer = Customer()
    apply(customer, "consent.granted", at=NOW + 10**9)
    assert apply(customer, "consent.revoked", at=NOW) == [Revocation("", "")]
    assert verdict(customer) == (False, "revoked")


STATEMENTS = st.builds(
    Statement,
    st.sampled_from(["", "email", "push"]),
    st.sampled_from(["", "news", "tips"]),
    st.booleans(),
    st.integers(0, 5),
)
SCOPES = [(channel, category) for channel in ("email", "push", "x") for category in ("news", "y")]


@given(st.lists(STATEMENTS, max_size=12), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_only_what_can_decide_is_kept_in_whatever_order(statements, random):
    """Tidying changes no verdict, and the state does not depend on the order of arrival."""
    profile, shuffled = Profile(), Profile()
    for statement in statements:
        consent.state(profile, statement)
    random.shuffle(statements)
    for statement in statements:
        consent.state(shuffled, statement)
    assert profile == shuffled
    untidy = Profile(consent=(tuple(statements),) if statements else ())
    for scope in SCOPES:
        kept, all_of_them = (consent.deciding(one, *scope) for one in (profile, untidy))
        assert (kept is None) == (all_of_them is None)
        if kept is not None:
            assert (kept.granted, kept.at) == (all_of_them.granted, all_of_them.at)


@given(st.lists(st.lists(STATEMENTS, max_size=4), max_size=3), STATEMENTS)
@settings(max_examples=200, deadline=None)
def test_after_a_merge_revoked_wins_and_a_newer_word_wins_over_all(lists, newer):
    profile = Profile(consent=consent.unite(consent.tidy(one) for one in lists))
    for scope in SCOPES:
        verdicts = [
            found.granted
            for one in lists
            if (found := consent.deciding(Profile(consent=(tuple(one),)), *scope)) is not None
        ]
        found = consent.deciding(profile, *scope)
        assert (found and found.granted) == (all(verdicts) if verdicts else None)
    latest = Statement(newer.channel, newer.category, newer.granted, 9)
    consent.state(profile, latest)
    for scope in SCOPES:
        if Revocation(newer.channel, newer.category).covers(*scope):
            assert consent.deciding(profile, *scope) == latest


def test_statements_without_end_are_bounded_and_err_on_the_side_of_silence():
    """What was granted longest ago is forgotten; revocations beyond all reason become one of all."""
    customer = Customer()
    for number in range(100):
        apply(customer, "consent.granted", at=number, channel=f"c{number}", category="news")
    assert len(customer.profile.consent[0]) == consent.MOST_STATEMENTS
    assert verdict(customer, channel="c99") == (True, "granted")
    assert consent.deciding(customer.profile, "c0", "news") is None
    apply(customer, "consent.revoked", at=100, channel="email")
    assert verdict(customer) == (False, "revoked")
    for number in range(100, 163):
        apply(customer, "consent.revoked", at=number, channel=f"r{number}")
    assert len(customer.profile.consent[0]) == consent.MOST_STATEMENTS
    assert verdict(customer, channel="c99")[0] is False
    apply(customer, "consent.revoked", at=170, channel="one-more")
    assert customer.profile.consent == ((Statement("", "", False, 170),),)
    apply(customer, "consent.granted", at=171, channel="email")
    assert verdict(customer) == (True, "granted")


@pytest.mark.parametrize("type_", ["consent.revoked", "message.complained"])
def test_a_name_that_no_channel_can_have_grants_nothing_and_revokes_all(type_):
    customer = Customer()
    with pytest.raises(InputError, match="must be a name"):
        apply(customer, "consent.granted", channel="x" * 64)
    apply(customer, type_, channel="x" * 64)
    assert customer.profile.consent == ((Statement("", "", False, NOW),),)


def test_bounces_of_channels_that_there_are_not_are_nothing():
    customer = Customer()
    apply(customer, "message.bounced", hard=True, channel="pigeon", address="x")
    assert customer.profile.unusable == {}


def test_of_many_merged_customers_the_oldest_words_keep_their_revocations():
    """Sixteen lists at most; what somebody revoked long ago stays revoked, what he granted is unknown."""
    lists = [(Statement("email", "news", number % 2 == 0, number),) for number in range(30)]
    united = consent.unite(lists)
    assert len(united) == consent.MOST_LISTS
    assert (Statement("email", "news", False, 13),) in united
    granted = [(Statement("push", "", True, n),) for n in range(30)]
    assert consent.unite(granted) == tuple(granted[15:])
