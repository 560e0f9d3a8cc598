"""The two ways of a conversation, a line at a time."""

from __future__ import annotations

import json

from ._line import LINE_MAX, encoded

TYPE_CHECKING = False  # true for who checks types: typing itself is slow to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Talk:
    """One conversation: hear gives the host's next line, say says one; both are bytes."""

    def __init__(self, hear: Callable[[], bytes], say: Callable[[bytes], object]) -> None:
        self._hear, self._say = hear, say
        self.initial: Any = None
        self.config: Any = None
        self._failed: Exception | None = None

    def line(self, message: dict[str, Any]) -> bytes:
        """A message as a line; ValueError for what the host would end the plugin for."""
        line = encoded(message) + b"\n"
        if len(line) > LINE_MAX:
            raise ValueError(f"message of {len(line)} bytes, limit {LINE_MAX}")
        return line

    def exchange(self, line: bytes) -> dict[str, Any]:
        """Says a call and hears its reply."""
        if self._failed is not None:
            raise self._failed
        self._say(line)
        reply = self._hear()
        if not reply:
            raise self.broken("the host has gone")
        return json.loads(reply)

    def broken(self, why: str) -> Exception:
        """Ends the conversation: the host said what it may not."""
        self._failed = RuntimeError(f"read: message: {why}")
        return self._failed
