"""``connect``: records of topics that exist already -> Events, through ``sources/*.yaml``."""
