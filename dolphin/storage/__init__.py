"""Disk: klines, day tables, eigenvalue archive. The only part of the core that reads or writes files."""
