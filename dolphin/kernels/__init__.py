"""Compiled kernels: arrays and scalars in, ``out`` arrays written, no allocation in loops, no raise, no log."""
