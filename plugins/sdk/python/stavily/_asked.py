"""What a plugin is asked, and what a trigger answers."""

from __future__ import annotations

TYPE_CHECKING = False  # true for who checks types: typing itself is slow to import
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


class Wake:
    """What a trigger is asked."""

    def __init__(
        self, why: str, state: Any, message: dict[str, Any] | None = None, steady_ms: int = 0, clock: bool = False
    ) -> None:
        self.why = why
        """"start" on the first wake after a start, else "timer" or "message"."""
        self.state = state
        """What the last answer left; None at first."""
        self.message = message
        """What a plugin of the same device published, a dict with topic and data, when that is
        why; else None."""
        self.steady_ms = steady_ms
        """Counts milliseconds over restarts and never jumps: what it says of two wakes is how long
        one was after the other, whatever the clock was set to between. 0: not said."""
        self.clock = clock
        """Whether ctx.now_ms can be believed. Without, it is the newest time that is known and what
        has passed since."""


class Fired:
    """A trigger's answer: events happened, each of which starts a run of the workflow; state
    is what the next wake gets, also after a restart; after is when to be woken next, in
    seconds, and 0 means not again until the next start; at_ms is, in place of it, what the wall
    clock is to show then, in milliseconds since 1970, and 0 means that it does not matter: the host
    follows when the clock is set, and what was missed by more than a minute is as the workflow's
    catch-up says; both waits go on over a restart; topics are filters of local topics
    ("line/+/alarm", "line/#"), at most 16: a message on one wakes the trigger before its time,
    which needs mqtt.listen with filters as scopes."""

    def __init__(
        self,
        events: Iterable[Any] = (),
        state: Any = None,
        after: float = 0,
        topics: Iterable[str] = (),
        at_ms: int = 0,
    ) -> None:
        self.events, self.state, self.after, self.topics = list(events), state, after, list(topics)
        self.at_ms = at_ms


class Event:
    """What started a run: run (32 hexadecimal digits), workflow, time_ms, data."""

    def __init__(self, event: dict[str, Any]) -> None:
        self.run: str = event.get("run", "")
        self.workflow: str = event.get("workflow", "")
        self.time_ms: int = event.get("time_ms", 0)
        self.data: Any = event.get("data")


class Request:
    """What an action or an output is asked: event; results of the actions before, in order,
    each a dict; key, the same when the same request is repeated; deadline_ms."""

    def __init__(self, body: dict[str, Any]) -> None:
        self.event = Event(body["event"])
        self.results: list[dict[str, Any]] = body.get("results") or []
        self.key: str = body.get("key", "")
        self.deadline_ms: int = body.get("deadline_ms", 0)
