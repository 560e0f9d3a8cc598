"""What the package's modules need of each other."""

from __future__ import annotations

import ast
import pathlib
import unittest

PACKAGE = pathlib.Path(__file__).parents[1] / "stavily"


def needs() -> dict[str, set[str]]:
    """The modules of the package that each of them imports, for types too."""
    found: dict[str, set[str]] = {}
    for file in PACKAGE.glob("*.py"):
        imports = [n for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.ImportFrom) and n.level]
        found[file.stem] = {n.module or n.names[0].name for n in imports}
    return found


class Modules(unittest.TestCase):
    def test_no_circles(self) -> None:
        left = needs()
        self.assertIn("_talk", left["_plugin"])
        while ready := {name for name, on in left.items() if not on & left.keys()}:
            left = {name: on for name, on in left.items() if name not in ready}
        self.assertEqual(left, {}, "these need each other")


if __name__ == "__main__":
    unittest.main()
