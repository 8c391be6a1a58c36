"""What users and adapters test with: events, given/when/then for read models, contract suites, parts in memory."""
