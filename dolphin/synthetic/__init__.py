"""Synthetic market: the embedded default of the quick start and of the tests."""
