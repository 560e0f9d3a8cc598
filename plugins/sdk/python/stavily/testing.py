"""A host for the unit tests of a plugin.

It speaks the real conversation with the plugin, answers its host calls from plain dicts,
and has a clock that only the test moves:

    host = testing.start(plugin, {"name": "Ada"})
    assert host.run()["text"] == "hello, Ada"
"""

import json

from .testing_desk import Desk
from ._errors import Error
from ._line import LINE_MAX
from ._plugin import Session
from ._text import milliseconds


def start(plugin, config=None):
    """Starts a plugin; raises what it says when it refuses the configuration."""
    return Host(plugin, config or {})


class Host:
    """One agent with one plugin. A test may read and change its dicts between requests."""

    def __init__(self, plugin, config):
        self.metrics = {}  # what metrics.read answers
        self.kv = {}  # what kv.put has kept
        self.files = {}  # the plugin's own directory, by path
        self.secrets = {}  # what secret.use tells: text or bytes
        self.names = {}  # the addresses that dns.resolve answers, by name
        self.http = None  # answers http.request: a function of its arguments, as Context.http has them
        self.dial = None  # answers tcp.connect: a function of "host:port", see Desk
        self.logs = []  # (level, text), oldest first
        self.calls = []  # (name, args), logs too
        self.grants = []
        self.now_ms = 1_767_225_600_000  # the first of January 2026
        self.state = None
        self._plugin, self._config, self._answers, self._desk = plugin, config, {}, Desk(self)
        self._id, self._started, self._wake_at = 0, False, None
        self._open()

    def answer(self, name, function):
        """Makes function(args) answer the calls of a name: it returns the reply, or raises an Error."""
        self._answers[name] = function

    def deny(self, name):
        """Refuses the calls of a name, as it is without the grant."""

        def no(_):
            raise Error("denied", f"{name}: not granted")

        self.answer(name, no)

    def restart(self):
        """As after a reboot. State, key-value store and files stay."""
        self._started, self._wake_at = False, None
        self._open()

    def run(self, data=None, results=(), key="key-1", deadline_ms=30_000):
        """Asks an action to work on an event with this data; returns the result's data."""
        return self._ask("run", self._work(data, results, key, deadline_ms)).get("data")

    def deliver(self, data=None, results=(), key="key-1", deadline_ms=30_000):
        """Asks an output to deliver a run."""
        self._ask("deliver", self._work(data, results, key, deadline_ms))

    def batch(self, events, results=(), deadline_ms=30_000):
        """Hands an action or an output several events at once, as an agent does when a queue
        has built up, and asks again for what it left out. Returns an outcome for each: the
        data, or an Error."""
        kind, out = "deliver" if self._plugin.kind == "output" else "run", []
        work = [self._work(data, results, f"key-{at + 1}", deadline_ms) for at, data in enumerate(events)]
        while len(out) < len(work):
            items = [{k: v for k, v in item.items() if k != "deadline_ms"} for item in work[len(out) :]]
            got = self._ask("batch", {"kind": kind, "items": items, "deadline_ms": deadline_ms})["items"]
            assert 1 <= len(got) <= len(items), f"{len(got)} answers to {len(items)} events"
            for item in got:
                error = item.get("error")
                out.append(item.get("data") if error is None else Error(error["code"], error["text"]))
        return out

    def check(self):
        """Asks the plugin to check itself."""
        self._ask("check", {})

    def wake(self):
        """Wakes a trigger now, with the state that it answered last; returns its answer."""
        why, self._started = "timer" if self._started else "start", True
        answer = self._ask("wake", {"why": why, "state": self.state})
        self.state = answer.get("state")
        after = answer.get("next", {}).get("after_ms", 0)
        self._wake_at = self.now_ms + after if after else None
        return answer

    def advance(self, seconds):
        """Lets time pass, wakes the trigger when it asked for it, and returns the events."""
        end, events = self.now_ms + milliseconds(seconds), []
        if not self._started:
            self._wake_at = self.now_ms
        while self._wake_at is not None and self._wake_at <= end:
            self.now_ms = max(self.now_ms, self._wake_at)
            events += self.wake()["events"]
        self.now_ms = end
        return events

    def _work(self, data, results, key, deadline_ms):
        event = {"run": "000102030405060708090a0b0c0d0e0f", "workflow": "test", "time_ms": self.now_ms, "data": data}
        return {"event": event, "results": list(results), "key": key, "deadline_ms": deadline_ms}

    def _open(self):
        self._said, self._replies = [], []
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

    def _ask(self, kind, body):
        self._id += 1
        self._session.take(json.dumps({"id": self._id, kind: {**body, "now_ms": self.now_ms}}).encode())
        self._desk.hang_up()
        message = self._next()
        assert message.get("id") == self._id, f"answer to request {message.get('id')}: want {self._id}"
        if "error" in message:
            raise Error(message["error"]["code"], message["error"]["text"])
        return message["answer"]

    def _next(self):
        assert self._said, "the plugin does not answer"
        return self._said.pop(0)

    def _heard(self, line):
        assert len(line) <= LINE_MAX and line.count(b"\n") == 1 and line.endswith(b"\n"), f"message {line!r}"
        message = json.loads(line)
        call = message.get("call")
        if call is None:
            self._said.append(message)
            return
        name, args = call["name"], call["args"]
        self.calls.append((name, args))
        reply = {"n": call["n"]}
        try:
            reply["ok"] = (self._answers.get(name) or self._desk.answers(name))(args) or {}
        except Error as error:
            reply["error"] = {"code": error.code, "text": str(error)}
        self._replies.append(json.dumps({"reply": reply}).encode())
