"""Conformance is the plugin by which this SDK is held to the conversation with the host:
it does on command what a plugin can do at all. The commands are those of
wasmhost/conform, which runs it. It is built once for each type: KIND is defined then."""

import os

import stavily


class State:
    count = 0


def configure(sent):
    if sent.get("refuse"):
        raise ValueError(sent["refuse"])
    return sent


def check(ctx):
    if ctx.config.get("check"):
        raise ValueError(ctx.config["check"])


def wake(ctx, request):
    state = request.state or {}
    if state.get("do") == "fire":
        return stavily.Fired(state["events"], state["state"], state["after_ms"] / 1000, at_ms=state.get("at_ms", 0))
    asked = {"why": request.why, "now_ms": ctx.now_ms, "steady_ms": request.steady_ms, "clock": request.clock}
    result = obey(ctx, state, asked)
    return stavily.Fired() if result is None else stavily.Fired([result])


def run(ctx, request):
    return obey(ctx, request.event.data or {}, work(ctx, request))


def deliver(ctx, request):
    result = run(ctx, request)
    if result is not None:
        ctx.kv_put("result", result)


def work(ctx, r):
    event = {"run": r.event.run, "workflow": r.event.workflow, "time_ms": r.event.time_ms}
    return {
        "event": event, "results": r.results, "key": r.key, "deadline_ms": r.deadline_ms, "now_ms": ctx.now_ms,
    }


def obey(ctx, command, request):
    """Does a command and returns its result, None for none."""
    do = command.get("do", "none")
    if do == "echo":
        return command["value"]
    if do == "none":
        return None
    if do == "request":
        return request
    if do == "init":
        return {
            "config": {"value": ctx.config.get("value")}, "limits": ctx.limits, "grants": ctx.grants,
            "workflow": ctx.workflow, "step": ctx.step,
        }
    if do == "count":
        State.count += 1
        return State.count
    if do == "big":
        return "x" * command["bytes"]
    if do == "call":
        return made(ctx, command)
    if do == "calls":
        return [made(ctx, call) for call in command["list"]]
    return misbehave(ctx, do, command)


def misbehave(ctx, do, command):
    if do == "fail":
        raise ValueError(command["text"])
    if do == "retryable":
        raise stavily.Retryable(command["text"])
    if do == "panic":
        raise AssertionError(command["text"])
    if do == "print":
        return print(command["text"])
    if do == "exit":
        os._exit(command["code"])
    while do == "spin":
        pass
    return ask(ctx, do, command.get("args") or {})


def made(ctx, call):
    """Makes a host call by its name."""
    try:
        return {"ok": ctx.call(call["name"], call.get("args"))}
    except stavily.Error as error:
        return {"error": {"code": error.code, "text": str(error).removeprefix(call["name"] + ": ")}}


LEVELS = {-4: "debug", 0: "info", 4: "warn", 8: "error"}


def ask(ctx, name, a):
    """Uses the SDK's own function for a host call."""
    functions = {
        "log": lambda: ctx.log(LEVELS[a["level"]], a["text"]),
        "metrics": lambda: ctx.metrics(*a["names"]),
        "process": lambda: ctx.process(a["argv"], a["stdin"], a["output_max"], a["timeout_ms"] / 1000),
        "append": lambda: ctx.append(a["path"], a["data"], a["sync"]),
        "write": lambda: ctx.write_file(a["path"], a["data"]),
        "read": lambda: ctx.read_file(a["path"], a["max"]),
        "list": lambda: ctx.list_files(a["path"]),
        "put": lambda: ctx.kv_put(a["key"], a["value"]),
        "get": lambda: ctx.kv_get(a["key"]),
    }
    if name not in functions:
        raise ValueError(f"command {name!r}: not known")
    return functions[name]()


KINDS = {
    "trigger": stavily.trigger("conformance", configure, check)(wake),
    "action": stavily.action("conformance", configure, check)(run),
    "output": stavily.output("conformance", configure, check)(deliver),
}

plugin = KINDS[KIND]  # noqa: F821
