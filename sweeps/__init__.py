"""Many trials: which, where, and what they mean."""
