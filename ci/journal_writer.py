"""A real process that writes a journal until it is killed, and tells on stdout what was acknowledged: ``python journal_writer.py PATH``.

Odd turns append one record, even ones three in one transaction (same ``turn``, ``part`` 0 to 2); every 40th seals a segment.
"""

from __future__ import annotations

import os
import sys

from dolphin.storage.journal import Entry, Journal, Kind


def note(turn, part):
    payload = {"reason": f"turn {turn}", "by": "journal_writer", "turn": turn, "part": part, "padding": "x" * (turn % 700)}
    return Entry(
        Kind.KILL, payload, 1_735_689_600_000 + turn, {"grid": f"turn/{turn % 7}"}, bytes([turn % 256]) * 5000 if part == 0 else None
    )


def main():
    with Journal.open(sys.argv[1], "BLUE") as journal:
        turn = (journal.last(Kind.KILL).payload["turn"] + 1) if journal.last(Kind.KILL) else 0
        os.write(1, b"ready\n")
        while True:
            seqs = journal.append_many([note(turn, part) for part in range(3 if turn % 2 == 0 else 1)])
            os.write(1, f"{turn} {seqs[-1]}\n".encode())
            if turn % 40 == 39:
                journal.rotate(turn)
            turn += 1


if __name__ == "__main__":
    main()
