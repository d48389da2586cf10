"""ND engine: from one bar to a decision. Pure: what it needs comes in as arguments, what it wants goes out as values."""
