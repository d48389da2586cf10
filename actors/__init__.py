"""The NautilusTrader side of the house: the only folder that imports nautilus_trader. A thin wire, no alpha."""
