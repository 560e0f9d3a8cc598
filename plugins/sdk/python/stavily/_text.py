"""Numbers and texts as people write them."""

from __future__ import annotations

_UNITS = {"ns": 1e-9, "us": 1e-6, "\u00b5s": 1e-6, "\u03bcs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}


def duration(text: object) -> float:
    """Seconds of a length of time such as "30s", "1h30m" or "250ms"; ValueError for anything else."""
    if not isinstance(text, str):
        raise ValueError(f'duration {text!r}: want a string such as "30s"')
    rest = text.removeprefix("+")
    if rest == "0":
        return 0.0
    seconds, read = 0.0, bool(rest)
    while rest and read:
        number = rest[: len(rest) - len(rest.lstrip("0123456789."))]
        unit = rest[len(number) :]
        unit = unit[: len(unit) - len(unit.lstrip("nu\u00b5\u03bcmsh"))]
        read = unit in _UNITS and number.count(".") <= 1 and number not in ("", ".")
        if read:
            seconds += float(number) * _UNITS[unit]
            rest = rest[len(number) + len(unit) :]
    if not read:
        raise ValueError(f'duration "{text}": want a number with a unit, such as 30s, 5m or 250ms')
    return seconds


def milliseconds(seconds: float) -> int:
    """Whole milliseconds, rounded up, so that a wait is never too short."""
    ms = round(float(seconds or 0) * 1000, 6)
    return max(0, int(ms) + (ms > int(ms)))


def whole(number: float) -> float:
    """12 for 12.0: most languages do not tell them apart."""
    if isinstance(number, float) and number.is_integer() and abs(number) < 2**53:
        return int(number)
    return number


def handle(secret: str) -> str:
    """Stands for the value of a secret in an HTTP request that has it among its secrets."""
    return "${" + secret + "}"
