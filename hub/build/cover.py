"""Runs the tests under a folder by unittest and counts the lines of the plugin's own files
that ran: cover.py APP TESTS REPORT FILE..., all of them paths. A line counts when the
compiler made code for it."""

import dis
import json
import sys
import types

APP, TESTS, REPORT, FILES = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]
ran = {APP + "/" + name: set() for name in FILES}


def trace(frame, event, _):
    lines = ran.get(frame.f_code.co_filename)
    if lines is None:
        return None
    if event == "line":
        lines.add(frame.f_lineno)
    return trace


def code_lines(code):
    found = {line for _, line in dis.findlinestarts(code) if line}
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            found |= code_lines(const)
    return found


def report():
    out = {}
    for path, lines in ran.items():
        with open(path, "rb") as file:
            have = code_lines(compile(file.read(), path, "exec", dont_inherit=True))
        out[path[len(APP) + 1 :]] = {"lines": len(have), "missed": sorted(have - lines)}
    with open(REPORT, "w") as file:
        json.dump(out, file)


def main():
    import unittest

    sys.path[:0] = [APP, APP + "/vendor"]
    argv = ["test", "discover", "-s", TESTS, "-t", TESTS]
    try:
        import threading

        threading.settrace(trace)
    except ImportError:
        pass  # where there are no threads
    sys.settrace(trace)
    done = unittest.main(module=None, argv=argv, exit=False)
    sys.settrace(None)
    report()
    return 0 if done.result.wasSuccessful() and done.result.testsRun else 1


sys.exit(main())
