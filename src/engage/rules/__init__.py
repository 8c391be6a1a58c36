"""What a follow-up rule is, and the pure engine that runs all of them: dispatch, timers, policy."""
