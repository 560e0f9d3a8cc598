import io
import unittest

import stavily
from stavily import testing


def once(run):
    return testing.start(stavily.action("once")(lambda ctx, request: run(ctx)))


class TestNetwork(unittest.TestCase):
    def test_secrets(self):
        def run(ctx):
            answer = ctx.http("https://a.example/" + stavily.handle("key"), secrets=["key"], max=3)
            return [ctx.secret("key"), list(ctx.secret("bin")), answer["status"], answer["body"], answer["truncated"]]

        host, seen = once(run), []
        host.secrets = {"key": "hunter2", "bin": b"\xff\0"}
        host.http = lambda asked: seen.append(asked) or {"status": 201, "body": "done"}
        self.assertEqual(host.run(), ["hunter2", [255, 0], 201, "don", True])
        self.assertEqual((seen[0]["url"], seen[0]["secrets"]), ("https://a.example/${key}", ["key"]))
        host.secrets.clear()
        with self.assertRaises(stavily.Error) as raised:
            host.run()
        self.assertEqual(raised.exception.code, "retryable")

    def test_connection(self):
        class Conn(io.BytesIO):
            closed_with = None

            def close(self):
                Conn.closed_with = self.getvalue()

        def run(ctx):
            conn = ctx.dial(ctx.resolve("plc")[0], 502, timeout=0.1)
            conn.write(b"\1\xff")
            sent = ctx.http("http://b/", body=b"\xc8")["body"]
            return [conn.address, conn.read().decode(), list(sent)]

        host = once(run)
        host.names["plc"] = ["fd00::5"]
        host.dial, host.http = lambda _: Conn(b"..reply"), lambda asked: {"body": asked["body"]}
        self.assertEqual(host.run(), ["[fd00::5]:502", "reply", [200]])
        self.assertEqual(Conn.closed_with, b"\1\xffreply")

    def test_what_is_not_there(self):
        def run(ctx):
            codes = []
            for call in [
                lambda: ctx.resolve("x"), lambda: ctx.http("http://x/"), lambda: ctx.dial("x", 1),
                lambda: ctx.read_file("x"), lambda: ctx.write_file("../x", ""), lambda: ctx.call("no.such"),
            ]:
                try:
                    call()
                except stavily.Error as error:
                    codes.append(error.code)
            ctx.write_file("a/b/c", "1")
            ctx.append("d", "2")
            return [codes, ctx.list_files(), ctx.list_files("a")]

        want = ["not-found", "unavailable", "unavailable", "not-found", "denied", "unavailable"]
        self.assertEqual(once(run).run(), [want, ["a/", "d"], ["b/"]])

    def test_messages(self):
        @stavily.trigger("ear")
        def plugin(ctx, wake):
            if wake.message is not None:
                ctx.publish("heard/" + wake.message["topic"], wake.why)
            heard = [] if wake.message is None else [wake.message["data"]]
            return stavily.Fired(events=heard, topics=["line/+"])

        host = testing.start(plugin)
        self.assertEqual(host.wake(), {"events": [], "next": {"after_ms": 0, "mqtt": ["line/+"]}, "state": None})
        self.assertEqual(host.hear("line/1", 21.5)["events"], [21.5])
        self.assertEqual(host.published, [("heard/line/1", "message")])
