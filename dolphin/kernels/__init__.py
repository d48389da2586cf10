"""Compiled kernels: arrays and scalars in, ``out`` arrays written, no allocation in loops, no raise, no log."""

import os

os.environ.setdefault("NUMBA_DISABLE_ERROR_MESSAGE_HIGHLIGHTING", "1")
"""Where colorama is installed numba colours each of the thousands of overloads that it tries and discards: 0.3 s of a first run."""
