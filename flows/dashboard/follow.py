"""Following what grows: a journal record by record, foreign text as clean text."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path

from dolphin.errors import DolphinError
from dolphin.storage.journal import JournalReader, Kind, Record

__all__ = ["Clean", "JournalFollower", "cleaner"]

type Clean = Callable[[str], str]

MAX_TEXT = 400
AT_ONCE = 2_000
"""Records of one pass: a long history is taken in over several."""


def cleaner(redact: Clean) -> Clean:
    """Foreign text as it may be shown: one line, printable, without secrets, at most 400 characters."""

    def clean(text: str) -> str:
        kept = redact(text[: 20 * MAX_TEXT].encode(errors="replace").decode())
        line = " ".join("".join(c if c.isprintable() else " " for c in kept).split())
        return line if len(line) <= MAX_TEXT else line[: MAX_TEXT - 1] + "…"

    return clean


class JournalFollower:
    """Records of the journal at ``path``, each once, from the last ``history`` ones on. Its writer may come, go and begin anew.

    ``problem``: why there is nothing to read, empty when there is; ``whole``: the journal was read from its first record;
    ``behind``: there is more; ``begun``: the last ``take`` began anew, whatever was known of the journal is void.
    """

    def __init__(self, path: Path, history: int) -> None:
        self._path, self._history = path, history
        self._reader: JournalReader | None = None
        self._file: tuple[int, int] | None = None
        self.seq = 0
        self.problem, self.whole, self.behind, self.begun = "nothing was written yet", True, False, False

    def take(self) -> list[Record]:
        """What is new; nothing when the journal cannot be read."""
        self.begun = False
        try:
            reader = self._opened()
            if reader is None:
                return []
            head = reader.head()[0]
            if head < self.seq:
                self.close()
            if head <= self.seq:
                self.behind = False
                return []
            found = list(islice(reader.records(after=self.seq), AT_ONCE))
        except DolphinError as error:
            self.close()
            self.problem = str(error)
            return []
        self.problem = ""
        if found:
            self.seq = found[-1].seq
        self.behind = bool(found) and self.seq < head
        return found

    def last(self, kind: Kind) -> Record | None:
        """The newest record of a kind, however old."""
        try:
            return self._reader.last(kind) if self._reader is not None else None
        except DolphinError:
            return None

    def close(self) -> None:
        """Let go of the file; the next ``take`` begins anew."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _opened(self) -> JournalReader | None:
        try:
            status = self._path.stat()
        except OSError:
            self.close()
            self.problem = "nothing was written yet"
            return None
        if self._reader is None or (status.st_dev, status.st_ino) != self._file:
            self.close()
            self._reader, self._file = JournalReader(self._path), (status.st_dev, status.st_ino)
            head = self._reader.head()[0]
            self.seq = max(0, head - self._history)
            self.whole, self.begun, self.problem = self.seq == 0, True, ""
        return self._reader
