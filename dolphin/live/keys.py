"""The exchange's key and secret: from the environment or a private file, and from there to the client; nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from dolphin.errors import ConfigError
from dolphin.storage.private_file import read_private

__all__ = ["KEY", "SECRET", "ExchangeKeys", "read_keys", "secrets_of"]

KEY: Final = "DOLPHIN_BINANCE_KEY"
SECRET: Final = "DOLPHIN_BINANCE_SECRET"
LEAST: Final = 16
"""Characters of the shortest key that is not a slip of the hand."""


@dataclass(frozen=True, slots=True)
class ExchangeKeys:
    """Not shown by ``repr``, not comparable, never in a settings struct."""

    key: str = field(repr=False)
    secret: str = field(repr=False)


class _KeyFile(Struct, frozen=True, forbid_unknown_fields=True):
    key: str
    secret: str


def read_keys(key_file: str, environ: Mapping[str, str]) -> ExchangeKeys:
    """Keys of ``key_file`` (JSON ``{"key": .., "secret": ..}``), or of the environment when it is empty.

    Raises ``ConfigError`` that says what is missing, without a character of what is there.
    """
    if key_file:
        try:
            found = msgspec.json.decode(read_private(Path(key_file), "key file"), type=_KeyFile)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise ConfigError(f'{key_file}: the key file must be JSON {{"key": "..", "secret": ".."}}') from None
        keys, place = ExchangeKeys(found.key.strip(), found.secret.strip()), key_file
    else:
        keys, place = ExchangeKeys(environ.get(KEY, "").strip(), environ.get(SECRET, "").strip()), f"{KEY} and {SECRET}"
    short = [name for name in ("key", "secret") if len(getattr(keys, name)) < LEAST]
    if short:
        raise ConfigError(f"{place}: {' and '.join(short)} of the exchange missing or shorter than {LEAST} characters")
    return keys


def secrets_of(key_file: str, environ: Mapping[str, str]) -> tuple[str, ...]:
    """What must never be written anywhere; none where there are no keys."""
    try:
        keys = read_keys(key_file, environ)
    except ConfigError:
        return ()
    return keys.key, keys.secret
