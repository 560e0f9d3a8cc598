import unittest

import stavily
from stavily import testing


class Config:
    at: bool = False


@stavily.trigger("clocks", Config)
def clocks(ctx, wake):
    events = [[wake.steady_ms, wake.clock]]
    if ctx.config.at:
        return stavily.Fired(events, at_ms=ctx.now_ms // 60_000 * 60_000 + 60_000)
    return stavily.Fired(events, after=90)


class TestClocks(unittest.TestCase):
    def test_a_trigger_may_wait_by_either(self):
        for at, jump, want in [
            (False, 0, [0, 90_000, 180_000]),
            (False, 600_000, [0, 90_000, 180_000]),
            (True, 0, [0, 60_000, 120_000, 180_000]),
            (True, 50_000, [0, 60_000, 70_000, 130_000, 190_000]),
        ]:
            with self.subTest(at=at, jump=jump):
                host = testing.start(clocks, {"at": at})
                events = host.advance(60)
                first = len(events)
                host.now_ms += jump
                host.clock = False
                events += host.advance(130)
                self.assertEqual(events, [[steady, i < first] for i, steady in enumerate(want)])

    def test_an_answer_names_a_time_of_the_clock(self):
        host = testing.start(clocks, {"at": True})
        self.assertEqual(host.wake()["next"], {"after_ms": 0, "at_ms": host.now_ms + 60_000})
