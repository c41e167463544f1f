"""Which catalogs a partition's log has brought, in order, and how far the sweep has come.

A catalog takes effect for every state as of its own log time: a state is brought up to date before
its next record or timer, and the silent ones by a sweep in key order. As customers are independent,
nobody can tell when the sweep reached whom. Earlier catalogs are kept until it is through.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from threading import Lock

import msgspec

from orchestrator.engine.meta import CatalogMark, Meta
from orchestrator.engine.ports import ResolveCatalog
from orchestrator.records import CatalogSwitch
from orchestrator.stages.catalog import EMPTY, Catalog


class CatalogBook:
    """The compiled catalogs of a process, shared by all its partitions."""

    def __init__(self, resolve: ResolveCatalog) -> None:
        self._resolve = resolve
        self._compiled: dict[bytes, Catalog] = {}
        self._lock = Lock()

    def get(self, switch: CatalogSwitch) -> Catalog | None:
        """Return the catalog if it has been compiled."""
        return self._compiled.get(_identity(switch))

    def load(self, switch: CatalogSwitch) -> Catalog:
        """Compile the catalog unless that has been done. Blocks: call it in a thread.

        Raises:
            DefinitionMissing: Not all definitions have arrived yet.
        """
        with self._lock:
            catalog = self.get(switch)
            if catalog is None:
                catalog = self._compiled[_identity(switch)] = self._resolve(switch)
            return catalog


def _identity(switch: CatalogSwitch) -> bytes:
    return msgspec.msgpack.encode(switch, order="deterministic")


@dataclass(frozen=True, slots=True)
class Step:
    """From one catalog to the next, as of log time ``at``."""

    ordinal: int
    at: int
    old: Catalog
    new: Catalog


class Catalogs:
    """See the module docstring.

    Args:
        meta: Where the last checkpoint left off.
        book: Has every catalog that ``meta`` names.
        sweeps: Whether the stage wants to be told about switches; else only the newest counts.
    """

    def __init__(self, meta: Meta, book: CatalogBook, *, sweeps: bool) -> None:
        self._book = book
        self._sweeps = sweeps
        self._first = meta.first_ordinal
        self._marks = list(meta.catalogs)
        self._compiled = [book.load(mark.switch) for mark in self._marks]
        self.sweep = meta.sweep
        """States with smaller keys have seen the newest catalog; None = all have."""
        self.ordinal = meta.first_ordinal + len(meta.catalogs) - 1 if meta.catalogs else 0
        """Ordinal of the newest catalog; 0 = none yet."""
        self.newest = self._compiled[-1] if self._compiled else EMPTY
        """The catalog in force."""
        self.sweep_ready = meta.sweep is not None
        """Whether the store holds every state that was there before the switch."""

    def add(self, switch: CatalogSwitch, at: int, compiled: Catalog) -> None:
        """A Catalog record has been reached at log time ``at``."""
        self._first = self._first or 1
        self.ordinal += 1
        self.newest = compiled
        self._marks.append(CatalogMark(at, switch))
        self._compiled.append(compiled)
        if self._sweeps:
            self.sweep, self.sweep_ready = b"", False
        else:
            self._forget_earlier()

    def steps(self, ordinal: int) -> Iterator[Step]:
        """Yield what a state that stands in the light of ``ordinal`` has yet to see.

        Raises:
            LookupError: Its catalog is not kept any more.
        """
        if ordinal and ordinal < self._first:
            raise LookupError(f"catalog {ordinal} of a state is older than {self._first}")
        for after in range(max(ordinal + 1, self._first), self.ordinal + 1):
            at = after - self._first
            old = self._compiled[at - 1] if at else EMPTY
            yield Step(after, self._marks[at].at, old, self._compiled[at])

    def swept(self) -> None:
        """Every state has seen the newest catalog."""
        self.sweep = None
        self._forget_earlier()

    def write(self, meta: Meta) -> None:
        """Enter all this into the next meta record."""
        meta.first_ordinal, meta.catalogs = self._first, list(self._marks)
        meta.sweep = self.sweep

    def committed(self, meta: Meta) -> None:
        """A checkpoint is on disk; the sweep may begin once it holds the newest switch."""
        newest = meta.first_ordinal + len(meta.catalogs) - 1
        self.sweep_ready = meta.sweep is not None and newest == self.ordinal

    def _forget_earlier(self) -> None:
        self._first = self.ordinal
        del self._marks[:-1], self._compiled[:-1]
