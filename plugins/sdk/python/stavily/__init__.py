"""For writing Stavily plugins in Python.

A plugin is one of three things. A trigger is woken and answers with the events that
happened, the state to keep and when to be woken next. An action is run for an event and
answers with data. An output delivers a run. None of them loops by itself or sleeps: a
plugin is asked, and answers. The file main.py has one by the name plugin:

    import stavily

    class Config:
        name: str = "world"

    @stavily.action("hello", config=Config)
    def plugin(ctx, request):
        return {"text": f"hello, {ctx.config.name}"}

What a plugin wants of the machine it asks the host for, by the methods of Context; each
needs its permission in stavily-plugin.yaml. What it prints goes to its log.
"""

from ._asked import Event, Fired, Request, Wake
from ._context import Conn, Context
from ._errors import Error, Retryable
from ._plugin import Plugin, action, output, trigger
from ._text import duration, handle, whole

__all__ = [
    "Conn", "Context", "Error", "Event", "Fired", "Plugin", "Request", "Retryable", "Wake", "action", "duration",
    "handle", "output", "trigger", "whole",
]
