"""The log: what it promises to publishers and readers, and where it is kept."""
