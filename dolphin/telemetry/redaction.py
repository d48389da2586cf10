"""The redaction law: no secret leaves in an alert.

What goes: values of environment variables whose names look like keys, and further secrets that are given, also URL-encoded, in JSON or in
base64; of every URL all but scheme and host (tokens of webhooks are in paths); Authorization and cookie headers; ``key=value`` where the
key looks like a secret's; bearer tokens; and long runs of mixed letters and digits as exchanges use for keys. It rather takes too much.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

__all__ = ["MARK", "Redactor"]

MARK: Final = "[redacted]"

_LEAST = 6
"""Letters of the shortest value that counts as a secret: below, words of the message itself would go."""

_SECRET_WORD = r"(?:api[_-]?key|access[_-]?key|private[_-]?key|secret|token|passw(?:or)?d|passphrase|credential|signature|webhook)"
_NAME = re.compile(r"key|secret|token|passw|passphrase|credential|auth|webhook|dsn|cookie|signature|private|session|_pat$", re.IGNORECASE)
_URL = re.compile(r"\b([a-z][a-z0-9+.-]{0,20}://)(?:[^\s/?#\"'<>@]*@)?([^\s/?#\"'<>@\\]+)([^\s\"'<>]*)", re.IGNORECASE)
_RULES = (
    (
        re.compile(r"\b((?:proxy-)?authorization|(?:set-)?cookie|x-mbx-apikey)(?:\\?[\"'])?\s*[:=,]\s*[^\r\n]+", re.IGNORECASE),
        rf"\1: {MARK}",
    ),
    (re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE), rf"\1 {MARK}"),
    (
        re.compile(rf"([\w-]{{0,40}}{_SECRET_WORD}[\w-]{{0,40}})(?:\\?[\"'])?\s*[:=]\s*(?:\\?[\"'])?[^\s\"',;&}}\\]+", re.IGNORECASE),
        rf"\1={MARK}",
    ),
    (re.compile(r"\b(?=[\w-]{0,200}[A-Z])(?=[\w-]{0,200}[a-z])(?=[\w-]{0,200}\d)[A-Za-z0-9_-]{32,}"), MARK),
)


class Redactor:
    """Callable ``text -> text`` without secrets. ``environ`` as of now; ``secrets``: further ones, e.g. keys read from a file."""

    def __init__(self, environ: Mapping[str, str], secrets: Iterable[str] = ()) -> None:
        found = {part for value in (*_from_environment(environ), *secrets) for part in _parts(value) if len(part) >= _LEAST}
        forms = {form for secret in found for form in _forms(secret)}
        self._known = re.compile("|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True))) if forms else None

    def __call__(self, text: str) -> str:
        if self._known is not None:
            text = self._known.sub(MARK, text)
        text = _URL.sub(_host_only, text)
        for pattern, instead in _RULES:
            text = pattern.sub(instead, text)
        return text


def _host_only(found: re.Match[str]) -> str:
    scheme, host, rest = found.groups()
    return f"{scheme}{host}" + ("" if rest in ("", "/") else f"/{MARK}")


def _from_environment(environ: Mapping[str, str]) -> Iterator[str]:
    for name, value in environ.items():
        if _NAME.search(name) or _URL.search(value):
            yield value if _NAME.search(name) else _password(value)


def _password(url: str) -> str:
    try:
        return urlsplit(url).password or ""
    except ValueError:
        return ""


def _parts(value: str) -> Iterator[str]:
    """The value, its lines (keys in PEM), and of a URL whatever is not its host."""
    yield value
    yield from (line.strip() for line in value.splitlines())
    try:
        url = urlsplit(value)
        if url.scheme and url.netloc:
            yield from (url.username or "", url.password or "", *url.path.split("/"), *(v for _, v in parse_qsl(url.query)))
    except ValueError:
        return


def _forms(secret: str) -> Iterator[str]:
    """How a secret may stand in a text."""
    yield from (secret, unquote(secret), quote(secret), quote(secret, safe=""), quote_plus(secret))
    yield from (json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1])
    raw = secret.encode(errors="surrogateescape")
    yield from (base64.b64encode(raw).decode().rstrip("="), base64.urlsafe_b64encode(raw).decode().rstrip("="), raw.hex())
