"""What answers the host calls of a test."""

from __future__ import annotations

import binascii

from ._errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Stock:
    """What host calls find. A test may read and change it between requests."""

    def __init__(self) -> None:
        self.metrics: dict[str, float] = {}  # what metrics.read answers
        self.kv: dict[str, Any] = {}  # what kv.put has kept
        self.files: dict[str, str] = {}  # the plugin's own directory, by path
        self.secrets: dict[str, str | bytes] = {}  # what secret.use tells: text or bytes
        self.names: dict[str, list[str]] = {}  # the addresses that dns.resolve answers, by name
        # Answers http.request: gets its arguments, as Context.http has them, and returns a dict
        # with status, headers and body as far as they are not 200, empty and empty.
        self.http: Callable[[dict[str, Any]], dict[str, Any]] | None = None
        # Answers tcp.connect: gets "host:port" and returns what has read(max), which returns b""
        # at the end, write(data), and close().
        self.dial: Callable[[str], Any] | None = None
        self.published: list[tuple[str, Any]] = []  # (topic, data) of mqtt.publish, oldest first
        self.logs: list[tuple[int, str]] = []  # (level, text), oldest first


class Desk:
    """Answers host calls from a Stock. A connection that its dial returns has
    read(max), which returns b"" at the end, write(data), and close()."""

    def __init__(self, host: Stock) -> None:
        self._host = host
        self._conns: list[Any] = []

    def answers(self, name: str) -> Callable[[dict[str, Any]], Any]:
        """The function that answers the calls of a name."""
        return getattr(self, "_" + name.replace(".", "_"), None) or self._none(name)

    def hang_up(self) -> None:
        """Closes what a request left open, as an agent does."""
        for conn in self._conns:
            conn.close()
        self._conns.clear()

    def _none(self, name: str) -> Callable[[Any], Any]:
        def none(_: object) -> None:
            raise Error("unavailable", f"{name}: no answer in this test")

        return none

    def _log(self, args: dict[str, Any]) -> None:
        self._host.logs.append((args["level"], args["text"]))

    def _metrics_read(self, args: dict[str, Any]) -> dict[str, Any]:
        metrics = self._host.metrics
        return {"values": {n: metrics[n] for n in args["names"] if n in metrics}}

    def _kv_get(self, args: dict[str, Any]) -> dict[str, Any]:
        return {"value": self._host.kv.get(args["key"])}

    def _kv_put(self, args: dict[str, Any]) -> None:
        if args["value"] is None:
            self._host.kv.pop(args["key"], None)
        else:
            self._host.kv[args["key"]] = args["value"]

    def _fs_write(self, args: dict[str, Any]) -> dict[str, Any]:
        if args["path"].startswith("/") or ".." in args["path"].split("/"):
            raise Error("denied", f"path {args['path']!r}: outside")
        self._host.files[args["path"]] = args["data"]
        return {"size": len(args["data"].encode())}

    def _fs_append(self, args: dict[str, Any]) -> dict[str, Any]:
        return self._fs_write({**args, "data": self._host.files.get(args["path"], "") + args["data"]})

    def _fs_read(self, args: dict[str, Any]) -> dict[str, Any]:
        data = self._there(self._host.files.get(args["path"]), f"file {args['path']!r}: not there")
        return {"data": data[: args["max"]], "size": len(data.encode())}

    def _fs_list(self, args: dict[str, Any]) -> dict[str, Any]:
        head = "" if args["path"] == "." else args["path"] + "/"
        below = [n[len(head) :] for n in self._host.files if n.startswith(head)]
        return {"names": sorted({first + slash for first, slash, _ in (n.partition("/") for n in below)})}

    def _mqtt_publish(self, args: dict[str, Any]) -> None:
        self._host.published.append((args["topic"], args["data"]))

    def _secret_use(self, args: dict[str, Any]) -> dict[str, Any]:
        text = f"secret {args['name']}: not on this device"
        value = self._there(self._host.secrets.get(args["name"]), text, "unavailable")
        return {"value": value} if isinstance(value, str) else {"value_base64": _base64(value)}

    def _dns_resolve(self, args: dict[str, Any]) -> dict[str, Any]:
        text = f"resolve {args['name']!r}: no such name"
        return {"addresses": self._there(self._host.names.get(args["name"]), text)}

    def _http_request(self, args: dict[str, Any]) -> dict[str, Any]:
        http = self._host.http or self._none("http.request")
        asked = {k: v for k, v in args.items() if k not in ("body_base64", "timeout_ms")}
        if "body_base64" in args:
            asked["body"] = binascii.a2b_base64(args["body_base64"])
        answer = {"status": 200, "headers": {}, "body": "", **http(asked)}
        whole = answer["body"]
        answer["body"] = whole[: args.get("max", len(whole))]
        answer["truncated"] = len(answer["body"]) < len(whole)
        if isinstance(whole, bytes):
            answer["body_base64"] = _base64(answer.pop("body"))
        return answer

    def _tcp_connect(self, args: dict[str, Any]) -> dict[str, Any]:
        host = f"[{args['host']}]" if ":" in args["host"] else args["host"]
        address = f"{host}:{args['port']}"
        self._conns.append((self._host.dial or self._none("tcp.connect"))(address))
        return {"conn": len(self._conns), "address": address}

    def _tcp_read(self, args: dict[str, Any]) -> dict[str, Any]:
        data = self._conn(args).read(args["max"])
        return {"data_base64": _base64(data), "eof": not data}

    def _tcp_write(self, args: dict[str, Any]) -> dict[str, Any]:
        data = binascii.a2b_base64(args["data_base64"])
        self._conn(args).write(data)
        return {"size": len(data)}

    def _tcp_close(self, args: dict[str, Any]) -> None:
        self._conn(args).close()

    def _conn(self, args: dict[str, Any]) -> Any:
        if not 1 <= args["conn"] <= len(self._conns):
            raise Error("not-found", f"connection {args['conn']}: not open")
        return self._conns[args["conn"] - 1]

    @staticmethod
    def _there(value: Any, text: str, code: str = "not-found") -> Any:
        if value is None:
            raise Error(code, text)
        return value


def _base64(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode()
