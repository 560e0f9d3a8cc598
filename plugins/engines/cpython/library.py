"""Packs CPython's standard library as byte code: library.py LIB ZIP.

The same library gives the same bytes: no times, no paths of this machine. What needs
threads, sockets, processes or a screen is left out.
"""

import importlib.util
import marshal
import pathlib
import sys
import zipfile

LEFT_OUT = {
    "__phello__", "antigravity.py", "asyncio", "asynchat.py", "asyncore.py", "cProfile.py", "ctypes", "curses",
    "dbm", "distutils", "ensurepip", "ftplib.py", "idlelib", "imaplib.py", "imghdr.py", "lib2to3", "mailbox.py",
    "msilib", "multiprocessing", "nntplib.py", "pdb.py", "poplib.py", "profile.py", "pstats.py", "pty.py", "pydoc.py",
    "pydoc_data", "smtpd.py", "smtplib.py", "socketserver.py", "sqlite3", "ssl.py", "subprocess.py", "telnetlib.py",
    "test", "this.py", "tkinter", "tty.py", "turtle.py", "turtledemo", "venv", "webbrowser.py", "wsgiref", "xmlrpc",
}


def compiled(source: pathlib.Path, name: str) -> bytes:
    """The file as unchecked byte code, under the name that the engine sees it by."""
    data = source.read_bytes()
    code = compile(data, "/usr/lib/python3.11/" + name, "exec", dont_inherit=True)
    head = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + importlib.util.source_hash(data)
    return head + marshal.dumps(code)


def main(lib: pathlib.Path, out: str) -> None:
    with zipfile.ZipFile(out, "w") as archive:
        # CPython looks for this folder to find its home.
        archive.writestr(zipfile.ZipInfo("lib-dynload/"), b"")
        for source in sorted(lib.rglob("*.py")):
            name = source.relative_to(lib).as_posix()
            if name.split("/")[0] in LEFT_OUT or "/test/" in name or "/tests/" in name:
                continue
            entry = zipfile.ZipInfo(name + "c")
            entry.external_attr = 0o100444 << 16
            archive.writestr(entry, compiled(source, name), zipfile.ZIP_DEFLATED, 9)


main(pathlib.Path(sys.argv[1]), sys.argv[2])
