"""Errors as they travel between plugin and host."""

from __future__ import annotations

TEXT_MAX = 1024  # bytes of an error's text


class Error(Exception):
    """An error with a code: of a host call that the host refuses, or of the plugin's own. The
    codes: plugin (trying again is of no use), retryable (it may be), denied (no grant),
    unavailable (not served now), not-found, limit (beyond a bound), deadline (took too long).
    Others may come: treat them as unavailable."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Retryable(Error):
    """An error that may go away when the host asks again: a busy device, a full disk."""

    def __init__(self, text: str) -> None:
        super().__init__("retryable", str(text))


def answered(error: BaseException) -> dict[str, str]:
    """What stands in an answer. Only two codes may: what the host was too busy for is worth
    another try, everything else is not."""
    code = code_of(error)
    text = str(error) or type(error).__name__
    return {"code": "retryable" if code in ("retryable", "unavailable") else "plugin", "text": clip(text)}


def code_of(error: BaseException | None) -> str:
    """The outermost code in the chain of causes."""
    for _ in range(16):
        if error is None:
            break
        if isinstance(error, Error):
            return error.code
        error = error.__cause__
    return "plugin"


def clip(text: str) -> str:
    """The text, cut to TEXT_MAX bytes without cutting a character."""
    data = text.encode("utf-8", "replace")
    if len(data) <= TEXT_MAX:
        return data.decode()
    return data[: TEXT_MAX - 3].decode("utf-8", "ignore") + "..."
