"""Follow-up rules, one file each."""
