"""Dead letters: events that a consumer could not take; to be looked at, retried and skipped."""
