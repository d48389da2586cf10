"""Whatever a process writes, in whatever way, is redacted on its way out, and nothing of it is lost at an orderly end."""

from __future__ import annotations

import os
import subprocess
import sys

from dolphin.telemetry.output import RedactedOutput

CHILD = """
import ctypes, logging, os, subprocess, sys
from dolphin.telemetry.output import RedactedOutput
from dolphin.telemetry.redaction import Redactor
output = RedactedOutput(Redactor({}, ["canaryvalue1"]))
print("python canaryvalue1")
logging.basicConfig(stream=sys.stderr)
logging.error("log canaryvalue1")
os.write(1, b"bytes canaryvalue1\\n")
ctypes.CDLL(None).puts(b"c canaryvalue1")
ctypes.CDLL(None).fflush(None)
subprocess.run([sys.executable, "-c", "import sys; print('child canaryvalue1', file=sys.stderr)"])
os.write(2, b"half a line canary")
os.write(2, b"value1 and the rest")
if ENDS:
    output.close()
    print("afterwards")
else:
    raise ValueError("last words, canaryvalue1")
"""


def run(ends):
    return subprocess.run([sys.executable, "-c", CHILD.replace("ENDS", str(ends))], capture_output=True, text=True, timeout=60, check=False)


def test_all_ways_of_writing_are_redacted():
    done = run(True)
    everything = done.stdout + done.stderr
    assert "canaryvalue1" not in everything
    for told in (
        "python [redacted]",
        "log [redacted]",
        "bytes [redacted]",
        "c [redacted]",
        "child [redacted]",
        "half a line [redacted] and the rest",
    ):
        assert told in everything
    assert done.stdout.endswith("afterwards\n")


def test_a_process_that_does_not_close_it_writes_no_secret_either():
    done = run(False)
    assert "canaryvalue1" not in done.stdout + done.stderr
    assert "ValueError: last words, [redacted]" in done.stderr
    assert done.returncode == 1


def test_a_line_that_cannot_be_redacted_is_withheld(tmp_path):
    def fails(text):
        raise ValueError(text)

    with (tmp_path / "out").open("wb") as file:
        output = RedactedOutput(fails, (file.fileno(),))
        os.write(file.fileno(), b"secret\n")
        output.close()
        output.close()
    assert (tmp_path / "out").read_bytes() == b"[a line that could not be redacted was withheld]\n"


def test_much_output_comes_through_whole(tmp_path):
    with (tmp_path / "out").open("wb") as file:
        output = RedactedOutput(str.upper, (file.fileno(),))
        for number in range(20_000):
            os.write(file.fileno(), b"line %d\n" % number)
        os.write(file.fileno(), b"x" * 3_000_000)
        output.close()
    lines = (tmp_path / "out").read_bytes().split(b"\n")
    assert lines[:-1] == [b"LINE %d" % number for number in range(20_000)]
    assert lines[-1] == b"X" * 3_000_000
