"""What the Hazelcast client may turn into Python objects: strings up to the size of a record, nothing else.

The client of 5.7.0 unpickles what it reads (type id -120) and pickles what it does not know, so whoever reaches the grid could run code
in every reader. Its deserializer also runs inside its only network thread, where an exception closes the connection.
"""

from __future__ import annotations

import struct
from typing import Any, Final

from hazelcast.client import HazelcastClient
from hazelcast.errors import HazelcastSerializationError
from hazelcast.serialization.data import Data
from hazelcast.serialization.serialization_const import CONSTANT_TYPE_STRING
from hazelcast.serialization.serializer import PythonObjectSerializer

from dolphin.grid.record import MAX_BYTES, Raw, Reason

__all__ = ["disable_pickle", "harden", "to_text"]

_HEAD: Final = 12
"""Bytes before the text: partition hash, type id, length."""


def disable_pickle() -> None:
    """Take pickle away from the client's serializers, for every client of this process that is made afterwards."""
    for name in ("read", "write"):
        setattr(PythonObjectSerializer, name, _refuse)


def harden(client: HazelcastClient) -> None:
    """Let ``client`` read by ``to_text`` only. Call it before the first map is asked for: proxies keep the function they find."""
    service: Any = client._context.serialization_service
    service.to_object = to_text


def to_text(data: Any) -> Raw:
    """The string in ``data`` or the reason why there is none. Never raises."""
    if not isinstance(data, Data):
        return None if data is None else Reason.NOT_TEXT
    buffer: bytes = data.buffer
    if len(buffer) < _HEAD:
        return None if len(buffer) in (0, _HEAD - 4) else Reason.NOT_TEXT
    _, kind, length = struct.unpack_from(">iii", buffer)
    if kind != CONSTANT_TYPE_STRING or length != len(buffer) - _HEAD:
        return Reason.NOT_TEXT
    if length > MAX_BYTES:
        return Reason.TOO_LARGE
    try:
        return bytes(buffer[_HEAD:]).decode()
    except UnicodeDecodeError:
        return Reason.NOT_TEXT


def _refuse(*_: object) -> None:
    raise HazelcastSerializationError("pickle is disabled: only JSON text crosses the grid")
