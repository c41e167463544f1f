"""What the product says about itself: structured logs and Prometheus metrics, never personal data."""

from orchestrator.observability.logs import configure_logging, get_logger, hashed_customer

__all__ = ["configure_logging", "get_logger", "hashed_customer"]
