"""Webhooks: verified first, on the raw bytes, then parsed and mapped."""
