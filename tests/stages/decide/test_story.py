"""The seed story and its twins, on the stage alone."""

from orchestrator.stages import catalog as c


def story(define, **policy):
    d = define
    return d.catalog(
        d.journey(
            "trial-to-paid",
            c.EntryRule(
                on=("trial.started",),
                condition=d.ex('profile.country in ["DE", "FR"]'),
                re_entry=d.dur("P90D"),
            ),
            ("day1", d.send("why-acme", "email")),
            (
                "reaction",
                c.WaitFor(
                    mode="first",
                    patterns=(d.pattern("message.clicked", of="day1", then="done"),),
                    timeout=d.dur("P2D"),
                ),
            ),
            (
                "engaged",
                c.Branch(
                    arms=(
                        c.BranchArm(condition=d.ex('opened("day1")'), then="in-app"),
                        c.BranchArm(condition=None, then="day3"),
                    )
                ),
            ),
            ("in-app", d.send("why-acme", "inapp", again=True)),
            ("pause", c.Wait(duration=d.dur("P1D"))),
            ("day3", d.send("follow-up", "email", "push")),
            ("done", c.Stop()),
            ("sales", d.send("hot-lead", "sales")),
            goal=c.Goal(
                pattern=d.pattern("subscription.started"),
                within=d.dur("P30D"),
                value=d.ex("event.amount"),
            ),
            exits=(d.pattern("account.deleted"), d.pattern(when='profile.plan == "paid"')),
            interrupts=(d.pattern("pricing.viewed", if_='sent("in-app")', then="sales"),),
            priority=60,
        ),
        messages=(d.message("hot-lead", class_="mandatory", category="internal"),),
        policy=d.policy(
            quiet_hours=(
                c.QuietHours(
                    name="night", start=21 * 60, end=8 * 60, channels=frozenset({"email", "push"})
                ),
            ),
            **policy,
        ),
    )


def start(world, define, at="2026-03-02T10:00", **more):
    w = world(story(define), at, **more)
    w.tell("customer.updated", country="DE")
    return w, w.tell("trial.started")


def moves(lines):
    return [line for line in lines if not line.startswith("advanced")]


def test_opened_not_clicked_then_pricing(world, define, at):
    w, lines = start(world, define)
    assert lines == ["entered trial-to-paid", "sent why-acme/email"]
    assert w.receipt("opened", after="PT2H") == []
    assert moves(w.tell("pricing.viewed", at="2026-03-04T15:00")) == [
        "sent why-acme/inapp",
        "sent hot-lead/sales",
        "exited trial-to-paid completed",
    ]
    interrupt = next(one for one in w.decisions if one.reason == "interrupted")
    assert interrupt.rule_values["skipped"] == "follow-up"
    assert interrupt.rule == "pricing.viewed"
    inapp = next(one for one in w.decisions if one.channel == "inapp")
    assert inapp.decided_at == at("2026-03-04T10:00")
    assert w.pass_time("P30D") == []


def test_clicked_means_no_in_app(world, define):
    w, _ = start(world, define)
    lines = w.receipt("clicked", after="PT2H")
    assert moves(lines) == ["exited trial-to-paid stopped"]
    assert w.pass_time("P30D") == []


def test_not_opened_goes_to_day_three(world, define, at):
    w, _ = start(world, define)
    assert moves(w.pass_time("P14D")) == ["sent follow-up/email", "exited trial-to-paid stopped"]
    assert w.last("sent").decided_at == at("2026-03-04T10:00")


def test_deferred_at_exit_is_cancelled(world, define, at):
    w, lines = start(world, define, "2026-03-02T22:00")
    assert lines == ["entered trial-to-paid", "deferred why-acme/email quiet_hours"]
    deferral = w.last("deferred")
    assert (deferral.rule, deferral.until) == ("night", at("2026-03-03T08:00"))
    assert w.tell("account.deleted", after="PT1H") == [
        "cancelled why-acme/email exit",
        "exited trial-to-paid exit",
    ]
    assert w.pass_time("P7D") == []


def test_deferred_leaves_in_the_morning(world, define, at):
    w, _ = start(world, define, "2026-03-02T22:00")
    assert moves(w.pass_time("PT12H")) == ["sent why-acme/email"]
    assert w.actions[-1].decided_at == at("2026-03-03T08:00")
    assert w.actions[-1].expires_at == at("2026-03-03T21:00")


def test_sent_but_unaccepted_at_exit_is_cancelled_and_its_slot_returns(world, define):
    w, _ = start(world, define, accept=False)
    assert w.tell("account.deleted", after="PT1M") == [
        "cancelled why-acme/email exit",
        "exited trial-to-paid exit",
    ]
    sent, cancel = w.actions
    assert (cancel.kind, cancel.action_id) == ("cancel", sent.action_id)
    assert not w.state.sends[0].returned
    w.receipt("dropped", sent, reason="cancel")
    assert w.state.sends[0].returned


def test_accepted_at_exit_is_too_late(world, define):
    w, _ = start(world, define)
    assert w.tell("account.deleted", after="PT1M") == ["exited trial-to-paid exit"]
    assert len(w.actions) == 1


def test_goal_ends_and_says_its_worth(world, define):
    w, _ = start(world, define)
    assert w.tell("subscription.started", after="P1D", amount=49.0) == ["exited trial-to-paid goal"]
    assert w.last("exited").rule_values == {"value": 49.0, "skipped": "why-acme,follow-up"}


def test_goal_is_counted_once_after_the_end(world, define):
    w, _ = start(world, define)
    w.receipt("clicked", after="PT2H")
    assert w.tell("subscription.started", after="P5D", amount=9) == ["advanced trial-to-paid goal"]
    assert w.tell("subscription.started", after="P1D", amount=9) == []


def test_goal_window_closes(world, define):
    w, _ = start(world, define)
    w.receipt("clicked", after="PT2H")
    assert w.tell("subscription.started", at="2026-04-01T10:00", amount=9) == []


def test_exit_by_condition_acts_in_the_middle_of_a_wait(world, define):
    w, _ = start(world, define)
    assert w.tell("customer.updated", after="P1D", plan="paid") == ["exited trial-to-paid exit"]


def test_re_entry_after_ninety_days(world, define):
    w, _ = start(world, define)
    w.receipt("clicked", after="PT1H")
    assert w.tell("trial.started", after="P89D") == ["nothing trial-to-paid re_entry"]
    assert w.tell("trial.started", after="P1D") == [
        "entered trial-to-paid",
        "suppressed why-acme/email already_sent",
    ]


def test_refusals(world, define):
    w = world(story(define))
    assert w.tell("trial.started") == ["nothing trial-to-paid not_eligible"]
    w.tell("customer.updated", country="FR", plan="paid")
    assert w.tell("trial.started") == ["nothing trial-to-paid exit_true"]
    w.tell("customer.updated", plan="free")
    assert w.tell("trial.started")[0] == "entered trial-to-paid"
    assert w.tell("trial.started") == ["nothing trial-to-paid already_live"]


def test_duplicates_are_ignored(world, define):
    w, _ = start(world, define)
    before = w.harness.stage.encode(w.state)
    assert w.tell("trial.started", id_="e3") == []
    assert w.harness.stage.encode(w.state) == before
