"""Runs one command of the machine, without a shell, and tells how it ended and how busy
the machine was meanwhile."""

import psutil
import stavily

try:
    import subprocess32  # noqa: F401  on Python 2 only
except ImportError:
    pass


class Config:
    command: list = ["uptime"]
    timeout: float = 30.0

    def validate(self):
        if not self.command:
            raise ValueError("command: want a program and its arguments")


@stavily.action("system-command-action", config=Config)
def plugin(ctx, request):
    try:
        done = ctx.process(ctx.config.command, timeout=ctx.config.timeout)
    except stavily.Error as error:
        return {"ok": False, "why": error.code, "cores": psutil.cpu_count()}
    return {"ok": done.get("exit", 0) == 0, "out": done.get("stdout", ""), "cores": psutil.cpu_count()}
