"""Caps, gaps, quiet hours, consent, repeat, suppression, holdout: one journey sends one message."""

import pytest

from orchestrator.expressions.durations import Duration
from orchestrator.stages import catalog as c
from tests.stages.decide.parts import sent


def journeys(define, *names, **more):
    """One journey for each name: event ``go.NAME`` sends message NAME by e-mail."""
    return [
        define.journey(f"j-{name}", f"go.{name}", ("say", define.send(name, "email")), **more)
        for name in names
    ]


def cap(name="cap", limit=1, per="day", **more):
    return c.Cap(name=name, limit=limit, per=per, **more)


@pytest.mark.parametrize(
    ("per", "rolling", "until"),
    [
        ("day", None, "2026-03-03T00:00"),
        ("week", None, "2026-03-09T00:00"),
        ("month", None, "2026-04-01T00:00"),
        ("rolling", Duration(3, 0), "2026-03-05T10:00"),
        ("rolling", Duration(0, 3_600_000), "2026-03-02T11:00"),
    ],
)
def test_a_cap_defers_to_the_instant_at_which_a_slot_is_free(
    world, define, at, per, rolling, until
):
    """Calendar windows end by the customer's calendar, a rolling one when its oldest send leaves."""
    policy = define.policy(caps=(cap(per=per, rolling=rolling),))
    messages = [define.message(n, expires=Duration(60, 0)) for n in ("a", "b")]
    w = world(define.catalog(*journeys(define, "a", "b"), messages=messages, policy=policy))
    assert sent(w.tell("go.a")) == ["sent a/email"]
    assert sent(w.tell("go.b", after="PT1M")) == ["deferred b/email cap"]
    deferral = w.last("deferred")
    assert (deferral.rule, deferral.until) == ("cap", at(until))
    assert deferral.rule_values == {"used": 1, "limit": 1}
    assert sent(w.pass_time(to=until)) == ["sent b/email"]
    assert w.actions[-1].decided_at == at(until)


def test_a_slot_comes_back_with_dropped_and_waiters_go_at_once(world, define):
    policy = define.policy(caps=(cap(),))
    w = world(define.catalog(*journeys(define, "a", "b"), policy=policy), accept=False)
    w.tell("go.a")
    assert sent(w.tell("go.b", after="PT1M")) == ["deferred b/email cap"]
    assert sent(w.receipt("dropped", after="PT1M", reason="cancel")) == ["sent b/email"]
    assert sent(w.receipt("dropped", w.actions[0], after="PT1M", reason="cancel")) == []


def test_bounced_gives_nothing_back(world, define):
    policy = define.policy(caps=(cap(),))
    w = world(define.catalog(*journeys(define, "a", "b"), policy=policy))
    w.tell("go.a")
    w.tell("go.b", after="PT1M")
    assert sent(w.receipt("bounced", after="PT1M")) == []


def test_scopes_of_a_cap_are_anded(world, define):
    policy = define.policy(
        caps=(cap(channels=frozenset({"email"}), categories=frozenset({"offers"})),),
        consent_default={"news": "opt_out", "offers": "opt_out"},
    )
    messages = [
        define.message("a", category="offers"),
        define.message("b", category="offers"),
        define.message("n"),
    ]
    w = world(define.catalog(*journeys(define, "a", "b", "n"), messages=messages, policy=policy))
    assert sent(w.tell("go.a")) == ["sent a/email"]
    assert sent(w.tell("go.n")) == ["sent n/email"]
    assert sent(w.tell("go.b")) == ["deferred b/email cap"]


def test_a_cap_by_subject_and_by_message(world, define):
    policy = define.policy(
        caps=(cap("pricing", about="pricing"), cap("one", message="n", per="week"))
    )
    messages = [
        define.message("a", about="pricing"),
        define.message("b", about="pricing"),
        define.message("n", repeat="always"),
    ]
    w = world(define.catalog(*journeys(define, "a", "b", "n"), messages=messages, policy=policy))
    w.tell("go.a")
    assert sent(w.tell("go.b")) == ["deferred b/email cap"]
    assert w.last("deferred").rule == "pricing"
    assert sent(w.tell("go.n")) == ["sent n/email"]
    assert sent(w.tell("go.n")) == ["deferred n/email cap"]
    assert w.last("deferred").rule == "one"


def test_transactional_neither_obeys_nor_counts(world, define):
    policy = define.policy(caps=(cap(),), gap={"any": Duration(0, 3_600_000)})
    receipt = define.message("t", class_="transactional")
    w = world(define.catalog(*journeys(define, "a", "t"), messages=[receipt], policy=policy))
    assert sent(w.tell("go.t")) == ["sent t/email"]
    assert sent(w.tell("go.a")) == ["sent a/email"]
    assert sent(w.tell("go.t")) == ["sent t/email"]


def test_gap_any_and_of_the_channel(world, define, at):
    policy = define.policy(gap={"any": Duration(0, 3_600_000), "email": Duration(0, 7_200_000)})
    w = world(define.catalog(*journeys(define, "a", "b"), policy=policy))
    w.tell("go.a")
    assert sent(w.tell("go.b", after="PT30M")) == ["deferred b/email gap"]
    assert (w.last("deferred").rule, w.last("deferred").until) == ("email", at("2026-03-02T12:00"))
    assert sent(w.pass_time("PT1H29M")) == []
    assert sent(w.pass_time("PT1M")) == ["sent b/email"]


def test_the_same_block_is_recorded_once(world, define):
    """A needless wake-up decides the same again and says nothing."""
    policy = define.policy(gap={"any": Duration(0, 7_200_000)})
    w = world(define.catalog(*journeys(define, "a", "b"), policy=policy))
    w.tell("go.a")
    assert sent(w.tell("go.b")) == ["deferred b/email gap"]
    w.tell("customer.updated", timezone="Europe/Paris", after="PT1M")
    assert w.state.entries[0].pending is not None
    assert [d.outcome for d in w.decisions].count("deferred") == 1


def test_consent_opt_in_and_opt_out(world, define):
    messages = [define.message("o", category="offers")]
    w = world(define.catalog(*journeys(define, "a", "o"), messages=messages))
    assert sent(w.tell("go.o")) == ["suppressed o/email no_consent"]
    assert w.last("suppressed").rule == "opt_in"
    w.tell("consent.granted", channel="email", category="offers")
    assert sent(w.tell("go.o")) == ["sent o/email"]
    w.tell("consent.revoked")
    assert sent(w.tell("go.a")) == ["suppressed a/email no_consent"]


def test_revocation_cancels_what_no_sink_has_accepted(world, define):
    w = world(define.catalog(*journeys(define, "a")), accept=False)
    w.tell("go.a")
    assert w.tell("consent.revoked", after="PT1M") == ["cancelled a/email no_consent"]
    assert w.actions[-1].kind == "cancel"
    assert w.tell("consent.revoked", after="PT1M") == []


def test_addresses(world, define):
    w = world(define.catalog(*journeys(define, "a", "b")))
    w.tell("go.a")
    w.receipt("bounced", hard=True)
    assert sent(w.tell("go.b")) == ["suppressed b/email no_address"]
    assert w.last("suppressed").rule == "bounced"
    w.tell("customer.updated", email="new@example.com")
    assert sent(w.tell("go.b")) == ["sent b/email"]
    w.tell("customer.updated", email=None)
    w2 = world(define.catalog(*journeys(define, "a")))
    w2.tell("customer.updated", email=None)
    assert sent(w2.tell("go.a")) == ["suppressed a/email no_address"]


def test_repeat_never_after_always(world, define):
    messages = [
        define.message("a"),
        define.message("b", repeat=Duration(10, 0)),
        define.message("n", repeat="always"),
    ]
    w = world(define.catalog(*journeys(define, "a", "b", "n"), messages=messages))
    for name in "abn":
        assert sent(w.tell(f"go.{name}")) == [f"sent {name}/email"]
    assert sent(w.tell("go.a", after="P9D")) == ["suppressed a/email already_sent"]
    assert sent(w.tell("go.b")) == ["suppressed b/email already_sent"]
    assert sent(w.tell("go.n")) == ["sent n/email"]
    assert sent(w.tell("go.b", after="P1D")) == ["sent b/email"]


def test_repeat_never_outlasts_the_memory_of_sends(world, define):
    messages = [define.message("a"), define.message("n", repeat="always")]
    w = world(define.catalog(*journeys(define, "a", "n"), messages=messages))
    w.tell("go.a")
    for _ in range(80):
        w.tell("go.n", after="P1D")
    assert len(w.state.sends) == 64
    assert sent(w.tell("go.a")) == ["suppressed a/email already_sent"]


def test_suppression_ends_when_its_trait_changes(world, define):
    rule = c.Suppression(name="open-ticket", condition=define.when('profile.plan == "ticket"'))
    w = world(define.catalog(*journeys(define, "a"), policy=define.policy(suppress=(rule,))))
    w.tell("customer.updated", plan="ticket")
    assert sent(w.tell("go.a")) == ["deferred a/email suppression"]
    assert w.last("deferred").rule == "open-ticket"
    assert sent(w.tell("customer.updated", name="x", after="PT1H")) == []
    assert sent(w.tell("customer.updated", plan="free", after="PT1H")) == ["sent a/email"]


def test_a_deferred_send_expires_and_its_entry_goes_on(world, define, at):
    rule = c.Suppression(name="never", condition=define.when('profile.email != "x"'))
    catalog = define.catalog(
        define.journey("j", "go", ("one", define.send("a")), ("two", define.send("hot", "sales"))),
        messages=[
            define.message("a", expires=Duration(2, 0)),
            define.message("hot", class_="mandatory"),
        ],
        policy=define.policy(suppress=(rule,)),
    )
    w = world(catalog)
    w.tell("go")
    assert sent(w.pass_time("P3D")) == ["expired a/email expired", "sent hot/sales"]
    assert w.last("expired").decided_at == at("2026-03-04T10:00")


def test_holdout_is_sticky_and_walks_on(world, define):
    policy = define.policy(holdout=c.Holdout(share=10_000, salt="2026"))
    messages = [define.message("t", class_="transactional")]
    w = world(define.catalog(*journeys(define, "a", "t"), messages=messages, policy=policy))
    for _ in range(2):
        assert w.tell("go.a") == ["entered j-a", "held_out a/email holdout", "exited j-a completed"]
    assert sent(w.tell("go.t")) == ["sent t/email"]
    assert w.state.profile.holdout == {"2026": 5273}
    smaller = define.policy(holdout=c.Holdout(share=0, salt="2026"))
    w.apply(define.catalog(*journeys(define, "a", "t"), messages=messages, policy=smaller))
    assert sent(w.tell("go.a")) == ["sent a/email"]


def test_obsolete_is_asked_at_the_send_and_at_the_release(world, define):
    quiet = c.QuietHours(name="night", start=21 * 60, end=8 * 60)
    messages = [define.message("a", obsolete_if='profile.plan == "paid"')]
    w = world(
        define.catalog(
            *journeys(define, "a"), messages=messages, policy=define.policy(quiet_hours=(quiet,))
        ),
        "2026-03-02T22:00",
    )
    assert sent(w.tell("go.a")) == ["deferred a/email quiet_hours"]
    assert sent(w.tell("customer.updated", plan="paid", after="PT1H")) == []
    assert sent(w.pass_time("P1D")) == ["suppressed a/email obsolete"]


@pytest.mark.parametrize(("word", "expected"), [("skip", "completed"), ("exit", "quiet_hours")])
def test_on_block_skip_and_exit(world, define, word, expected):
    quiet = c.QuietHours(name="night", start=21 * 60, end=8 * 60)
    journey = define.journey("j", "go", ("say", define.send("a", on_block={"quiet_hours": word})))
    w = world(
        define.catalog(journey, policy=define.policy(quiet_hours=(quiet,))), "2026-03-02T22:00"
    )
    assert w.tell("go") == [
        "entered j",
        "suppressed a/email quiet_hours",
        f"exited j {expected}",
    ]


def test_quiet_hours_release_is_spread_within_the_gap_between_windows(world, define, at):
    quiet = c.QuietHours(name="night", start=21 * 60, end=8 * 60)
    policy = define.policy(quiet_hours=(quiet,), spread_ms=600_000)
    w = world(define.catalog(*journeys(define, "a"), policy=policy), "2026-03-02T22:00")
    w.tell("go.a")
    assert at("2026-03-03T08:00") <= w.last("deferred").until < at("2026-03-03T08:10")
    assert sent(w.pass_time("P1D")) == ["sent a/email"]


def test_channel_list_takes_the_first_that_is_allowed(world, define):
    journey = define.journey("j", "go", ("say", define.send("a", "email", "push")))
    w = world(define.catalog(journey))
    w.tell("customer.updated", email=None)
    assert sent(w.tell("go")) == ["sent a/push"]
    assert [(one.name, one.outcome, one.reason) for one in w.last("sent").candidates] == [
        ("email", "blocked", "no_address"),
        ("push", "sent", None),
    ]


def test_channel_list_defers_to_the_earliest_and_begins_again(world, define, at):
    """The first channel's reason counts; the second one's instant wakes it."""
    quiet = c.QuietHours(name="n", start=600, end=720, channels=frozenset({"push"}))
    journey = define.journey("j", "go", ("say", define.send("a", "email", "push")))
    w = world(define.catalog(journey, policy=define.policy(quiet_hours=(quiet,))))
    w.tell("customer.updated", email=None)
    assert sent(w.tell("go")) == ["deferred a/email no_address"]
    assert w.last("deferred").until == at("2026-03-02T12:00")
    assert sent(w.tell("customer.updated", email="new@example.com", after="PT1H")) == [
        "sent a/email"
    ]


def test_window_drop_returns_to_the_send(world, define):
    """The sink was down until quiet hours began: the entry returns, and it goes out next day."""
    quiet = c.QuietHours(name="night", start=21 * 60, end=8 * 60)
    catalog = define.catalog(
        define.journey(
            "j",
            "go",
            ("say", define.send("a")),
            ("rest", c.Wait(duration=Duration(3, 0))),
            ("more", define.send("hot", "sales")),
        ),
        messages=[define.message("hot", class_="mandatory")],
        policy=define.policy(quiet_hours=(quiet,)),
    )
    w = world(catalog, accept=False)
    w.tell("go")
    first = w.actions[0]
    assert sent(w.receipt("dropped", at="2026-03-02T23:00", reason="window")) == [
        "deferred a/email quiet_hours"
    ]
    assert sent(w.pass_time(to="2026-03-03T09:00")) == ["sent a/email"]
    assert w.actions[-1].action_id != first.action_id
    assert w.state.entries[0].step == "rest"
    w.pass_time("P4D")
    assert sent(w.receipt("dropped", w.actions[-2], reason="window")) == ["expired a/email window"]


def test_failed_is_never_decided_again(world, define):
    journey = define.journey(
        "j",
        "go",
        ("say", define.send("a")),
        ("rest", c.Wait(duration=Duration(1, 0))),
        (
            "ask",
            c.Branch(arms=(c.BranchArm(condition=define.ex('sent("say")'), then="hot"),)),
            {"then": None},
        ),
        ("hot", define.send("hot", "sales")),
    )
    w = world(
        define.catalog(journey, messages=[define.message("hot", class_="mandatory")]), accept=False
    )
    w.tell("go")
    assert sent(w.receipt("failed")) == []
    assert sent(w.pass_time("P2D")) == []


def test_paused_channel_holds_until_it_is_open_again(world, define):
    paused = {"email": c.Channel(name="email", address=define.ex("profile.email"), paused=True)}
    made = journeys(define, "a")
    w = world(define.catalog(*made, policy=define.policy(channels=paused)))
    assert sent(w.tell("go.a")) == ["deferred a/email channel_paused"]
    assert sent(w.apply(define.catalog(*made))) == ["sent a/email"]


def test_the_order_of_the_pipeline(world, define):
    """Everything blocks one send; what is taken away in order names the next block as the reason."""
    rest = c.Wait(duration=Duration(0, 3_600_000))
    night = c.QuietHours(name="night", start=0, end=23 * 60 + 59)
    caps = (c.Cap(name="none", limit=1, per="rolling", rolling=Duration(90, 0)),)
    everything = {
        "step": {"if_": 'profile.plan != "x"'},
        "message": {"obsolete_if": 'profile.plan == "x"', "repeat": "never"},
        "suppress": (c.Suppression(name="s", condition=define.when('profile.plan == "x"')),),
        "consent_default": {"news": "opt_in"},
        "address": 'profile.country == "none" ? "a" : ""',
        "holdout": c.Holdout(share=10_000, salt="x"),
        "quiet_hours": (night,),
        "gap": {"any": Duration(90, 0)},
        "caps": caps,
        "protect": Duration(2, 0),
    }
    nothing = {
        "step": {}, "message": {"repeat": "always"}, "suppress": (),
        "consent_default": {"news": "opt_out"}, "address": "profile.email", "holdout": None,
        "quiet_hours": (), "gap": {}, "caps": (c.Cap(name="two", limit=2, per="rolling", rolling=Duration(90, 0)),),
        "protect": None,
    }  # fmt: skip
    reasons = "condition obsolete already_sent suppression no_consent no_address holdout quiet_hours gap cap protected".split()
    removals = [["step"], ["obsolete_if"], ["repeat"], *[[n] for n in list(everything)[2:]]]
    now = dict(everything)
    told = []
    for removal in [[], *removals]:
        for name in removal:
            if name in {"obsolete_if", "repeat"}:
                now["message"] = {
                    **{k: v for k, v in now["message"].items() if k != name},
                    **({"repeat": "always"} if name == "repeat" else {}),
                }
            else:
                now[name] = nothing[name]
        rules = {k: v for k, v in now.items() if k not in {"step", "message", "address"}}
        channel = c.Channel(name="email", address=define.ex(now["address"]))
        rules["channels"] = {"email": channel}
        journeys = [
            define.journey("j", "go", ("say", define.send("m"), now["step"])),
            define.journey("first", "first", ("say", define.send("m"))),
            define.journey("high", "first", ("rest", rest), ("say", define.send("n")), priority=90),
        ]
        free = define.policy()
        messages = [define.message("m", **now["message"]), define.message("n")]
        w = world(define.catalog(*journeys, policy=free, messages=messages), "2026-03-02T12:00")
        w.tell("first")
        w.tell("customer.updated", plan="x")
        w.apply(
            define.catalog(*journeys, policy=define.policy(**rules), messages=messages, hash="2")
        )
        w.tell("go")
        told.append(w.decisions[-1].reason if w.decisions[-1].message else w.decisions[-2].reason)
    assert told == [*reasons, None]
