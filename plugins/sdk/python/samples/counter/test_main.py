import unittest

from main import plugin
from stavily import Error, testing


class TestCounter(unittest.TestCase):
    def test_goes_on_after_a_restart(self):
        host = testing.start(plugin, {"every": "1s"})
        self.assertEqual(host.advance(3), [{"count": 1}, {"count": 2}, {"count": 3}])
        host.restart()
        self.assertEqual(host.advance(2), [{"count": 4}, {"count": 5}])

    def test_bad_configuration(self):
        for every in ["", "1ms", "-1s", "soon", 7]:
            with self.assertRaisesRegex(Error, "every: "):
                testing.start(plugin, {"every": every})
