"""The id recipe holds for ever: ids stand in logs, ledgers and at providers."""

from orchestrator import ids


def test_golden_ids():
    """Each kind of id has the value that it had on the first day."""
    assert ids.entry_id("c1", "j", "", "e1") == "03e2b6fecad149ad6e2104f2886cd716"
    assert ids.action_id("e", "s", 1, 0) == "fc3809376dd3ad7b486f28e9ca42adab"
    assert ids.decision_id("e1", "c", "j", "s", "sent", 0) == "94311f07857d2339d39ff7a3892fc492"
    assert ids.merge_id("a", "b", "c") == "ebe3c43022a2a7871dfe2256b142d5fb"
    assert ids.receipt_id("a", "accepted") == "c8beecfae5e187fae54d811849388d19"
    assert ids.event_id("s", "1") == "f6aa9561ddb9ebf174d7a5092a402925"
    assert ids.provisional_id("anonymous_id:1") == "anon:4639181b4a11f6fda2b93883717a3c63"
    assert ids.bucket("salt", "c1") == 3786
    assert ids.draw_seed("e", "s", 1) == 4281399187605052382


def test_recipe_is_the_documented_one():
    """First 16 bytes of SHA-256 over kind and parts, joined by 0x1F."""
    from hashlib import sha256

    assert ids.make_id("k", "a", "b") == sha256(b"k\x1fa\x1fb").digest()[:16].hex()


def test_parts_cannot_run_into_each_other():
    assert ids.make_id("k", "ab", "c") != ids.make_id("k", "a", "bc")
