"""Relationships: the aggregates that people command, kept with ``eventsourcing`` on SQLite or PostgreSQL."""
