"""Outgoing webhooks in Standard Webhooks form: what others want to hear is queued, and sent until heard."""
