"""How much of the states stays in memory: equal parts of one room, as bytes or decoded."""

from msgspec import Struct

from orchestrator.engine.ports import TaskId
from orchestrator.engine.simulated import SimulatedStores, World
from orchestrator.engine.states import Room, States


class Padded(Struct):
    padding: bytes = b""
    due: int = 0
    catalog: int = 0


class Padding:
    """A stage as far as the states know it."""

    name = "padding"

    def new(self, key):
        del key
        return Padded()

    def encode(self, state):
        return state.padding

    def decode(self, data):
        return Padded(data)


class Partition:
    """The states of one task, and what writes them."""

    def __init__(self, number: int, room: Room, decoded: int = 0) -> None:
        self._store = SimulatedStores(World()).open(TaskId("padding", number))
        self.states = States(Padding(), self._store, 0, room, decoded)

    def fill(self, keys: int, size: int = 1_000) -> None:
        for number in range(keys):
            key = f"k{number}"
            entry = self.states.get(key, 1)
            entry.state.padding = bytes([number % 251]) * size
            self.states.accept(key, entry, self.states.value_of(entry.state))
            if number % 10 == 9:
                self.commit()
        self.commit()

    def commit(self) -> None:
        writes, _ = self.states.snapshot()
        self._store.write(writes, b"m")
        self.states.committed()


def test_states_stay_within_their_room_and_none_is_lost():
    partition = Partition(0, Room(200_000))
    partition.fill(1_000)
    assert 50 < len(partition.states) < 200
    for number in range(1_000):
        assert partition.states.peek(f"k{number}").padding == bytes([number % 251]) * 1_000


def test_small_states_are_more():
    large, small = Partition(0, Room(200_000)), Partition(0, Room(200_000))
    large.fill(1_000)
    small.fill(1_000, size=50)
    assert len(small.states) > 2 * len(large.states)


def test_a_room_is_shared_by_those_who_live_in_it():
    room = Room(200_000)
    alone = Partition(0, room)
    alone.fill(1_000)
    before = len(alone.states)
    second = Partition(1, room)
    alone.fill(1_000)
    assert len(alone.states) < 0.7 * before
    del second
    alone.fill(1_000)
    assert len(alone.states) > 0.9 * before


def test_without_room_only_what_is_under_way_stays():
    partition = Partition(0, Room(1))
    partition.fill(100)
    assert len(partition.states) == 0
    before = partition.states.peek("k5")
    entry = partition.states.get("k5", 1)
    partition.states.accept("k5", entry, partition.states.value_of(Padded(b"new")))
    assert partition.states.get("k5", 1).state.padding == b"new"
    partition.commit()
    assert (len(partition.states), partition.states.peek("k5").padding) == (0, b"new")
    assert before.padding != b"new"


def test_those_that_came_last_stay_decoded():
    none, few = Partition(0, Room(200_000)), Partition(0, Room(200_000), decoded=4)
    for states in (none.states, few.states):
        found = [states.get(f"k{number}", 1) for number in range(100)]
        again = [states.get(f"k{number}", 1) is found[number] for number in (99, 98, 50)]
        assert again == [states is few.states, states is few.states, False]
