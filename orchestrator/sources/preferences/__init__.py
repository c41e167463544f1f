"""Unsubscribe links and the preference page: what a customer says about messages, as events."""
