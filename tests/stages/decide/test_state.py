"""The stored form of a customer holds for ever: golden bytes of the first layout."""

import msgspec
import pytest

from orchestrator.errors import UnavailableError
from orchestrator.stages.decide import state as states
from orchestrator.stages.decide.state import (
    Customer,
    Entry,
    Hit,
    Past,
    Pending,
    Profile,
    Sent,
    Statement,
    TraitState,
)

PROFILE = Profile(
    traits={
        "a": TraitState(value="x", at=5),
        "c": TraitState(hits=(1, 2), amounts=(1, 2.5), older=(1,), older_amounts=(3,)),
        "s": TraitState(open=(True, "v"), hits=(1, 2)),
    },
    consent=((Statement("email", "", True, 7),),),
    unusable={"email": (b"12345678",)},
    lifecycle="new",
    seen=b"12345678",
    seen_at=b"123456",
    holdout={"s": 7},
    absorbed=("m",),
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


CUSTOMER = Customer(
    due=9,
    catalog=2,
    first_seen=1,
    redirect="",
    sends=(
        Sent(
            action=b"a" * 16,
            message="m",
            channel="email",
            category="news",
            at=5,
            flags=3,
            entry=b"e" * 16,
            step="say",
            address=b"8 bytes!",
            journey="j",
            pass_=2,
            fell_due=4,
        ),
    ),
    entries=(
        Entry(
            id="65" * 16,
            journey="j",
            version="v",
            started=5,
            cause="c",
            step="say",
            key="k",
            wake=8,
            arrived=6,
            passes={"say": 2},
            attempts={"say": 1},
            entry={"x": 1.5},
            latest={"y": None},
            pending=Pending(
                fell_due=4,
                until=8,
                expires_at=9,
                reason="cap",
                rule="r",
                blocks=("cap",),
                retry=7,
                way=3,
            ),
            hits=(Hit(step="w", pattern=1, at=6, properties={"z": True}, cause="d"),),
            interrupted=(0,),
            restarts=3,
            ends_at=99,
            watch=11,
            after="say",
            trace="t",
            moving=True,
        ),
    ),
    past={
        "j": Past(
            ended=3, entry_id="66" * 16, goal_until=70, version="v", entry={"x": 1}, latest={"y": 2}
        )
    },
    truths={"w": True},
    absences={"a": 12},
    watch=13,
    scheduled={"s": 14},
    contest=15,
    ever={"m": 2},
    merged=("z",),
    winner_seen=16,
    silences={"q": 17},
)
GOLDEN_CUSTOMER = (
    "01dc0011090201a098809080a0c400c4008090919dc41061616161616161616161616161616161a16da5656d"
    "61696ca46e6577730503c3c41065656565656565656565656565656565a3736179c4083820627974657321a1"
    "6a020491dc0016d9203635363536353635363536353635363536353635363536353635363536353635a16aa1"
    "7605a163a3736179a16b080681a37361790281a37361790181a178cb3ff800000000000081a179c098040809"
    "a3636170a17291a363617007039195a177010681a17ac3a164910003630ba3736179a174c381a16a9603d920"
    "363636363636363636363636363636363636363636363636363636363636363646a17681a1780181a1790281"
    "a177c381a1610c0d81a1730e0f81a16d0291a17a1081a17111"
)
"""Version byte, then arrays: every struct with every field set."""


def test_golden_bytes_of_a_whole_customer():
    """Written alike and read alike; rows that end earlier, as an older release wrote them, too."""
    assert states.encode(CUSTOMER).hex() == GOLDEN_CUSTOMER
    assert states.decode(bytes.fromhex(GOLDEN_CUSTOMER)) == CUSTOMER
    shorter = "019e" + GOLDEN_CUSTOMER[8:-16]
    replaced = msgspec.structs.replace(CUSTOMER, merged=(), winner_seen=0, silences={})
    assert states.decode(bytes.fromhex(shorter)) == replaced
    assert states.decode(b"\x01\x90") == Customer()


def test_a_newer_version_waits_for_the_upgrade():
    with pytest.raises(UnavailableError, match="upgrade this worker"):
        states.decode(b"\x02\x90")
