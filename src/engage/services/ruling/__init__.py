"""Rules as operators see them: which there are and how they stand, why one asks or does not, and how one rests."""
