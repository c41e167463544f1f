"""Structured logs on stderr: JSON for machines, colours for people, no personal data in either.

A customer is named by ``customer_id=...`` and by nothing else; the id is hashed before it is
written, unless the settings say otherwise. Fields that carry content or addresses are withheld
whoever logs them. Lines of libraries (``logging``) pass through the same processors.
"""

from __future__ import annotations

import logging
import sys
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, cast

import structlog

if TYPE_CHECKING:
    from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

    from orchestrator.settings import Settings

CUSTOMER_FIELDS: Final = frozenset({"customer_id", "customer", "loser", "winner"})
WITHHELD_FIELDS: Final = frozenset(
    "address content identities identity email phone properties token body source_bytes".split()
)
WITHHELD: Final = "[withheld]"


def hashed_customer(customer_id: str) -> str:
    """Return the name under which a customer stands in the logs; the same in every role."""
    return "c:" + blake2b(customer_id.encode(), digest_size=8).hexdigest()


def get_logger(name: str) -> FilteringBoundLogger:
    """Return the logger of a module: ``get_logger(__name__)``."""
    return cast("FilteringBoundLogger", structlog.stdlib.get_logger(name))


def configure_logging(settings: Settings) -> None:
    """Set up logging of this process as the section ``log`` says; may be called again."""
    as_json = settings.log.format == "json" or (
        settings.log.format == "auto" and not sys.stderr.isatty()
    )
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        withhold,
    ]
    if settings.log.customer_ids == "hashed":
        shared.append(hash_customers)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    ending: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if as_json:
        # No locals in tracebacks: they hold customers.
        ending += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        ending.append(
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(processors=ending, foreign_pre_chain=shared)
    )
    top = logging.getLogger()
    top.handlers[:] = [handler]
    top.setLevel(settings.log.level.upper())


def withhold(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Replace fields that may hold personal data."""
    for name in WITHHELD_FIELDS & event.keys():
        event[name] = WITHHELD
    return event


def hash_customers(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Replace customer ids by their hashes."""
    for name in CUSTOMER_FIELDS & event.keys():
        value: Any = event[name]
        if isinstance(value, str) and not value.startswith("c:"):
            event[name] = hashed_customer(value)
    return event
