import unittest

from main import plugin
from stavily import Error, testing


class TestThreshold(unittest.TestCase):
    def test_judges_and_remembers(self):
        host = testing.start(plugin, {"max": 10})
        for value, over in [(12, True), (7, False), (10, False)]:
            self.assertEqual(host.run({"value": value}), {"over": over, "highest": 12})
            host.restart()

    def test_bad_event(self):
        host = testing.start(plugin)
        for data in ["twelve", {}, {"value": True}]:
            with self.assertRaisesRegex(Error, "^event data: value: want a number$"):
                host.run(data)
        host.deny("kv.put")
        with self.assertRaisesRegex(Error, "not granted"):
            host.run({"value": 1})
