import unittest

from main import plugin
from stavily import Error, testing


class TestHello(unittest.TestCase):
    def test_greets(self):
        host = testing.start(plugin, {"name": "Ada"})
        self.assertEqual(host.run()["text"], "hello, Ada")
        self.assertEqual(host.logs, [(0, "greeting Ada")])
        self.assertEqual(testing.start(plugin).run()["text"], "hello, world")

    def test_bad_configuration(self):
        for config, want in [
            ({"nmae": "Ada"}, 'config: unknown key "nmae"'),
            ({"name": "a" * 81}, "config: name: want at most 80 bytes"),
            ({"name": 7}, "config: name: want text, got a whole number"),
        ]:
            with self.assertRaises(Error) as raised:
                testing.start(plugin, config)
            self.assertEqual(str(raised.exception), want)
