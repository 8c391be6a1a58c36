"""Inbound webhooks: what other systems send is verified, and turned into events as a mapping file says."""
