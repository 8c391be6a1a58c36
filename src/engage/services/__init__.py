"""The running parts: intake, rule runner, projector, desk, relay, import, and the platform that joins them."""
