"""More than one of a kind: caps, ways to send, and lives that meet."""

from orchestrator import ids
from orchestrator.expressions.durations import Duration
from orchestrator.stages import catalog as c
from tests.stages.decide.parts import REST, absorbed, sent

# --------------------------------------------------------------------- more than one of a kind


def test_of_several_full_caps_the_longest_holds(world, define, at):
    caps = (c.Cap(name="week", limit=1, per="week"), c.Cap(name="day", limit=1, per="day"))
    journey = define.journey("j", "go", ("say", define.send("m", "inapp")))
    messages = [define.message("m", repeat="always")]
    w = world(define.catalog(journey, policy=define.policy(caps=caps), messages=messages))
    w.tell("go")
    assert sent(w.tell("go")) == ["deferred m/inapp cap"]
    assert (w.last("deferred").rule, w.last("deferred").until) == ("week", at("2026-03-09T00:00"))


def test_of_several_caps_with_spoken_slots_the_longest_protects(world, define):
    caps = (c.Cap(name="week", limit=1, per="week"), c.Cap(name="day", limit=1, per="day"))
    listen = c.WaitFor(mode="first", patterns=(define.pattern("x.done"),), timeout=Duration(1, 0))
    high, low = define.send("high", "inapp"), define.send("low", "inapp")
    journeys = [
        define.journey("soon", "go.soon", ("rest", c.Wait(duration=Duration(0, 3_600_000))), ("say", high), priority=90),
        define.journey("ear", "go.ear", ("listen", listen), ("say", high), priority=90),
        define.journey("low", "go.low", ("say", low), priority=10),
    ]  # fmt: skip
    policy = define.policy(caps=caps, protect=Duration(2, 0))
    w = world(define.catalog(*journeys, policy=policy))
    w.tell("go.ear")
    w.tell("go.soon")
    assert sent(w.tell("go.low")) == ["deferred low/inapp protected"]
    assert w.last("deferred").rule == "week"


def test_an_older_revocation_of_all_leaves_a_newer_grant(world, define):
    """What the customer said last about news stands; only the rest is withdrawn."""
    w = world(define.catalog(define.journey("j", "go", ("ad", define.send("ad")))), accept=False)
    w.tell("go", after="P2D")
    w.tell("consent.granted", channel="email", category="news")
    assert w.tell("consent.revoked", channel="email", occurred_at="2026-03-03T10:00") == []
    assert w.tell("consent.revoked", channel="email", after="PT1M") == [
        "cancelled ad/email no_consent"
    ]


def test_what_was_skipped_is_named_once(world, define):
    """Two ways that lead to the same message are one message less."""
    listen = c.WaitFor(mode="first", patterns=(define.pattern("x.done", then="b"),), timeout=Duration(1, 0))  # fmt: skip
    say = define.send("m", "inapp")
    journey = define.journey("j", "go", ("listen", listen), ("a", say), ("b", say), exits=(define.pattern("bye"),))  # fmt: skip
    w = world(define.catalog(journey))
    w.tell("go")
    w.tell("bye")
    assert w.last("exited").rule_values == {"skipped": "m"}


def test_goals_that_still_count_are_not_forgotten(world, define):
    """Although their customers could come again at any time."""
    goal = c.Goal(pattern=define.pattern("order.paid"), within=Duration(30, 0))
    rule = c.EntryRule(on=("cart.left",), key=define.ex("event.id"), re_entry="always")
    w = world(define.catalog(define.journey("cart", rule, ("out", c.Stop()), goal=goal)))
    for number in range(260):
        w.tell("cart.left", id=number, after="PT1M")
    assert len(w.state.past) == 256
    assert sorted(w.state.past) == sorted(f"cart\x1f{number}" for number in range(4, 260))


def test_giving_up_a_crossing_does_not_come_back(world, define):
    heat = c.Trait(name="heat", kind="score", type="double", scores={"x.done": 8.0}, half_life_ms=86_400_000)  # fmt: skip
    rule = c.EntryRule(when=define.when("profile.heat < 1"), re_entry="always")
    w = world(define.catalog(define.journey("cold", rule, ("out", c.Stop())), traits=(heat,)))
    w.tell("x.done")
    state = w.state
    assert state.watch
    assert w.harness.stage.give_up("anna", state, state.watch, w.harness.catalog) == []
    assert (state.watch, state.due) == (0, 0)


def test_hits_of_other_steps_keep_their_names(world, define):
    """``was`` renames one step; what was heard for the others stays theirs."""

    def listen(word):
        return c.WaitFor(
            mode="best", patterns=(define.pattern(word, then="end"),), timeout=Duration(5, 0), since="entry",
        )  # fmt: skip

    first, second = listen("a.done"), listen("b.done")
    old = define.journey("j", "go", ("one", first), ("two", second), ("end", c.Stop()), in_flight="follow")  # fmt: skip
    steps = [("uno", first, {"was": "one"}), ("two", second), ("end", c.Stop())]
    new = define.journey("j", "go", *steps, in_flight="follow", version="2")
    known = {"j-1": old, "2": new}
    find = {"pinned": lambda _, version: known.get(version)}
    w = world(define.catalog(old, **find))
    w.tell("go")
    for word in ("a.done", "b.done", "a.done", "b.done"):
        w.tell(word)
    w.apply(define.catalog(new, **find))
    (entry,) = w.state.entries
    assert [hit.step for hit in entry.hits] == ["uno", "two"]
    assert w.pass_time("P6D") == ["advanced j", "exited j stopped"]


def test_best_keeps_a_condition_that_was_true_on_arrival(world, define):
    """Once, and it decides at the timeout by its rank."""
    paid = define.pattern(when='profile.plan == "paid"', then="thank")
    wait = c.WaitFor(mode="best", patterns=(paid,), timeout=Duration(2, 0))
    journey = define.journey("j", "go", ("listen", wait, {"then": None}), ("thank", define.send("m", "inapp")))  # fmt: skip
    w = world(define.catalog(journey))
    w.tell("customer.updated", plan="paid")
    w.tell("go")
    w.tell("customer.updated", plan="paid", country="DE")
    assert len(w.state.entries[0].hits) == 1
    w.tell("customer.updated", plan="free")
    assert "sent m/inapp" in w.pass_time("P3D")


def test_a_silence_that_nothing_is_known_of_is_not_armed_by_a_catalog(world, define):
    """Never seen = never fires; and what was armed for another type is dropped."""

    def away(type_, days=3):
        rule = c.EntryRule(absence_of=type_, absence_for=Duration(days, 0), re_entry="always")
        lasts = frozenset({"app.opened", "web.opened"})
        return define.catalog(define.journey("away", rule, ("out", c.Stop())), lasts=lasts, hash=f"{type_}{days}")  # fmt: skip

    w = world(away("app.opened"))
    w.tell("app.opened")
    w.apply(away("web.opened"))
    assert w.state.absences == {}
    w.apply(away("app.opened"))
    assert list(w.state.absences) == ["away"]
    del w.state.profile.traits["@app.opened"]  # nobody else asks for it
    due = w.state.absences["away"]
    w.apply(away("app.opened", 9))
    assert w.state.absences == {"away": due + 6 * 86_400_000}


def test_a_change_from_within_passes_gone_definitions_by(world, define):
    """Another journey sets a trait by timer: the orphan does not stop it, and ends by its own timer."""
    old = define.journey("j", "go", ("rest", REST))
    setter = define.journey("k", "go", ("rest", c.Wait(duration=Duration(1, 0))), ("set", c.SetTraits(values={"plan": define.ex('"x"')})))  # fmt: skip
    stub = define.journey("j", "go", ("out", c.Stop()), version="2")
    w = world(define.catalog(old, setter))
    w.tell("go")
    known = {"j-1": old}
    w.apply(define.catalog(stub, setter, pinned=lambda _, v: known.get(v), hash="new"))
    known.clear()
    assert w.pass_time("P1D") == ["exited k completed"]
    assert w.pass_time("P1D") == ["exited j not_live"]


def test_two_long_histories_are_one_of_the_usual_length(world, define):
    journey = define.journey("j", "go", ("say", define.send("m", "inapp")))
    w = world(define.catalog(journey, messages=[define.message("m", repeat="always")]))
    for number in range(40):
        w.tell("go", customer="anon:9", id_=f"a{number}")
        w.tell("go", id_=f"b{number}", after="PT1H")
    life = w.harness.states.pop("anon:9")
    absorbed(w, life)
    assert len(w.state.sends) == 64
    assert w.state.ever.keys() == {"m"}


def test_a_share_may_only_shrink(world, define):
    """Control leaves with a smaller share and for good; a greater one takes nobody it wrote to."""
    journey = define.journey("j", "go", ("say", define.send("m")))
    messages = [define.message("m", repeat="always")]
    bucket = ids.bucket("salt", "anna")

    def share(size, name):
        holdout = c.Holdout(share=size, salt="salt")
        policy = define.policy(holdout=holdout)
        return define.catalog(journey, policy=policy, messages=messages, hash=name)

    def outcome(lines):
        return [line.split()[0] for line in lines if line.startswith(("sent", "held_out"))]

    w = world(share(bucket + 1, "1"))
    assert outcome(w.tell("go")) == ["held_out"]
    w.apply(share(bucket, "2"))
    assert outcome(w.tell("go")) == ["sent"]
    w.apply(share(10_000, "3"))
    assert outcome(w.tell("go")) == ["sent"]
    assert outcome(w.tell("go", customer="new")) == []
    w.tell("customer.updated", customer="new", email="n@example.com")
    assert outcome(w.tell("go", customer="new")) == ["held_out"]


def test_a_salt_serves_two_shares(world, define):
    """The policy's smaller share does not speak for the journey's greater one."""
    bucket = ids.bucket("salt", "anna")
    own = c.Holdout(share=bucket + 1, salt="salt")
    journey = define.journey("j", "go", ("say", define.send("m")), holdout=own)
    policy = define.policy(holdout=c.Holdout(share=bucket, salt="salt"))
    w = world(define.catalog(journey, policy=policy))
    assert "held_out m/email holdout" in w.tell("go")
    assert w.last("held_out").rule == "j"
