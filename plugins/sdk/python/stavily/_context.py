"""The way from a plugin to its host."""

from __future__ import annotations

import binascii

from ._errors import Error, clip
from ._text import milliseconds

TYPE_CHECKING = False  # true for who checks types: typing itself is slow to import
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from ._talk import Talk

_LEVELS = {"debug": -4, "info": 0, "warn": 4, "error": 8}
_WRITE_MAX = 64 << 10  # bytes of one tcp.write: in base64 they fit a line


class Context:
    """One request's way to the host, until the plugin's function has returned. What the
    host refuses is raised as an Error with the host's code: "denied" without the grant."""

    def __init__(self, session: Talk, now_ms: int) -> None:
        self._session = session
        self._calls = 0
        self.now_ms: int = now_ms
        """The host's time at the beginning of the request, in milliseconds. It does not move."""
        self.config: Any = session.config

    @property
    def workflow(self) -> str:
        """The name of the workflow that the plugin stands in."""
        return self._session.initial.get("workflow", "")

    @property
    def step(self) -> str:
        """The name of the step that the plugin is."""
        return self._session.initial.get("step", "")

    @property
    def limits(self) -> dict[str, Any]:
        """What the host holds the plugin to."""
        return self._session.initial.get("limits", {})

    @property
    def grants(self) -> list[dict[str, Any]]:
        """What the plugin may ask the host for."""
        return self._session.initial.get("grants", [])

    def call(self, name: str, args: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """A host call by name, for those that have no method here."""
        line = self._session.line({"call": {"n": self._calls + 1, "name": name, "args": args or {}}})
        self._calls += 1
        reply = self._session.exchange(line).get("reply")
        if reply is None or reply.get("n") != self._calls:
            raise self._session.broken(f"want the reply to call {self._calls}")
        error = reply.get("error")
        if error is not None:
            raise Error(error.get("code", "internal"), f"{name}: {error.get('text', '')}")
        return reply.get("ok") or {}

    def log(self, level: str, text: str) -> None:
        """A log line of at most 1 KiB; level is debug, info, warn or error. The host keeps
        so many a second and counts the rest."""
        try:
            self.call("log", {"level": _LEVELS[level], "text": clip(str(text))})
        except Error:
            pass  # a line that was dropped is nobody's error

    def metrics(self, *names: str) -> dict[str, float]:
        """What the machine is at now, by name. One that it does not have is not there. Needs
        metrics.read."""
        return self.call("metrics.read", {"names": list(names)}).get("values", {})

    def process(
        self, argv: Sequence[str], stdin: str = "", output_max: int = 0, timeout: float = 0
    ) -> dict[str, Any]:
        """Runs a program and waits for its end: a dict with exit, stdout, stderr, truncated and
        took_ms. output_max is how many bytes of each output are kept, timeout is in seconds.
        Needs process.execute with the program as a scope."""
        args: dict[str, Any] = {"argv": list(argv), "stdin": stdin}
        if output_max:
            args["output_max"] = output_max
        if timeout:
            args["timeout_ms"] = milliseconds(timeout)
        return self.call("process.run", args)

    def append(self, path: str, data: str, sync: bool = False) -> int:
        """Adds to a file in the plugin's own directory and returns its size; with sync it is on the
        disk then. Needs filesystem.write."""
        return self.call("fs.append", {"path": path, "data": data, "sync": sync}).get("size", 0)

    def write_file(self, path: str, data: str, sync: bool = False) -> None:
        """Makes a file be data, whole or not at all. Needs filesystem.write."""
        self.call("fs.write", {"path": path, "data": data, "sync": sync})

    def read_file(self, path: str, max: int = 65_536) -> str:
        """Reads at most max bytes of a file. Needs filesystem.read."""
        return self.call("fs.read", {"path": path, "max": max}).get("data", "")

    def list_files(self, path: str = ".") -> list[str]:
        """The names in a folder, in ascending order. Needs filesystem.read."""
        return self.call("fs.list", {"path": path}).get("names", [])

    def kv_get(self, key: str, default: Any = None) -> Any:
        """What kv_put kept, or default. Needs kv."""
        value = self.call("kv.get", {"key": key}).get("value")
        return default if value is None else value

    def kv_put(self, key: str, value: Any) -> None:
        """Keeps a value: at most 64 keys, each at most 16 KiB; None removes it. Needs kv."""
        self.call("kv.put", {"key": key, "value": value})

    def resolve(self, name: str) -> list[str]:
        """The addresses of a host name, best first. Needs dns.resolve with the name as a scope."""
        return self.call("dns.resolve", {"name": name}).get("addresses", [])

    def http(
        self, url: str, method: str = "GET", headers: Mapping[str, str] | None = None,
        body: str | bytes | bytearray | None = None, secrets: Iterable[str] = (), max: int = 0, timeout: float = 0,
    ) -> dict[str, Any]:
        """One HTTP exchange; any status is an answer: a dict with status, headers, and body,
        which is bytes where it is no text. Needs http.request with "host:port" as a scope.

        secrets are names of secrets. The host puts the value of each in place of its handle in
        headers, path and query; the plugin does not learn it. Needs secret.use with
        "name@host:port" as a scope."""
        args: dict[str, Any] = {"url": url, "method": method}
        if headers:
            args["headers"] = headers
        if secrets:
            args["secrets"] = list(secrets)
        if isinstance(body, (bytes, bytearray)):
            args["body_base64"] = _base64(body)
        elif body is not None:
            args["body"] = body
        if max:
            args["max"] = max
        if timeout:
            args["timeout_ms"] = milliseconds(timeout)
        ok = self.call("http.request", args)
        if "body_base64" in ok:
            ok["body"] = binascii.a2b_base64(ok.pop("body_base64"))
        return ok

    def publish(self, topic: str, data: Any = None) -> None:
        """Says something to the triggers of this device that wait for the topic. data is at most
        8 KiB; nobody has to hear it. Needs mqtt.publish with filters as scopes."""
        self.call("mqtt.publish", {"topic": topic, "data": data})

    def secret(self, name: str) -> str | bytes:
        """The value of a secret, bytes when it is no text. A plugin that only sends it on wants
        a handle instead, and is granted it more easily. Needs secret.use with the bare name as a
        scope. One that is not on the device yet is "unavailable", which makes an answer
        retryable."""
        ok = self.call("secret.use", {"name": name})
        if "value_base64" in ok:
            return binascii.a2b_base64(ok["value_base64"])
        return ok.get("value", "")

    def dial(self, host: str, port: int, tls: bool = False, timeout: float = 0) -> Conn:
        """Connects to a port; with tls the host verifies the other side and encrypts. timeout, in
        seconds, bounds each read and write. Needs tcp.connect with "host:port" as a scope."""
        args: dict[str, Any] = {"host": host, "port": port}
        if tls:
            args["tls"] = True
        ok = self.call("tcp.connect", args)
        return Conn(self, ok.get("conn", 0), ok.get("address", ""), timeout)


class Conn:
    """A connection of one request; the host closes it when the request ends."""

    def __init__(self, context: Context, conn: int, address: str, timeout: float) -> None:
        self._context = context
        self._args: dict[str, Any] = {"conn": conn}
        self.address = address
        """The address and port that were connected to."""
        if timeout:
            self._args["timeout_ms"] = milliseconds(timeout)

    def read(self, max: int = 4096) -> bytes:
        """Waits for bytes and returns those that are there, b"" at the end."""
        ok = self._context.call("tcp.read", {**self._args, "max": max, "base64": True})
        return binascii.a2b_base64(ok.get("data_base64", ""))

    def write(self, data: bytes | bytearray) -> None:
        """Writes all of data, bytes."""
        for at in range(0, len(data), _WRITE_MAX):
            self._context.call("tcp.write", {**self._args, "data_base64": _base64(data[at : at + _WRITE_MAX])})

    def close(self) -> None:
        """Closes it. Closing it again does nothing."""
        self._context.call("tcp.close", {"conn": self._args["conn"]})

    def __enter__(self) -> Conn:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _base64(data: bytes | bytearray) -> str:
    return binascii.b2a_base64(data, newline=False).decode()
