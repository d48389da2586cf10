"""Deterministic simulation of the whole deployment: one process, one virtual clock, seeded faults. ``python -m sim --seed N`` from ci/."""
