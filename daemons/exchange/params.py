"""Parameters of a request and how the exchange refuses: an HTTP status, a code of its own and a message."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Final

__all__ = ["Params", "Refusal"]

_LARGEST: Final = 10**15


class Refusal(Exception):
    """What the exchange answers instead: ``{"code": code, "msg": text}`` with ``status``."""

    def __init__(self, code: int, text: str, status: int = 400, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.code, self.text, self.status, self.headers = code, text, status, headers or {}


class Params:
    """Query and body of a request."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def has(self, name: str) -> bool:
        """Whether it is there and not empty."""
        return bool(self._values.get(name))

    def text(self, name: str, default: str | None = None) -> str:
        """Its text. Raises ``Refusal`` -1102 when it is missing and there is no ``default``."""
        if self.has(name):
            return self._values[name]
        if default is None:
            raise Refusal(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
        return default

    def one_of(self, name: str, known: Mapping[str, object] | tuple[str, ...], code: int, default: str | None = None) -> str:
        """Its text, one of ``known``, else ``Refusal`` with ``code``."""
        value = self.text(name, default)
        if value not in known:
            raise Refusal(code, f"Invalid {name}.")
        return value

    def integer(self, name: str, default: int | None = None, low: int = 0, high: int = _LARGEST) -> int:
        """A whole number from ``low`` on, at most ``high``. Raises ``Refusal`` -1102 or -1130."""
        text = self.text(name, None if default is None else str(default))
        if not text.isascii() or not text.isdigit() or not low <= int(text) <= _LARGEST:
            raise Refusal(-1130, f"Data sent for parameter '{name}' is not valid.")
        return min(int(text), high)

    def decimal(self, name: str, default: str | None = None) -> Decimal:
        """A positive or zero decimal. Raises ``Refusal`` -1102 or -1100."""
        try:
            value = Decimal(self.text(name, default))
        except InvalidOperation:
            raise Refusal(-1100, f"Illegal characters found in parameter '{name}'.") from None
        if not value.is_finite() or value < 0 or value > _LARGEST:
            raise Refusal(-1130, f"Data sent for parameter '{name}' is not valid.")
        return value

    def flag(self, name: str) -> bool:
        """true or false; false when it is missing."""
        return self.one_of(name, ("true", "false", "True", "False", "TRUE", "FALSE"), -1130, "false").lower() == "true"
