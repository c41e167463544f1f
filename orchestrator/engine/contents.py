"""What a changelog partition holds and whether it adds up, read by others than its owner.

Unlike a worker's replay this does not stop at the first contradiction: who repairs a changelog must
know all that is in it.
"""

from __future__ import annotations

import msgspec

from orchestrator.engine import meta as metas
from orchestrator.engine.meta import Meta, TransactionReader
from orchestrator.errors import ChangelogTorn
from orchestrator.kafka.reading import PartitionReader


class Contents:
    """The states of one changelog partition, as a cold replay would find them."""

    def __init__(self) -> None:
        self.states: dict[bytes, bytes] = {}
        self.meta = Meta()
        """The newest that can be read."""
        self.first = 0
        self.end = 0
        """Bounds of the partition when it was last read."""
        self.highest = 0
        """The highest sequence number seen."""
        self.problems: list[str] = []
        self._half = False
        self._strict: TransactionReader | None = TransactionReader(Meta())

    @property
    def sound(self) -> bool:
        """Whether a worker would take it as it is."""
        return not self.problems

    @property
    def size(self) -> int:
        """Bytes of all keys and states."""
        return sum(len(key) + len(value) for key, value in self.states.items())

    def feed(self, offset: int, key: bytes, value: bytes | None) -> None:
        """Take the next committed record."""
        self._judge(offset, key, value)
        self._half = key != metas.META_KEY
        if not self._half:
            self._take_meta(offset, value)
        elif value is None:
            self.states.pop(key, None)
        else:
            self.states[key] = value

    def read(self, reader: PartitionReader) -> None:
        """Read all that is committed; call ``judge`` afterwards.

        Raises:
            UnavailableError: Kafka is away, or a newer version of this program has written here.
        """
        self.first, self.end = reader.bounds()
        while True:
            for message in reader.read(self.end):
                self.feed(message.offset() or 0, message.key() or b"", message.value())
            former, (self.first, self.end) = self.end, reader.bounds()
            if not self._half or self.end == former:
                break  # else the end that was asked for lay within a transaction

    def judge(self) -> None:
        """Compare the whole with what the newest meta record says of it."""
        if self._strict is not None:
            try:
                self._strict.end()
            except ChangelogTorn as torn:
                self.problems.append(str(torn))
        if self.end and not self.meta.seq:
            self.problems.append("it has been written to, and holds no meta record: it was cut")
        digest = self.digest()
        if digest != self.meta.digest:
            text = f"the states' digest is {digest:x}, the newest meta says {self.meta.digest:x}"
            if self._strict is not None and self._strict.suspicion:
                text += f"; {self._strict.suspicion}"
            self.problems.append(text)

    def digest(self) -> int:
        """Return the digest of the states."""
        shares = sum(metas.state_hash(key, value) for key, value in self.states.items())
        return metas.add_to_digest(0, shares)

    def _judge(self, offset: int, key: bytes, value: bytes | None) -> None:
        if self._strict is None:
            return
        try:
            self._strict.feed(offset, key, value)
        except ChangelogTorn as torn:
            self._give_up(str(torn))
        except msgspec.MsgspecError as error:
            self._give_up(f"a meta record that cannot be read at offset {offset}: {error}")

    def _give_up(self, problem: str) -> None:
        self.problems.append(problem)
        self._strict = None

    def _take_meta(self, offset: int, value: bytes | None) -> None:
        if not value:
            return
        try:
            meta = metas.decode(value)
        except msgspec.MsgspecError:
            return  # it has been told by now
        self.highest = max(self.highest, meta.seq)
        self.meta = meta
        meta.changelog_offset = offset + 1
