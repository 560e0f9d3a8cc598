"""A host for the unit tests of a plugin.

It speaks the real conversation with the plugin, answers its host calls from plain dicts,
and has a clock that only the test moves:

    host = testing.start(plugin, {"name": "Ada"})
    assert host.run()["text"] == "hello, Ada"
"""

from __future__ import annotations

import json

from .testing_desk import Desk, Stock
from ._errors import Error
from ._line import LINE_MAX
from ._plugin import Session
from ._text import milliseconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from ._plugin import Plugin


def start(plugin: Plugin, config: dict[str, Any] | None = None) -> Host:
    """Starts a plugin; raises what it says when it refuses the configuration."""
    return Host(plugin, config or {})


class Host(Stock):
    """One agent with one plugin. A test may read and change its dicts between requests."""

    def __init__(self, plugin: Plugin, config: dict[str, Any]) -> None:
        super().__init__()
        self.calls: list[tuple[str, dict[str, Any]]] = []  # (name, args), logs too
        self.grants: list[dict[str, Any]] = []
        self.now_ms = 1_767_225_600_000  # the first of January 2026
        self.steady_ms = 0  # what advance let pass
        self.clock = True  # whether the device's clock can be believed
        self.state: Any = None
        self._plugin, self._config, self._desk = plugin, config, Desk(self)
        self._answers: dict[str, Callable[[dict[str, Any]], Any]] = {}
        self._id, self._started = 0, False
        self._wake_at: tuple[str, int] | None = None  # "now_ms" or "steady_ms", and what it shows then
        self._open()

    def answer(self, name: str, function: Callable[[dict[str, Any]], Any]) -> None:
        """Makes function(args) answer the calls of a name: it returns the reply, or raises an Error."""
        self._answers[name] = function

    def deny(self, name: str) -> None:
        """Refuses the calls of a name, as it is without the grant."""

        def no(_: object) -> None:
            raise Error("denied", f"{name}: not granted")

        self.answer(name, no)

    def restart(self) -> None:
        """As after a reboot. State, key-value store and files stay."""
        self._started, self._wake_at = False, None
        self._open()

    def run(
        self, data: Any = None, results: Iterable[dict[str, Any]] = (), key: str = "key-1", deadline_ms: int = 30_000
    ) -> Any:
        """Asks an action to work on an event with this data; returns the result's data."""
        return self._ask("run", self._work(data, results, key, deadline_ms)).get("data")

    def deliver(
        self, data: Any = None, results: Iterable[dict[str, Any]] = (), key: str = "key-1", deadline_ms: int = 30_000
    ) -> None:
        """Asks an output to deliver a run."""
        self._ask("deliver", self._work(data, results, key, deadline_ms))

    def batch(
        self, events: Iterable[Any], results: Iterable[dict[str, Any]] = (), deadline_ms: int = 30_000
    ) -> list[Any]:
        """Hands an action or an output several events at once, as an agent does when a queue
        has built up, and asks again for what it left out. Returns an outcome for each: the
        data, or an Error."""
        kind = "deliver" if self._plugin.kind == "output" else "run"
        out: list[Any] = []
        work = [self._work(data, results, f"key-{at + 1}", deadline_ms) for at, data in enumerate(events)]
        while len(out) < len(work):
            items = [{k: v for k, v in item.items() if k != "deadline_ms"} for item in work[len(out) :]]
            got = self._ask("batch", {"kind": kind, "items": items, "deadline_ms": deadline_ms})["items"]
            assert 1 <= len(got) <= len(items), f"{len(got)} answers to {len(items)} events"
            for item in got:
                error = item.get("error")
                out.append(item.get("data") if error is None else Error(error["code"], error["text"]))
        return out

    def check(self) -> None:
        """Asks the plugin to check itself."""
        self._ask("check", {})

    def wake(self) -> dict[str, Any]:
        """Wakes a trigger now, with the state that it answered last; returns its answer."""
        why, self._started = "timer" if self._started else "start", True
        return self._wake({"why": why})

    def hear(self, topic: str, data: Any = None) -> dict[str, Any]:
        """Wakes a trigger with a message on a local topic, whether it waits for that or not."""
        return self._wake({"why": "message", "message": {"topic": topic, "data": data}})

    def _wake(self, wake: dict[str, Any]) -> dict[str, Any]:
        told = {**wake, "state": self.state, "steady_ms": self.steady_ms, "clock": self.clock}
        answer = self._ask("wake", told)
        self.state = answer.get("state")
        asked = answer.get("next", {})
        self._wake_at = None
        if asked.get("at_ms"):
            self._wake_at = "now_ms", asked["at_ms"]
        elif asked.get("after_ms"):
            self._wake_at = "steady_ms", self.steady_ms + asked["after_ms"]
        return answer

    def advance(self, seconds: float) -> list[Any]:
        """Lets time pass, wakes the trigger when it asked for it, and returns the events."""
        end = self.steady_ms + milliseconds(seconds)
        events: list[Any] = []
        if not self._started:
            self._wake_at = "steady_ms", self.steady_ms
        while self._wake_at is not None:
            clock, at = self._wake_at
            wait = max(at - getattr(self, clock), 0)
            if self.steady_ms + wait > end:
                break
            self._pass(wait)
            events += self.wake()["events"]
        self._pass(end - self.steady_ms)
        return events

    def _pass(self, ms: int) -> None:
        self.now_ms += ms
        self.steady_ms += ms

    def _work(
        self, data: Any, results: Iterable[dict[str, Any]], key: str, deadline_ms: int
    ) -> dict[str, Any]:
        event = {"run": "000102030405060708090a0b0c0d0e0f", "workflow": "test", "time_ms": self.now_ms, "data": data}
        return {"event": event, "results": list(results), "key": key, "deadline_ms": deadline_ms}

    def _open(self) -> None:
        self._said: list[dict[str, Any]] = []
        self._replies: list[bytes] = []
        self._session = Session(self._plugin, lambda: self._replies.pop(0), self._heard)
        assert "hello" in self._next(), "first message: want hello"
        limits = {
            "max_memory_mb": 64, "max_cpu_cores": 0.5, "max_execution_time_seconds": 30, "max_file_descriptors": 16,
            "max_network_connections": 0,
        }
        init = {"config": self._config, "limits": limits, "grants": self.grants, "workflow": "test", "step": "plugin"}
        self._session.take(json.dumps({"init": init}).encode())
        message = self._next()
        if "error" in message:
            raise Error(message["error"]["code"], message["error"]["text"])
        assert "ready" in message, "message after init: want ready or error"

    def _ask(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        self._id += 1
        self._session.take(json.dumps({"id": self._id, kind: {**body, "now_ms": self.now_ms}}).encode())
        self._desk.hang_up()
        message = self._next()
        assert message.get("id") == self._id, f"answer to request {message.get('id')}: want {self._id}"
        if "error" in message:
            raise Error(message["error"]["code"], message["error"]["text"])
        return message["answer"]

    def _next(self) -> dict[str, Any]:
        assert self._said, "the plugin does not answer"
        return self._said.pop(0)

    def _heard(self, line: bytes) -> None:
        assert len(line) <= LINE_MAX and line.count(b"\n") == 1 and line.endswith(b"\n"), f"message {line!r}"
        message = json.loads(line)
        call = message.get("call")
        if call is None:
            self._said.append(message)
            return
        name, args = call["name"], call["args"]
        self.calls.append((name, args))
        reply: dict[str, Any] = {"n": call["n"]}
        try:
            reply["ok"] = (self._answers.get(name) or self._desk.answers(name))(args) or {}
        except Error as error:
            reply["error"] = {"code": error.code, "text": str(error)}
        self._replies.append(json.dumps({"reply": reply}).encode())
