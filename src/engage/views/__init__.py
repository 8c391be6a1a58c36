"""What a read model is, and the arithmetic of decay and health: pure folds of the log."""
