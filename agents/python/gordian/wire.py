"""The messages of docs/lock-protocol.md and their bytes. No sockets, no state."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from typing import Any

import msgpack

VERSION = 1
MESSAGE_BYTES_MAX = 4 << 20
REQUESTS_MAX = 10_000
RENEWALS_MAX = 20_000
NAME_BYTES_MAX = 1024
TXN_BYTES_MAX = 128
ITEMS_MAX = 1000


class Kind(enum.IntEnum):
    """What kind of message it is."""

    ERROR = 22
    OPEN_SESSION = 64
    RENEW = 65
    CLOSE_SESSION = 66
    REQUESTS = 67
    SESSION_OPENED = 80
    RENEWED = 81
    SESSION_ENDED = 82
    REPLIES = 83
    TXN_ABORTED = 84


class Code(enum.IntEnum):
    """What a request asks for."""

    LOCK = 0
    UNLOCK = 1
    DOWNGRADE = 2
    END = 3
    CANCEL = 4
    BEGIN = 5
    RECLAIM = 6


class Ended(enum.IntEnum):
    """Why a session is over."""

    CLOSED = 0
    EXPIRED = 1
    UNKNOWN = 2
    REFUSED = 3


DONE, WAITING = 0, 1  # the statuses that are no errors (errors.BY_STATUS)
NOT_HELD = 10
ALL_ITEMS, PATH, SOME_ITEMS = 0, 1, 2  # the schemes of a lock request

#: How many fields each message has at least.
_FIELDS = {Kind.ERROR: 3, Kind.SESSION_OPENED: 4, Kind.RENEWED: 3, Kind.SESSION_ENDED: 3, Kind.REPLIES: 1, Kind.TXN_ABORTED: 5}


def to_bytes(text: str | bytes) -> bytes:
    """Names and ids are bytes; text stands for its UTF-8."""
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")


def to_text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "surrogateescape")


def pack(value: Any) -> bytes:
    packed: bytes = msgpack.packb(value, use_bin_type=True, unicode_errors="surrogateescape")
    return packed


def message(kind: int, *fields: Any) -> bytes:
    return pack([VERSION, int(kind), *fields])


def parse(frame: bytes) -> tuple[int, list[Any]]:
    """Kind and fields. Raises ValueError for what is no message of this version; more fields than are known are allowed."""
    try:
        found = msgpack.unpackb(frame, raw=False, unicode_errors="surrogateescape", strict_map_key=False)
    except Exception as error:  # msgpack has a dozen of them, without a common base
        raise ValueError(f"no msgpack: {error}") from error
    if not isinstance(found, list) or len(found) < 2 or found[0] != VERSION or not isinstance(found[1], int):
        raise ValueError(f"no message of version {VERSION}")
    kind, fields = found[1], found[2:]
    if len(fields) < _FIELDS.get(kind, 0):  # type: ignore[call-overload]
        raise ValueError(f"a message of type {kind} has {len(fields)} fields")
    return kind, fields


def batches(requests: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
    """Messages with these packed requests, each within the limits, and how many requests are in it."""
    packer = msgpack.Packer()
    start = 0
    while start < len(requests):
        end, size = start, 16  # the array headers
        while end < len(requests) and end - start < REQUESTS_MAX and (
                end == start or size + len(requests[end]) <= MESSAGE_BYTES_MAX):
            size += len(requests[end])
            end += 1
        head = packer.pack_array_header(3) + pack(VERSION) + pack(int(Kind.REQUESTS)) + packer.pack_array_header(end - start)
        yield end - start, head + b"".join(requests[start:end])
        start = end
