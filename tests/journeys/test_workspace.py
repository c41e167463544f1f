"""A workspace from files and from definitions: the same catalog; defaults, overlays, indexes, pins."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import DefinitionMissing, WorkspaceError
from orchestrator.expressions.durations import Duration
from orchestrator.journeys import (
    catalog_hash,
    check_workspace,
    compile_catalog,
    definition_of,
    load_workspace,
)
from orchestrator.journeys.canonical import canonical_json
from orchestrator.stages import catalog as model

DEPLOY = Path(__file__).parents[2] / "deploy"
EXAMPLES = sorted(
    path.parent for each in ("*", "examples/*") for path in DEPLOY.glob(f"{each}/policy.yaml")
)
EVERYTHING = {
    "events.yaml": """\
cart.updated: {cart_id: string, total: double, ends: timestamp, items: long}
order.placed: {cart_id: string, total: double, paid: boolean}
page.viewed: {}
message.clicked: {link: string}
""",
    "profile.yaml": """\
identities: {primary: account_id, also: [email, phone], block: ["email:test@example.com"], join_limit: 5, merge_known: true}
timezone: profile.zone
traits:
  zone: {type: string}
  email: {type: string}
  vip: {type: boolean, default: false}
  limit: {type: long}
  ends: {type: timestamp, default: "2026-01-01T00:00:00Z"}
  last_cart: {last: cart.updated, take: event.cart_id}
  seen: {last: [page.viewed, cart.updated]}
  first_total: {first: order.placed, take: event.total, if: event.paid}
  least: {min: order.placed, take: event.total}
  most: {max: order.placed, take: event.total, type: double}
  views: {count: page.viewed, window: P7D}
  orders: {count: order.placed, if: event.total > 10.0}
  spent: {sum: [order.placed, cart.updated], take: event.total, window: P30D}
  items: {sum: cart.updated, take: event.items}
  open_carts: {up: cart.updated, down: order.placed, by: event.cart_id}
  carts: {set: cart.updated, take: event.cart_id, limit: 5}
  heat: {score: {page.viewed: 1, order.placed: 5.5}, half_life: P3D}
  loyal: {expr: profile.rich && profile.orders > 3}
  rich: {expr: profile.spent > 100.0, type: boolean}
lifecycle: [{name: active, if: profile.heat > 2.0}, {name: quiet}]
""",
    "policy.yaml": """\
timezone: Europe/Berlin
channels:
  email: {address: profile.email}
  push: {address: profile.email, paused: true}
  inapp: {needs_consent: false}
  sales: {audience: internal}
consent: {default: {news: opt_in, offers: opt_out}}
quiet_hours:
  - {name: night, channels: [email], from: "21:00", to: "08:00"}
  - {name: sunday, channels: email, days: [sun], from: "12:00", to: "15:00"}
caps:
  - {name: daily, limit: 2, per: day, channel: email, channels: push}
  - {name: monthly, limit: 9, per: month, category: news, categories: [offers]}
  - {name: rolling, limit: 5, per: rolling P7D, message: hello, about: product}
gap: {any: PT4H, email: P1D}
suppress: [{name: sad, if: profile.views > 3, channels: email, categories: news, messages: hello, then: skip}]
holdout: {share: 5, salt: global}
on_block: {cap: skip, consent: exit}
arbitration: {window: PT5M}
protect: P2D
spread: PT5M
max_event_age: P3D
""",
    "messages/hello.yaml": """\
message: hello
category: news
obeys_caps: false
about: product
obsolete_if: profile.vip
expires: P1D
repeat: after P30D
channels:
  email: {subject: "{{ profile.last_cart or 'Hi' }}", text: "{{ entry.cart_id }} {{ latest.total }}"}
  inapp: {title: Hello}
""",
    "messages/receipt.yaml": """\
message: receipt
category: offers
class: transactional
repeat: always
channels: {email: {text: paid}, sales: {text: paid}}
""",
    "journeys/cart.yaml": """\
journey: cart
entry: {on: cart.updated, if: event.total > 0.0 && !profile.vip, key: event.cart_id, re_entry: always}
goal: {on: order.placed, if: event.cart_id == entry.cart_id, within: P7D, value: event.total}
exit: [{when: profile.vip}, {on: [order.placed], if: event.paid}]
interrupts: [{on: page.viewed, then: talk, again: true}]
in_flight: follow
priority: 70
value: profile.spent
max_life: P30D
holdout: {share: 12.5%, salt: cart}
steps:
  - id: settle
    wait_for: {best: [{on: message.clicked, of: mail, then: talk}, {when: profile.heat > 3.0}], since: entry, restart: cart.updated, timeout: PT1H}
  - {id: mail, if: profile.orders < 9, was: email, send: {message: hello, channel: [email, inapp], again: true, value: latest.total, on_block: {quiet_hours: exit}}}
  - {id: evening, wait: {until: next 18:00, weekdays: [mon, tue]}}
  - {id: date, wait: {until: entry.ends, minus: P1D, plus: PT1H, at: "09:30", if_past: exit}}
  - {id: ways, split: [{name: a, share: 33.34}, {name: b, share: 66.66, then: done}]}
  - {id: note, set: {vip: true, limit: 3}}
  - id: pick
    choose:
      decision: cart-offer
      among:
        - {name: mail, send: {message: hello, channel: email}, cost: 0.5}
        - {name: app, send: {message: hello, channel: inapp}, if: profile.vip, then: done}
      context: [profile.heat]
      outcome: {on: order.placed, if: event.paid, within: P3D, value: event.total}
      explore: 5
  - {id: where, branch: [{if: profile.loyal, then: done}, {then: talk}]}
  - {id: talk, send: {message: receipt, channel: sales}}
  - {id: done, stop: true}
""",
    "journeys/quiet.yaml": """\
journey: quiet
entry: {absence: {of: page.viewed, for: P30D}, existing: true}
steps: [{id: only, send: {message: hello, channel: inapp}}]
""",
    "journeys/warm.yaml": """\
journey: warm
entry: {when: 'profile.heat > 5.0 && last(page.viewed) != null && count(page.viewed, P1D) > 2'}
goal: {when: profile.vip}
steps: [{id: only, wait: {for: P1D}}]
""",
    "sources/billing.yaml": """\
source: billing
topic: payments
events: [{type: order.placed, id: record.id, identities: {email: record.mail}, properties: {total: record.total}}]
""",
}


def write(folder: Path, files: dict[str, str]) -> Path:
    """Write files and return their folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def never(_hash: str) -> None:
    """Find nothing."""


def by_name(workspace):
    """Return its definitions by ``kind/name``."""
    return {f"{each.kind}/{each.name}": each for each in workspace.definitions}


@pytest.fixture
def everything(tmp_path):
    """A workspace in which every key of the grammar is used."""
    report = check_workspace(write(tmp_path, EVERYTHING))
    assert [each.name for each in report.diagnostics] == ["not-learned"]  # it has a choice
    return report.workspace


def test_definitions_give_the_same_catalog(everything):
    """What workers compile from canonical JSON is what lint compiled from YAML."""
    again = compile_catalog(by_name(everything), {}, never)
    assert again == everything.catalog
    assert again.hash == everything.catalog.hash


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda folder: folder.name)
def test_examples(folder):
    """The examples are without findings, and compile the same both ways."""
    assert check_workspace(folder).diagnostics == ()
    workspace = load_workspace(folder)
    assert compile_catalog(by_name(workspace), {}, never) == workspace.catalog


def test_canonical_json_is_a_fixed_point(everything, tmp_path):
    """Checking what was checked changes nothing: same JSON, same hash."""
    for definition in everything.definitions:
        again = definition_of(definition.kind, definition.name, json.loads(definition.source))
        assert again == definition
    # Canonical JSON is YAML: as files it gives the same definitions.
    folders = {"message": "messages/", "journey": "journeys/", "source": "sources/"}
    files = {
        f"{folders.get(each.kind, '')}{each.name}.yaml": each.source
        for each in everything.definitions
    }
    again = load_workspace(write(tmp_path / "again", files))
    assert again.definitions == everything.definitions


def test_defaults_and_spelling_do_not_matter(tmp_path):
    """A default that is written out, and one value instead of a list, leave the hash as it is."""
    short = load_workspace(write(tmp_path / "short", EVERYTHING))
    long = dict(EVERYTHING)
    long["journeys/quiet.yaml"] = """\
# the same
steps:
  - id: only
    send: {channel: [inapp], message: hello, again: false, on_block: {}}
entry: {existing: true, re_entry: never, absence: {for: P30D, of: page.viewed}}
in_flight: pin
priority: 50
value: 1
max_life: P365D
interrupts: []
journey: quiet
"""
    long["messages/receipt.yaml"] = """\
message: receipt
category: offers
class: transactional
obeys_caps: false
counts_to_caps: false
obeys_quiet_hours: true
cancel_on_exit: false
expires: P7D
channels: {sales: {text: paid}, email: {text: paid}}
"""
    assert load_workspace(write(tmp_path / "long", long)).definitions == short.definitions


def test_every_key_arrives(everything):
    """What the author wrote stands in the catalog, in the model's units."""
    catalog = everything.catalog
    assert catalog.identities == model.Identities(
        primary="account_id",
        also=("email", "phone"),
        block=frozenset({"email:test@example.com"}),
        join_limit=5,
        merge_known=True,
    )
    assert catalog.timezone_trait == "zone"
    kinds = {name: (trait.kind, trait.type) for name, trait in catalog.traits.items()}
    assert kinds == {
        "zone": ("plain", "string"),
        "email": ("plain", "string"),
        "vip": ("plain", "boolean"),
        "limit": ("plain", "long"),
        "ends": ("plain", "timestamp"),
        "last_cart": ("last", "string"),
        "seen": ("last", "timestamp"),
        "first_total": ("first", "double"),
        "least": ("min", "double"),
        "most": ("max", "double"),
        "views": ("count", "long"),
        "orders": ("count", "long"),
        "spent": ("sum", "double"),
        "items": ("sum", "long"),
        "open_carts": ("up", "long"),
        "carts": ("set", "string"),
        "heat": ("score", "double"),
        "loyal": ("expr", "boolean"),
        "rich": ("expr", "boolean"),
    }
    assert catalog.traits["ends"].default == 1_767_225_600_000
    assert catalog.traits["carts"].limit == 5
    assert catalog.traits["heat"].scores == {"order.placed": 5.5, "page.viewed": 1.0}
    assert catalog.traits["heat"].half_life_ms == 3 * model.DAY_MS
    assert [rule.name for rule in catalog.lifecycle] == ["active", "quiet"]
    policy = catalog.policy
    assert policy.channels["push"].paused
    assert policy.channels["sales"].internal
    assert not policy.channels["sales"].needs_consent
    assert policy.quiet_hours[0].start == 21 * 60
    assert policy.quiet_hours[1].days == {"sun"}
    assert policy.caps[0].channels == {"email", "push"}
    assert policy.caps[1].categories == {"news", "offers"}
    assert policy.caps[2].rolling == Duration(7)
    assert policy.gap == {"any": Duration(0, 4 * 3_600_000), "email": Duration(1)}
    assert policy.suppress[0].then == "skip"
    assert policy.holdout == model.Holdout(share=500, salt="global")
    assert policy.on_block == {"cap": "skip", "consent": "exit"}
    assert policy.arbitration_window == Duration(0, 300_000)
    assert policy.protect == Duration(2)
    assert (policy.spread_ms, policy.max_event_age_ms) == (300_000, 3 * model.DAY_MS)
    hello = catalog.messages["hello"]
    assert (hello.obeys_caps, hello.counts_to_caps) == (False, True)
    assert hello.repeat == Duration(30)
    assert set(hello.content["email"]) == {"profile.last_cart", "entry.cart_id", "latest.total"}
    receipt = catalog.messages["receipt"]
    assert (receipt.obeys_quiet_hours, receipt.cancel_on_exit, receipt.repeat) == (
        True,
        False,
        "always",
    )
    assert hello.definition == by_name(everything)["message/hello"].hash
    cart = catalog.journeys["cart"]
    assert cart.version == by_name(everything)["journey/cart"].hash
    assert list(cart.steps) == "settle mail evening date ways note pick where talk done".split()
    assert cart.steps["mail"].then == "evening"
    assert cart.steps["done"].then is None
    assert cart.holdout.share == 1250
    match cart.steps["date"].do:
        case model.Wait() as wait:
            assert (wait.minus, wait.plus, wait.at, wait.if_past) == (
                Duration(1),
                Duration(0, 3_600_000),
                570,
                "exit",
            )
    assert cart.steps["evening"].do.next_time == 18 * 60
    assert [arm.share for arm in cart.steps["ways"].do.arms] == [3334, 6666]
    assert cart.steps["pick"].do.explore == 500


def test_indexes(everything):
    """Unrelated journeys cost nothing: who listens is known beforehand."""
    catalog = everything.catalog
    assert catalog.entries_by_event == {"cart.updated": ("cart",)}
    assert catalog.entries_when == ("warm",)
    assert catalog.absences_by_event == {"page.viewed": ("quiet",)}
    assert catalog.traits_by_event["order.placed"] == (
        "first_total",
        "heat",
        "least",
        "most",
        "open_carts",
        "orders",
        "spent",
    )
    assert catalog.counts == {("page.viewed", model.DAY_MS)}
    assert catalog.lasts == {"page.viewed"}


def test_status(everything):
    """What is not live still hears its entry events, to refuse and say why; conditions rest."""
    for word, listens in (("paused", True), ("draining", False), ("stopped", False)):
        status = dict.fromkeys(("cart", "warm", "quiet"), word)
        catalog = compile_catalog(by_name(everything), status, never)
        assert catalog.entries_by_event == {"cart.updated": ("cart",)}
        assert ("warm" in catalog.entries_when) is listens
        assert ("page.viewed" in catalog.absences_by_event) is listens
        assert catalog.status["cart"] == word
        assert catalog.hash != everything.catalog.hash
    assert compile_catalog(by_name(everything), {"cart": "live"}, never) == everything.catalog


def test_catalog_hash():
    """Order does not matter, ``live`` is left out, everything else counts."""
    one = catalog_hash({"a/b": "1", "c/d": "2"}, {"x": "live"})
    assert one == catalog_hash({"c/d": "2", "a/b": "1"}, {})
    assert one != catalog_hash({"c/d": "2", "a/b": "1"}, {"x": "paused"})
    assert one != catalog_hash({"c/d": "2", "a/b": "3"}, {})


def test_pinned(everything, tmp_path):
    """An earlier version runs beside today's definitions, even where they have lost what it reads."""
    changed = {**EVERYTHING}
    old = by_name(everything)["journey/cart"]
    changed["journeys/cart.yaml"] = (
        "journey: cart\nentry: {on: cart.updated}\n"
        "steps: [{id: x, send: {message: hello, channel: email}}]\n"
    )
    for name in ("loyal", "rich", "limit"):
        lines = changed["profile.yaml"].splitlines(keepends=True)
        changed["profile.yaml"] = "".join(
            line for line in lines if not line.startswith(f"  {name}:")
        )
    newer = load_workspace(write(tmp_path / "newer", changed))
    found = {old.hash: old, "h2": by_name(everything)["message/hello"]}
    catalog = compile_catalog(by_name(newer), {}, found.get)
    live = catalog.journeys["cart"]
    assert catalog.journey("cart", live.version) is live
    pinned = catalog.journey("cart", old.hash)
    assert list(pinned.steps) == list(everything.catalog.journeys["cart"].steps)
    assert pinned.version == old.hash
    assert catalog.journey("cart", old.hash) is pinned
    assert catalog.journey("cart", "nowhere") is None
    assert catalog.journey("cart", "h2") is None
    assert catalog.journey("other", old.hash) is pinned


def test_a_definition_that_has_not_arrived():
    """``find`` may say that it will come: that is not an answer of ours."""

    def find(_hash):
        raise DefinitionMissing("later")

    catalog = compile_catalog({}, {}, find)
    with pytest.raises(DefinitionMissing):
        catalog.journey("cart", "abc")


def test_broken_definitions_are_refused(everything):
    """A catalog is refused whole, with every finding."""
    definitions = by_name(everything)
    definitions["journey/warm"] = definition_of("journey", "warm", {"journey": "warm"})
    del definitions["message/hello"]
    with pytest.raises(WorkspaceError) as caught:
        compile_catalog(definitions, {}, never)
    text = str(caught.value)
    assert "journey/warm:1:1: J004" in text
    assert "journey/cart:1:1: J012" in text


def test_overlays(tmp_path):
    """A later folder replaces files of the same name and adds others."""
    write(tmp_path / "base", EVERYTHING)
    changed = EVERYTHING["journeys/warm.yaml"].replace("P1D}}", "P2D}}")
    added = EVERYTHING["journeys/warm.yaml"].replace("journey: warm", "journey: hot")
    write(tmp_path / "over", {"journeys/warm.yaml": changed, "journeys/hot.yaml": added})
    catalog = load_workspace(tmp_path / "base", tmp_path / "over").catalog
    assert catalog.journeys["warm"].steps["only"].do.duration == Duration(2)
    assert set(catalog.journeys) == {"cart", "quiet", "warm", "hot"}


def test_load_raises_with_every_finding(sound):
    """All of a workspace in one run, in file order."""
    sound.change("events.yaml", "feature.used", "feature_used")
    sound.change("policy.yaml", "Europe/Berlin", "Berlin")
    sound.change("journeys/welcome.yaml", "message: hello", "message: helo")
    with pytest.raises(WorkspaceError) as caught:
        load_workspace(sound.folder)
    files = [Path(line.split(":")[0]).name for line in caught.value.diagnostics]
    assert files == ["events.yaml", "policy.yaml", "welcome.yaml"]


def test_broken_tests_keep_nothing_from_running(sound):
    """Lint reports them; whoever only runs the workspace does not care."""
    sound.write("tests/a.yaml", "- [")
    assert sound.findings()
    assert load_workspace(sound.folder).diagnostics == ()


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_canonical_json_is_idempotent(value):
    """The canonical text of what it says is itself."""
    text = canonical_json(value)
    assert canonical_json(json.loads(text)) == text
