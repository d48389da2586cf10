"""Everything that a process writes to stdout and stderr goes through the redactor, whoever writes it: libraries in other languages too.

Both descriptors become pipes; a thread reads lines, redacts them, and writes them where they were to go. ``close`` puts them back.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable
from typing import Final

__all__ = ["RedactedOutput"]

LONGEST: Final = 1 << 20
"""Bytes of a line that are held back at most; a longer one is redacted in pieces of this size."""


class RedactedOutput:
    """From construction until ``close``, or the end of the process. ``redact``: text -> text; when it fails, the line is withheld."""

    def __init__(self, redact: Callable[[str], str], descriptors: tuple[int, ...] = (1, 2)) -> None:
        self._redact = redact
        self._kept: list[tuple[int, int]] = []
        self._threads: list[threading.Thread] = []
        for descriptor in descriptors:
            there = os.dup(descriptor)
            source, sink = os.pipe()
            os.dup2(sink, descriptor)
            os.close(sink)
            self._kept.append((descriptor, there))
            self._threads.append(threading.Thread(target=self._carry, args=(source, there), name=f"redact-{descriptor}", daemon=True))
            self._threads[-1].start()
        atexit.register(self.close)

    def close(self, timeout: float = 5.0) -> None:
        """Give the descriptors back when all that was written has gone through; a second call does nothing."""
        atexit.unregister(self.close)
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, there in self._kept:
            os.dup2(there, descriptor)
        for thread in self._threads:
            thread.join(timeout)
        for _, there in self._kept:
            os.close(there)
        self._kept, self._threads = [], []

    def _carry(self, source: int, there: int) -> None:
        held = b""
        while block := os.read(source, 65_536):
            *lines, held = (held + block).split(b"\n")
            self._write(there, b"".join(self._clean(line) + b"\n" for line in lines))
            if len(held) > LONGEST:
                self._write(there, self._clean(held))
                held = b""
        self._write(there, self._clean(held))
        os.close(source)

    def _clean(self, line: bytes) -> bytes:
        try:
            return self._redact(line.decode(errors="replace")).encode(errors="replace") if line else b""
        except (ValueError, RecursionError, MemoryError):
            return b"[a line that could not be redacted was withheld]"

    @staticmethod
    def _write(there: int, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(there, data) :]
            except OSError:  # nobody reads any more; what is written must not stop who writes it
                return
