"""Read models on a real broker and a real database, projected by processes that are killed, paused and joined."""
