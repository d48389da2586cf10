"""How every verb speaks: an outcome as text or one JSON object on stdout, errors as one line on stderr, progress on a terminal."""

from __future__ import annotations

import functools
import inspect
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from dolphin.errors import DolphinError

__all__ = ["Outcome", "fail", "progress", "verb"]

JsonFlag = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object on stdout.")]
DebugFlag = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


@dataclass(frozen=True)
class Outcome:
    """What a verb found: ``schema`` and ``data`` for machines, ``text`` for people, ``exit_code`` 0 or 1."""

    schema: str
    data: dict[str, Any] = field(default_factory=dict)
    text: str = ""
    exit_code: int = 0


def verb(app: typer.Typer, name: str, **options: Any) -> Callable[[Callable[..., Outcome]], Callable[..., Outcome]]:
    """Register a function that returns an ``Outcome``; adds ``--json`` and ``--debug``, prints, and turns errors into exit codes."""

    def register(function: Callable[..., Outcome]) -> Callable[..., Outcome]:
        @functools.wraps(function)
        def run(*, as_json: bool = False, debug: bool = False, **arguments: Any) -> None:
            try:
                outcome = function(**arguments)
            except DolphinError as error:
                if debug:
                    raise
                fail(str(error), error.exit_code, as_json=as_json)
            _print(outcome, as_json)
            raise typer.Exit(outcome.exit_code)

        signature = inspect.signature(function, eval_str=True)
        extra = [
            inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=JsonFlag),
            inspect.Parameter("debug", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=DebugFlag),
        ]
        parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in signature.parameters.values()]
        run.__signature__ = signature.replace(parameters=[*parameters, *extra], return_annotation=None)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in [*parameters, *extra]}
        app.command(name, **options)(run)
        return function

    return register


def fail(message: str, exit_code: int, *, as_json: bool = False) -> None:
    """One line on stderr (and the JSON object, when asked for), then exit."""
    line = " ".join(message.split())
    if as_json:
        print(json.dumps({"schema": "dolphin.error/1", "error": line, "exit_code": exit_code}))
    print(f"dolphin: {line}", file=sys.stderr)
    raise typer.Exit(exit_code)


def progress[T](items: Iterable[T], total: int, label: str) -> Iterator[T]:
    """Yield the items; after a second of work show a bar on stderr, when stderr is a terminal."""
    if not sys.stderr.isatty():
        yield from items
        return
    started, bar, task = time.monotonic(), None, None
    try:
        for done, item in enumerate(items):
            if bar is None and time.monotonic() - started > 1.0:
                from rich.console import Console
                from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

                columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
                bar = Progress(*columns, console=Console(stderr=True), transient=True)
                bar.start()
                task = bar.add_task(label, total=total, completed=done)
            yield item
            if bar is not None and task is not None:
                bar.update(task, completed=done + 1)
    finally:
        if bar is not None:
            bar.stop()


def _print(outcome: Outcome, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"schema": outcome.schema, **outcome.data}, allow_nan=False))
    elif outcome.text:
        print(outcome.text.rstrip("\n"))
