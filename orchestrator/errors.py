"""Every error of the product. Its type says who must act; its text says what to do.

::

    OrchestratorError
    |-- UsageError              the caller's words are off: settings, flags, arguments      (exit 2)
    |   |-- SettingsError       an unknown key, a wrong value
    |   `-- WorkspaceError      definitions that do not compile; carries diagnostics
    |-- PoisonError             this input can never be handled: dead letter, go on
    |   |-- DecodeError         bytes that are no record of ours
    |   |-- InputError          a record that breaks a rule (its ``cause`` is the closed reason)
    |   |   `-- JoinRefused     two customers who must not become one: a guard, no broken input
    |   `-- OversizeError       a state or output beyond its limit
    |-- UnavailableError        something else is away: wait, pause, retry; never a dead letter
    |   |-- RegistryUnavailable
    |   |-- SchemaNotLoaded     a schema id that was not met before: load it, decode again
    |   |-- BrokerUnavailable
    |   `-- DefinitionMissing   a catalog names a definition that has not arrived yet
    |-- FencedError             another owner has taken this partition: stop, reopen if still ours
    |-- TransactionFailed       the outcome of a transaction is unknown: destroy, reopen
    |-- FatalError              the process must end; a supervisor starts it again          (exit 70)
    |   |-- ChangelogTorn       the changelog contradicts itself or the local state
    |   |-- ChangelogStuck      an open transaction of somebody else holds the log
    |   |-- StalledError        assigned, no error, no progress
    |   `-- TopologyError       topics are not as the design needs; names the command that fixes it
    `-- CouldNotRun             a command could not do its work                             (exit 3)
        `-- AccessRefused       Kafka answers, and does not let us in: credentials, trust, grants

Decided at three named places: decode (codec), stage (engine/task), produce (engine/changelog).
"""

from __future__ import annotations

from typing import Final

import msgspec

NO_JSON: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What a decoder raises for bytes that are no JSON, no UTF-8, or nested without end."""


class OrchestratorError(Exception):
    """Base of all errors of the product."""


class UsageError(OrchestratorError):
    """The caller's words are off; the text says which and how to correct them."""


class SettingsError(UsageError):
    """A setting is unknown or has a wrong value."""


class WorkspaceError(UsageError):
    """Definitions do not compile; ``diagnostics`` lists every finding as text."""

    def __init__(self, diagnostics: list[str]) -> None:
        super().__init__("\n".join(diagnostics))
        self.diagnostics = diagnostics


class PoisonError(OrchestratorError):
    """This input can never be handled; ``cause`` is a short closed word for metrics and headers."""

    cause = "poison"

    def __init__(self, message: str, cause: str | None = None) -> None:
        super().__init__(message)
        if cause is not None:
            self.cause = cause


class DecodeError(PoisonError):
    """Bytes that are no record of ours."""

    cause = "undecodable"


class InputError(PoisonError):
    """A record that breaks a rule of the design, for example ``unknown_customer``."""

    cause = "bad_input"


class JoinRefused(InputError):  # noqa: N818 - reads as an outcome
    """A guard of profile.yaml keeps two customers apart; says nothing about the input's health."""

    cause = "join_refused"


class OversizeError(PoisonError):
    """A state or an output is larger than the limit."""

    cause = "oversize"


class UnavailableError(OrchestratorError):
    """Something else is away; wait and try again. Never a reason for a dead letter."""


class RegistryUnavailable(UnavailableError):  # noqa: N818 - reads as a state, not as an error
    """The schema registry does not answer, or answers 5xx."""


class SchemaNotLoaded(UnavailableError):  # noqa: N818
    """A value names a schema that this process has not fetched yet."""

    def __init__(self, schema_id: int) -> None:
        super().__init__(f"schema id {schema_id} is not loaded yet")
        self.schema_id = schema_id


class BrokerUnavailable(UnavailableError):  # noqa: N818
    """No broker answers."""


class DefinitionMissing(UnavailableError):  # noqa: N818
    """A catalog names definitions that have not arrived on the definitions topic yet."""


class FencedError(OrchestratorError):
    """Another owner has taken the partition over."""


class TransactionFailed(OrchestratorError):  # noqa: N818
    """A transaction's outcome is unknown; only a fresh producer may find out."""


class FatalError(OrchestratorError):
    """The process must end; the supervisor starts it again."""

    exit_code = 70


class ChangelogTorn(FatalError):  # noqa: N818
    """The changelog contradicts itself or the local state."""


class ChangelogStuck(FatalError):  # noqa: N818
    """An open transaction of somebody else keeps the changelog from being read to its end."""


class StalledError(FatalError):
    """A partition is assigned, has no error and makes no progress."""


class TopologyError(FatalError):
    """Topics are not as the design needs them; the text names the command that fixes it."""


class CouldNotRun(OrchestratorError):  # noqa: N818
    """A command could not do its work, for a reason outside its input."""


class AccessRefused(CouldNotRun):
    """Kafka is there and does not let us in: log-in, certificates or grants. Waiting helps nothing."""
