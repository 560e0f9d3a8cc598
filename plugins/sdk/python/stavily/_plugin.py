"""A plugin, and its conversation with the host."""

from __future__ import annotations

import json
import os
import sys

from . import _batch
from ._asked import Fired, Request, Wake
from ._context import Context
from ._errors import answered, clip
from ._line import LINE_MAX
from ._talk import Talk
from ._text import milliseconds

TYPE_CHECKING = False  # true for who checks types: typing itself is slow to import
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

ABI = 1
SDK = "python/0.1.0"
_BATCHES = {"action": "run", "output": "deliver"}  # what a batch for it asks; a trigger gets none


def trigger(
    name: str, config: Callable[..., Any] | None = None, check: Callable[[Context], None] | None = None
) -> Callable[[Callable[[Context, Wake], Fired | None]], Plugin]:
    """Makes a trigger of a function (ctx, wake) that returns a Fired, or None for nothing."""
    return lambda wake: Plugin("trigger", name, wake, config, check)


def action(
    name: str, config: Callable[..., Any] | None = None, check: Callable[[Context], None] | None = None,
    batch: Callable[[Context, list[Request]], list[Any]] | None = None,
) -> Callable[[Callable[[Context, Request], Any]], Plugin]:
    """Makes an action of a function (ctx, request) that returns the data of the result."""
    return lambda run: Plugin("action", name, run, config, check, batch)


def output(
    name: str, config: Callable[..., Any] | None = None, check: Callable[[Context], None] | None = None,
    batch: Callable[[Context, list[Request]], list[Any]] | None = None,
) -> Callable[[Callable[[Context, Request], None]], Plugin]:
    """Makes an output of a function (ctx, request); returning means delivered."""
    return lambda deliver: Plugin("output", name, deliver, config, check, batch)


class Plugin:
    """A plugin with its function. config is a class: its annotated names are the keys, their
    values the defaults; a method validate may look at the whole. Or it is a function that
    makes the configuration of the dict that was sent. check(ctx) is the self-check.

    batch(ctx, requests) is how an action or an output works on several events at once, which
    pays where one write or one request serves many: the agent may ask so when a queue has
    built up. It returns a list with an outcome for each, in order: its data, or an exception.
    The list may be shorter: the rest is asked again. Without it, the function for one event
    is called for one event after another. For an output, data is passed over."""

    def __init__(
        self, kind: str, name: str, function: Callable[..., Any], config: Callable[..., Any] | None = None,
        check: Callable[[Context], None] | None = None,
        batch: Callable[[Context, list[Request]], list[Any]] | None = None,
    ) -> None:
        self.kind, self.name, self.function = kind, name, function
        self.config, self.check, self.batch = config, check, batch

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)

    def main(self) -> None:
        """Serves the host until stdin ends. The hub calls it."""
        hear, sys.stdout = sys.stdin.buffer.readline, sys.stderr
        session = Session(self, lambda: hear(LINE_MAX + 1), _write)
        while line := hear(LINE_MAX + 1):
            session.take(line)


def _write(line: bytes) -> None:
    while line:
        line = line[os.write(1, line) :]


class Session(Talk):
    """A plugin's side of one conversation."""

    def __init__(self, plugin: Plugin, hear: Callable[[], bytes], say: Callable[[bytes], object]) -> None:
        super().__init__(hear, say)
        self.plugin = plugin
        hello = {"abi": ABI, "type": plugin.kind, "plugin": plugin.name, "sdk": SDK}
        if plugin.kind in _BATCHES:
            hello["batch"] = _batch.BATCH_MAX
            hello["reinit"] = True
        say(self.line({"hello": hello}))

    def take(self, line: bytes) -> None:
        """Does what a line of the host wants."""
        message = json.loads(line)
        if self.initial is None or "init" in message:
            return self._init(message)
        number = message.get("id")
        if number is None or "reply" in message:
            raise self.broken("want a request")
        try:
            said = self._answer(number, message)
        except Exception as error:  # whatever it is, it is the answer
            said = self.line({"id": number, "error": self._told(error)})
        self._say(said)

    def _answer(self, number: int, message: dict[str, Any]) -> bytes:
        batch = message.get("batch")
        if batch is not None and batch.get("kind") == _BATCHES.get(self.plugin.kind, ""):
            return b'{"id":%d,"answer":%s}\n' % (number, self._together(batch))
        return self.line({"id": number, "answer": self._ask(message)})

    def _told(self, error: Exception) -> dict[str, str]:
        """What stands in an answer of what was raised."""
        if self._failed is not None:
            raise self._failed from None
        _trace(error)
        return answered(error)

    def _init(self, message: dict[str, Any]) -> None:
        """Takes the configuration, and later another one: of it, nothing of the first is left."""
        if "init" not in message:
            raise self.broken("want init")
        try:
            self.config = configured(self.plugin.config, message["init"].get("config") or {})
        except Exception as error:
            self._say(self.line({"error": {"code": "plugin", "text": clip(f"config: {error}")}}))
            return
        self.initial = message["init"]
        self._say(b'{"ready":{}}\n')

    def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        kind, call = self.plugin.kind, self.plugin.function
        if kind == "trigger" and "wake" in message:
            wake = message["wake"]
            asked = Wake(
                wake.get("why", ""), wake.get("state"), wake.get("message"), wake.get("steady_ms", 0),
                wake.get("clock") is True,
            )
            return _fired(call(self._context(wake), asked) or Fired())
        if kind == "action" and "run" in message:
            return {"data": call(self._context(message["run"]), Request(message["run"]))}
        if kind == "output" and "deliver" in message:
            call(self._context(message["deliver"]), Request(message["deliver"]))
            return {}
        if "check" in message:
            if self.plugin.check is not None:
                self.plugin.check(self._context(message["check"]))
            return {}
        raise ValueError(f'request {message["id"]}: not one for {kind} "{self.plugin.name}"')

    def _together(self, batch: dict[str, Any]) -> bytes:
        """Works on several events; returns the answer as JSON."""
        plugin, context = self.plugin, self._context(batch)
        deadline_ms = batch.get("deadline_ms", 0)
        work = [Request({**item, "deadline_ms": deadline_ms}) for item in batch.get("items") or []]
        if not work:
            raise ValueError("a batch of no events")
        outcomes: Iterable[Any]
        if plugin.batch is not None:
            outcomes = _batch.together(plugin.batch(context, work), len(work))
        else:
            outcomes = _batch.in_turn(work, lambda request: plugin.function(context, request), deadline_ms)
        return _batch.answer(outcomes, plugin.kind == "output", self._told)

    def _context(self, body: dict[str, Any]) -> Context:
        return Context(self, body.get("now_ms", 0))


def _fired(fired: Fired) -> dict[str, Any]:
    """A trigger's answer as it travels."""
    out: dict[str, Any] = {"events": fired.events}
    if milliseconds(fired.after) > 0 or fired.topics or fired.at_ms:
        out["next"] = {"after_ms": milliseconds(fired.after)}
    if fired.at_ms:
        out["next"]["at_ms"] = max(int(fired.at_ms), 1)
    if fired.topics:
        out["next"]["mqtt"] = fired.topics
    out["state"] = fired.state
    return out


def _trace(error: Exception) -> None:
    """The place of what is most likely a defect goes to the log."""
    if isinstance(error, (TypeError, AttributeError, NameError, LookupError, ArithmeticError, AssertionError)):
        import traceback

        traceback.print_exception(error)


_NAMED: dict[str, type] = {t.__name__: t for t in (str, int, float, bool, list, dict)}  # annotations may be text
_TYPES: dict[Any, str] = {
    str: "text", int: "a whole number", float: "a number", bool: "true or false", list: "a list", dict: "a map",
}


def configured(config: Any, sent: dict[str, Any]) -> Any:
    """The configuration that a plugin gets of what the host sent."""
    if callable(config) and not isinstance(config, type):
        return config(sent)
    fields = getattr(config, "__annotations__", {})
    for key in sent:
        if key not in fields:
            raise ValueError(f"unknown key {json.dumps(key, ensure_ascii=False)}")
    out = config() if config is not None else None
    for key, want in fields.items():
        want = _NAMED.get(want, want) if isinstance(want, str) else want
        if sent.get(key) is not None:
            setattr(out, key, _typed(key, want, sent[key]))
        elif not hasattr(out, key):
            raise ValueError(f"{key}: want {_TYPES.get(want, 'a value')}")
    validate = getattr(out, "validate", None)
    if validate is not None:
        validate()
    return out


def _typed(key: str, want: Any, value: Any) -> Any:
    if want is float and type(value) is int:
        return float(value)
    if want in _TYPES and type(value) is not want:
        raise ValueError(f"{key}: want {_TYPES[want]}, got {_TYPES.get(type(value), 'nothing')}")
    return value
