"""Nautilus side of the house: the only folder that may import nautilus_trader. Empty until the actor lands."""
