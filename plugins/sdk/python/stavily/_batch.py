"""Several events in one request, each with its own outcome."""

from __future__ import annotations

import time

from ._line import LINE_MAX, encoded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any

    from ._asked import Request

BATCH_MAX = 256  # events in one request

# How long an answer becomes before it is sent: the host asks for the rest again, and one
# more result must still fit.
_ENOUGH = LINE_MAX - (64 << 10)


def in_turn(work: Sequence[Request], one: Callable[[Request], Any], deadline_ms: int) -> Iterator[Any]:
    """Works on one event after another, and yields what comes of each. What is left when half
    of the time is gone the host asks for again, so that no event loses another's."""
    began = time.monotonic()
    for at, request in enumerate(work):
        if at > 0 and 0 < deadline_ms < 2000 * (time.monotonic() - began):
            return
        try:
            outcome = one(request)
        except Exception as error:  # whatever it is, it is this event's
            outcome = error
        yield outcome


def together(made: Any, count: int) -> Sequence[Any]:
    """What a plugin's batch function returned for so many events, if it is good."""
    got = len(made) if isinstance(made, (list, tuple)) else type(made).__name__
    if got not in range(1, count + 1):
        raise ValueError(f"batch: want a list of 1 to {count} outcomes, got {got}")
    return made


def answer(outcomes: Iterable[Any], silent: bool, told: Callable[[Exception], dict[str, str]]) -> bytes:
    """The answer as JSON, with as many outcomes as it has room for. An outcome is data or an
    exception; silent ones have no data, as an output's. told makes an error of an exception."""
    items: list[bytes] = []
    size = 0
    for outcome in outcomes:
        items.append(_item(outcome, silent, told))
        size += len(items[-1]) + 1
        if size >= _ENOUGH:
            break
    return b'{"items":[' + b",".join(items) + b"]}"


def _item(outcome: Any, silent: bool, told: Callable[[Exception], dict[str, str]]) -> bytes:
    """What stands in the answer for one event. Too much of it is an error of that event."""
    if not isinstance(outcome, Exception):
        try:
            item = encoded({} if silent else {"data": outcome})
            if len(item) <= LINE_MAX - _ENOUGH - 1024:
                return item
            outcome = ValueError(f"answer of {len(item)} bytes is too long")
        except Exception as error:  # no JSON
            outcome = error
    return encoded({"error": told(outcome)})
