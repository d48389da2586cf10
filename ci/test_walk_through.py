"""The README's commands are this command line's: each verb exists, with these options, and the operator's walk-through is whole."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from dolphin.config import load
from flows.cli import app

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")
WALK = "## An operator's walk-through"
STEPS = (
    "dolphin demo-exchange", "dolphin up", "dolphin flows server start", "dolphin flows serve", "prefect deployment run",
    "dolphin dashboard", "dolphin kill", "dolphin release", "dolphin parity-check", "dolphin live check", "dolphin down",
    "dolphin flows server stop",
)  # fmt: skip


def commands(text: str) -> list[list[str]]:
    """Words of each of our commands in fenced blocks; comments and a leading ``.venv/bin/`` left out."""
    blocks = [block for language, block in re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL) if not language]
    lines = [line.replace(".venv/bin/", "") for block in blocks for line in block.splitlines()]
    ours = [re.sub(r"(^|\s)#.*", "", line) for line in lines if line.startswith(("dolphin ", "prefect ", "export "))]
    return [shlex.split(part) for line in ours for part in line.split(";")]


def section(heading: str) -> str:
    """The README from a heading to the next of its kind."""
    return README.partition(f"\n{heading}\n")[2].partition("\n## ")[0]


def said(words: list[str]) -> str:
    return " ".join(words)


@pytest.mark.parametrize("words", [words for words in commands(README) if words[0] == "dolphin"], ids=said)
def test_a_command_of_the_readme_is_taken_as_it_stands(words):
    """Parsed, not run: an unknown verb or option, a missing one, or a value of the wrong kind raises."""
    command, rest = get_command(app), words[1:]
    while hasattr(command, "commands"):
        assert rest, f"{said(words)} names no verb"
        assert rest[0] in command.commands, f"there is no verb {rest[0]}"
        command, rest = command.commands[rest[0]], rest[1:]
    context = command.make_context(command.name, list(rest))
    assert not context.args


def test_the_walk_through_leads_through_every_step_in_its_order():
    walked = [said(words) for words in commands(section(WALK))]
    places = [next((i for i, line in enumerate(walked) if line.startswith(step)), -1) for step in STEPS]
    assert -1 not in places, f"missing: {[step for step, place in zip(STEPS, places, strict=True) if place < 0]}"
    assert places == sorted(places)


def test_the_walk_through_names_nothing_that_is_not_there():
    """Settings by the environment are read as any process reads them; the deployment is in the catalogue; nothing else is called."""
    from flows.deployments.catalogue import named

    for words in commands(section(WALK)):
        if words[0] == "export":
            name, _, value = words[1].partition("=")
            assert name == "PREFECT_API_URL" or load(None, {name: value}).origin[name[9:].replace("__", ".").lower()] == "environment"
        elif words[0] == "prefect":
            assert words[1:3] == ["deployment", "run"]
            assert named(words[3])
        else:
            assert words[0] == "dolphin", said(words)
