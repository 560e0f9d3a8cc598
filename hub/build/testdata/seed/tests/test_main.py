import os
import unittest

import psutil
from stavily import Error, testing

from main import plugin


class Test(unittest.TestCase):
    def test_runs_the_command(self):
        host = testing.start(plugin, {"command": ["date"]})
        host.answer("process.run", lambda args: {"exit": 0, "stdout": " ".join(args["argv"])})
        self.assertEqual(host.run(), {"ok": True, "out": "date", "cores": os.cpu_count()})

    def test_is_denied(self):
        host = testing.start(plugin)
        host.deny("process.run")
        self.assertEqual(host.run()["why"], "denied")

    def test_wants_a_command(self):
        with self.assertRaises(Exception):
            testing.start(plugin, {"command": []})

    def test_psutil_is_the_locked_one(self):
        self.assertTrue(psutil.__version__.startswith("5."))
