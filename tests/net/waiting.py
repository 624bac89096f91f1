"""Waiting on conditions, and what it means when they do not come true."""

import time

PAUSE = 0.05


class Failed(Exception):
    """Something that had to be so is not."""


def check(condition, what):
    if not condition:
        raise Failed(what)


def equal(found, expected, what):
    if found != expected:
        raise Failed(f"{what}: {found!r} instead of {expected!r}")


def until(what, condition, limit=30.0):
    """Waits until `condition()` gives something true, and returns that. A `Failed` that it raises means: not yet."""
    end = time.monotonic() + limit
    while True:
        last = ""
        try:
            found = condition()
            if found:
                return found
        except Failed as failed:
            last = f" ({failed})"
        if time.monotonic() > end:
            raise Failed(f"not within {limit:.0f} s: {what}{last}")
        time.sleep(PAUSE)
