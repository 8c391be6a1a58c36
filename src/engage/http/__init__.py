"""The HTTP service: publish, query, and work on follow-ups; a file a resource."""
