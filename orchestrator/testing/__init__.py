"""Shipped helpers for tests and demos: a real broker, a schema registry, the journey harness."""
