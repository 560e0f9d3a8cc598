import unittest

from main import plugin
from stavily import Error, testing


class TestCounter(unittest.TestCase):
    def test_goes_on_after_a_restart(self):
        host = testing.start(plugin, {"every": "1s"})
        self.assertEqual(host.advance(3), [{"count": n, "for_ms": n * 1000} for n in (1, 2, 3)])
        host.restart()
        host.now_ms -= 365 * 86_400_000  # the clock was wrong, and is set
        self.assertEqual(host.advance(2), [{"count": n, "for_ms": n * 1000} for n in (4, 5)])

    def test_bad_configuration(self):
        for every in ["", "1ms", "-1s", "soon", 7]:
            with self.assertRaisesRegex(Error, "every: "):
                testing.start(plugin, {"every": every})
