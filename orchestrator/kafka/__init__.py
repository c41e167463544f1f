"""Everything about the cluster itself: topics, client configurations, the definitions topic."""
