"""Open Sound Control 1.0, as much of it as VMC takes: messages of strings, numbers and truth values, and bundles of
them."""

from __future__ import annotations

import struct

from infinex.errors import InputError

Value = str | float | int | bool
Message = tuple[str, list[Value]]
DEEPEST = 4  # bundles within bundles
NOW = 1  # the time tag that means at once


def _text(value: str) -> bytes:
    raw = value.encode() + b"\0"
    return raw + b"\0" * (-len(raw) % 4)


def message(address: str, *values: Value) -> bytes:
    """One message."""
    tags, body = ",", b""
    for v in values:
        if isinstance(v, bool):
            tags += "T" if v else "F"
        elif isinstance(v, str):
            tags, body = tags + "s", body + _text(v)
        elif isinstance(v, int):
            tags, body = tags + "i", body + struct.pack(">i", v)
        else:
            tags, body = tags + "f", body + struct.pack(">f", v)
    return _text(address) + _text(tags) + body


def bundle(messages: list[bytes]) -> bytes:
    """Messages that belong together."""
    return b"#bundle\0" + struct.pack(">Q", NOW) + b"".join(struct.pack(">i", len(m)) + m for m in messages)


def unpack(data: bytes, depth: int = 0) -> list[Message]:
    """The messages of a packet, those of bundles one after the other. Raises InputError for what is no OSC."""
    if data.startswith(b"#bundle\0"):
        if depth >= DEEPEST:
            raise InputError("an OSC packet of bundles within bundles")
        out: list[Message] = []
        at = 16
        while at < len(data):
            if at + 4 > len(data):
                raise InputError("an OSC packet that was cut short")
            (size,) = struct.unpack_from(">i", data, at)
            if not 0 < size <= len(data) - at - 4:
                raise InputError("an OSC packet that was cut short")
            out += unpack(data[at + 4 : at + 4 + size], depth + 1)
            at += 4 + size
        return out
    if not data.startswith(b"/"):
        raise InputError("a packet that is not OSC")
    address, at = _string(data, 0)
    tags, at = _string(data, at) if at < len(data) else (",", at)
    values: list[Value] = []
    try:
        for tag in tags[1:]:
            if tag == "s":
                text, at = _string(data, at)
                values.append(text)
            elif tag in "if":
                values.append(struct.unpack_from(">" + tag, data, at)[0])
                at += 4
            elif tag in "TF":
                values.append(tag == "T")
            elif tag in "dht":
                values.append(struct.unpack_from(">" + {"d": "d", "h": "q", "t": "Q"}[tag], data, at)[0])
                at += 8
            else:
                raise InputError(f"an OSC value of the unknown kind {tag!r}")
    except struct.error as error:
        raise InputError("an OSC packet that was cut short") from error
    return [(address, values)]


def _string(data: bytes, at: int) -> tuple[str, int]:
    end = data.find(b"\0", at)
    if end < 0:
        raise InputError("an OSC packet that was cut short")
    return data[at:end].decode("utf-8", "replace"), at + (end - at) // 4 * 4 + 4  # padded to fours
