"""A lane as records: what it was told, what it decided, and how both are read again. Pure, but for the journals it reads."""
