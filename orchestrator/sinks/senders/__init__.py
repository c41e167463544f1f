"""Providers: one module each, behind a protocol of one method."""
