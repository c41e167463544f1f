"""Duplicate memory: 48 h, at least 32, at most 1,000 ids of 8 bytes."""

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.records import Event
from orchestrator.stages.decide.seen import (
    KEPT_MS,
    LEAST,
    MOST,
    check_and_remember,
    event_key,
    last_heard,
    remembered,
)
from orchestrator.stages.decide.state import Profile

NOW = 1_700_000_000_000


def event(event_id: str, source: str = "web") -> Event:
    return Event(event_id=event_id, type="t.t", occurred_at=0, identities={}, source=source)


def test_duplicate_means_same_source_and_id():
    profile = Profile()
    assert not check_and_remember(profile, event("1"), NOW)
    assert check_and_remember(profile, event("1"), NOW + 1)
    assert not check_and_remember(profile, event("1", source="app"), NOW + 1)


def test_source_and_id_cannot_run_into_each_other():
    assert event_key(event("b", source="a")) != event_key(event("", source="ab"))


def test_golden_key():
    """These bytes stand in states: they never change."""
    assert event_key(event("1")).hex() == "776329e3973b5d00"


def test_at_least_32_are_remembered_whatever_their_age():
    profile = Profile()
    for number in range(LEAST + 1):
        check_and_remember(profile, event(str(number)), NOW)
    check_and_remember(profile, event("late"), NOW + 10 * KEPT_MS)
    assert len(profile.seen) == 8 * LEAST
    assert not check_and_remember(profile, event("0"), NOW + 10 * KEPT_MS)
    assert check_and_remember(profile, event("32"), NOW + 10 * KEPT_MS)


def test_forty_eight_hours_are_half_open():
    """An id of exactly 48 h ago is forgotten, one of a millisecond less is not."""
    for age, known in ((KEPT_MS, False), (KEPT_MS - 1, True)):
        profile = Profile()
        check_and_remember(profile, event("old"), NOW)
        for number in range(LEAST):
            check_and_remember(profile, event(str(number)), NOW + age)
        assert check_and_remember(profile, event("old"), NOW + age) is known


def test_when_a_customer_was_last_heard():
    """The log time of the newest event; who was never heard was heard at 0."""
    profile = Profile()
    assert last_heard(profile) == 0
    for now in (1_700_000_000_000, 1_700_000_000_001):
        check_and_remember(profile, event(str(now)), now)
    assert last_heard(profile) == 1_700_000_000_001


def test_at_most_a_thousand_are_remembered():
    profile = Profile()
    for number in range(MOST + 1):
        check_and_remember(profile, event(str(number)), NOW)
    assert len(profile.seen) == 8 * MOST
    assert len(profile.seen_at) == 6 * MOST
    assert check_and_remember(profile, event("1"), NOW)
    assert not check_and_remember(profile, event("0"), NOW)


def test_an_id_is_found_at_its_place_only():
    """Eight bytes that appear across two ids are no id."""
    profile = Profile()
    check_and_remember(profile, event("1"), NOW)
    check_and_remember(profile, event("2"), NOW)
    key = event_key(event("3"))
    profile.seen = b"\0\0" + key + profile.seen[10:]
    assert not check_and_remember(profile, event("3"), NOW)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, KEPT_MS // 8)), max_size=120))
@settings(max_examples=100, deadline=None)
def test_memory_is_what_the_rule_says(arrivals):
    """Against the rule written down naively: a list of all, looked at from its end."""
    profile, kept, now = Profile(), [], NOW
    for name, pause in arrivals:
        now += pause
        duplicate = check_and_remember(profile, event(str(name)), now)
        assert duplicate == (name in [one for one, _ in kept])
        if not duplicate:
            kept.append((name, now))
            young = [pair for pair in kept if pair[1] > now - KEPT_MS]
            kept = kept[-max(len(young), LEAST) :]
    assert [at for _, at in remembered(profile)] == [at.to_bytes(6, "big") for _, at in kept]
