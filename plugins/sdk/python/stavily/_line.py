"""Messages as they travel: lines of JSON."""

from __future__ import annotations

import json

LINE_MAX = 128 << 10  # bytes of one message, with its line end

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def encoded(value: object) -> bytes:
    """A value as bytes of JSON; TypeError or ValueError for what is none."""
    text = _encode(value)
    try:
        return text.encode()
    except UnicodeEncodeError:  # half a character
        return text.encode("utf-8", "replace")
