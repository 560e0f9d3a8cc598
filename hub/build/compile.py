"""Compiles every file under /app/src to unchecked byte code under /tmp/out, and says all
errors of syntax as file:line:column."""

import importlib.util
import os
import sys


def compiled(name):
    with open("/app/src/" + name, "rb") as file:
        data = file.read()
    code = compile(data, "/app/" + name, "exec", dont_inherit=True)
    import marshal

    return importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + importlib.util.source_hash(data) + marshal.dumps(code)


def main():
    bad = 0
    for folder, _, names in os.walk("/app/src"):
        for name in sorted(names):
            path = os.path.join(folder, name)[len("/app/src/") :]
            try:
                code = compiled(path)
            except (SyntaxError, ValueError) as error:
                bad += 1
                where = f"{path}:{getattr(error, 'lineno', 0)}:{getattr(error, 'offset', 0)}"
                print(f"{where}: {getattr(error, 'msg', error)}")
                continue
            out = "/tmp/out/" + path + "c"
            os.makedirs(os.path.dirname(out), exist_ok=True)
            with open(out, "wb") as file:
                file.write(code)
    return 1 if bad else 0


sys.exit(main())
