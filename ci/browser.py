"""Drive Debian's chromium over a page on disk, which gets no network, or over a server of a test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@dataclass
class Opened:
    """An open page, with what it complained about and what it asked the network for."""

    page: Any
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@contextmanager
def launched() -> Iterator[Any]:
    """A chromium with a fresh profile; skips the test when there is none."""
    if not CHROMIUM.exists() and shutil.which("chromium") is None:
        pytest.skip("chromium is not installed; `apt-get install chromium` brings it")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed; the dev extra brings it")
    path = CHROMIUM if CHROMIUM.exists() else shutil.which("chromium")
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(path), args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser: Any, path: Path, width: int = 1280, height: int = 900, scheme: str = "light") -> Iterator[Opened]:
    """A page opened by file://, in a context of its own without network."""
    with visited(browser, path.as_uri(), width, height, scheme, offline=True) as seen:
        yield seen


@contextmanager
def visited(
    browser: Any, url: str, width: int = 1280, height: int = 900, scheme: str = "light", *, offline: bool = False
) -> Iterator[Opened]:
    """A page in a context of its own."""
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, has_touch=width < 500, offline=offline)
    try:
        seen = Opened(context.new_page())
        seen.page.on("console", lambda message: seen.complaints.append(message.text) if message.type in ("error", "warning") else None)
        seen.page.on("pageerror", lambda error: seen.complaints.append(str(error)))
        seen.page.on("request", lambda request: seen.requests.append(request.url))
        seen.page.goto(url)
        yield seen
    finally:
        context.close()
