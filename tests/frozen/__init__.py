"""A log that was written once, with its decisions: what engage decides on it must never change unnoticed."""
