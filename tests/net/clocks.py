"""An agent whose clock is stepped; the clock of the machine is never touched."""

import glob
from pathlib import Path

from fleet import SHELL_LOOP
from waiting import check, equal, until

HOUR = 3600


def library():
    found = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
    check(found, "libfaketime is not there: install faketime")
    return found[0]


class Clock:
    """The clock of one process, by a file that it reads at every look at the time."""

    def __init__(self, mesh):
        self._file = mesh.directory / "clock"
        self.step(0)
        self.environment = {
            "LD_PRELOAD": library(),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def step(self, seconds):
        # Put in place at once: a file that is read while it is written would be another time.
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{seconds:+d}\n")
        fresh.rename(self._file)


def stepped_clock(mesh):
    observer = mesh.observer().start()
    clock = Clock(mesh)
    # Four others with good clocks: one agent alone is no reason to doubt the observer's own.
    others = [("web-1", "a"), ("web-2", "b"), ("db-1", "c"), ("db-3", "d")]
    for agent, unit in others:
        mesh.exec("web" if agent.startswith("web") else "db", agent, unit, *SHELL_LOOP)
    stepping = mesh.beat("db", "db-2", "stepping", environment=clock.environment)
    try:
        return judged(observer, clock, stepping, others)
    finally:
        # The library leaves its shared memory behind.
        for name in (f"faketime_shm_{stepping.pid}", f"sem.faketime_sem_{stepping.pid}"):
            Path("/dev/shm", name).unlink(missing_ok=True)


def judged(observer, clock, stepping, others):
    for agent, unit in [("db-2", "stepping"), *others]:
        observer.told(agent, unit, "up")

    step_and_back(observer, clock, HOUR, "from_future", "clock is (59|60) min ahead of ours")
    step_and_back(observer, clock, -HOUR, "stale", "sent (59|60) min ago by the sender's clock")
    stepping.runs()
    slot = observer.slot("db-2", "stepping")
    equal((slot["stalls"], slot["restarts"]), (2, 0), "stalls and restarts of the agent")
    for agent, unit in others:
        other = observer.slot(agent, unit)
        equal((other["verdict"], other["stalls"]), ("up", 0), f"{agent}/{unit} beside it")
    for kind in ("clock_suspect", "blind", "restarted", "unit_conflict"):
        equal(observer.event(kind=kind), None, f"an event {kind}")
    observer.conserves()
    return "an hour ahead, an hour behind, each stalled and up again"


def step_and_back(observer, clock, seconds, reason, why):
    since, before = observer.mark(), observer.metrics().rejected(reason)
    clock.step(seconds)
    observer.told("db-2", "stepping", "stalled", why=why, since=since)
    refusals = until(f"refusals as {reason}", lambda: observer.metrics().rejected(reason) - before)
    check(refusals >= 1, f"{refusals} refused as {reason}")
    observer.stays("db-2", "stepping", "stalled", 1.5)
    since = observer.mark()
    clock.step(0)
    observer.told("db-2", "stepping", "up", since=since)
    quiet = observer.metrics().rejected(reason)
    observer.stays("db-2", "stepping", "up", 2)
    equal(observer.metrics().rejected(reason), quiet, f"refusals as {reason} with the clock right again")

