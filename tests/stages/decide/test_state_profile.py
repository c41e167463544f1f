"""The stored form of a profile holds for ever: golden bytes of the first layout."""

import msgspec

from orchestrator.stages.decide.state import Profile, Statement, TraitState

PROFILE = Profile(
    traits={
        "a": TraitState(value="x", at=5),
        "c": TraitState(hits=[1, 2], amounts=[1, 2.5], older=[1], older_amounts=[3]),
        "s": TraitState(open=[True, "v"], hits=[1, 2]),
    },
    consent=[[Statement("email", "", True, 7)]],
    unusable={"email": [b"12345678"]},
    lifecycle="new",
    seen=b"12345678",
    seen_at=b"123456",
    holdout={"s": 7},
    absorbed=["m"],
)
GOLDEN = (
    "98"  # eight fields
    "83"  # traits
    "a16197a178059090909090"
    "a16397c000909201029201cb400400000000000091019103"
    "a17397c00092c3a176920102909090"
    "919194a5656d61696ca0c307"  # consent: one list of one statement
    "81a5656d61696c91c4083132333435363738"  # unusable
    "a36e6577"  # lifecycle
    "c4083132333435363738"  # seen
    "c406313233343536"  # seen_at
    "81a17307"  # holdout
    "91a16d"  # absorbed
)


def test_golden_bytes():
    """Written alike and read alike; an earlier, shorter row reads with defaults."""
    assert msgspec.msgpack.encode(PROFILE).hex() == GOLDEN
    assert msgspec.msgpack.decode(bytes.fromhex(GOLDEN), type=Profile) == PROFILE
    assert msgspec.msgpack.decode(b"\x90", type=Profile) == Profile()
