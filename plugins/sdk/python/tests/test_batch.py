import unittest

import stavily
from stavily import testing


def told(outcomes):
    return [f"{o.code}: {o}" if isinstance(o, stavily.Error) else o for o in outcomes]


class TestBatch(unittest.TestCase):
    def test_one_after_the_other(self):
        seen = []

        @stavily.action("one")
        def plugin(ctx, request):
            seen.append((request.key, request.deadline_ms))
            if request.event.data == 2:
                raise stavily.Retryable("busy")
            ctx.kv_put("last", request.event.data)
            return request.event.data * 10

        host = testing.start(plugin)
        self.assertEqual(told(host.batch([1, 2, 3])), [10, "retryable: busy", 30])
        self.assertEqual(seen, [("key-1", 30000), ("key-2", 30000), ("key-3", 30000)])
        self.assertEqual(host.kv, {"last": 3})

    def test_what_is_too_long_is_asked_again(self):
        host = testing.start(stavily.action("long")(lambda _, request: "x" * request.event.data))
        self.assertEqual([len(o) for o in host.batch([20_000] * 6)], [20_000] * 6)
        self.assertEqual([o[:17] for o in told(host.batch([1, 70_000, 1]))], ["x", "plugin: answer of", "x"])

    def test_no_json_is_that_events_error(self):
        host = testing.start(stavily.action("odd")(lambda _, request: [1, {1}, 2.5][request.event.data]))
        self.assertEqual([isinstance(o, stavily.Error) for o in host.batch([0, 1, 2])], [False, True, False])

    def test_all_at_once(self):
        sizes = []

        def batch(ctx, requests):
            sizes.append(len(requests))
            ctx.append("log", "".join(f"{r.event.data}\n" for r in requests))
            return [ValueError("no 2") if r.event.data == 2 else "passed over" for r in requests[:2]]

        def deliver(ctx, request):
            raise AssertionError("not this one")

        host = testing.start(stavily.output("file", batch=batch)(deliver))
        self.assertEqual(told(host.batch([1, 2, 3])), [None, "plugin: no 2", None])
        self.assertEqual((sizes, host.files), ([3, 1], {"log": "1\n2\n3\n3\n"}))

    def test_bad_outcomes(self):
        for bad in [[], [1, 2], "x", None]:
            host = testing.start(stavily.action("bad", batch=lambda *_, bad=bad: bad)(print))
            with self.assertRaisesRegex(stavily.Error, "batch: want a list of 1 to 1 outcomes, got "):
                host.batch([1])
