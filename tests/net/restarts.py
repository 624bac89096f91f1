"""An observer that is killed, or stopped, and started again on the same state."""

import signal
import time

from attacks import accepted_all, newest_beat, refused
from fleet import SHELL_LOOP
from waiting import check, equal, until


def population(mesh, observer):
    """Five units that live, one that said goodbye, and one that has stalled."""
    living = [("web-1", "a"), ("web-2", "b"), ("db-1", "c"), ("db-2", "d"), ("db-3", "doomed")]
    programs = {}
    for agent, unit in living:
        host = "web" if agent.startswith("web") else "db"
        programs[agent, unit] = mesh.exec(host, agent, unit, *SHELL_LOOP)
    leaving = mesh.exec("web", "web-1", "leaving", *SHELL_LOOP)
    dying = mesh.exec("web", "web-1", "dying", *SHELL_LOOP)
    for agent, unit in [*living, ("web-1", "leaving"), ("web-1", "dying")]:
        observer.told(agent, unit, "up")
    leaving.signal(signal.SIGTERM)
    leaving.ended(128 + signal.SIGTERM)
    dying.signal(signal.SIGKILL)
    observer.told("web-1", "leaving", "departed")
    observer.told("web-1", "dying", "stalled")
    return programs


def blind_seconds(observer):
    return observer.metrics().value("varta_blind_seconds_total", cause="restart")


def crash(mesh):
    observer = mesh.observer().start()
    tap = mesh.tap()
    programs = population(mesh, observer)
    captured = newest_beat(tap, "db-1", 2) + newest_beat(tap, "db-3", 2)
    accepted_all(observer, tap, "db-1")
    accepted_all(observer, tap, "db-3")
    lines, since = len(observer.log()), observer.mark()

    observer.kill()
    doomed = programs.pop(("db-3", "doomed"))
    doomed.signal(signal.SIGKILL)
    doomed.ended(-signal.SIGKILL)
    time.sleep(0.5)
    observer.start()
    slots = observer.slots()
    equal(slots["web-1", "leaving"]["verdict"], "departed", "a unit that had said goodbye before the crash")
    equal(slots["web-1", "dying"]["verdict"], "stalled", "a unit that had stalled before the crash")
    equal(slots["db-3", "doomed"]["verdict"], "unknown", "a unit that nobody can have heard since the crash")
    refused_after_crash(observer, tap, captured)

    event = until("the blindness is told", lambda: observer.event(since, kind="blind", cause="restart"))
    check(event["slots"] >= 5, f"slots unknown for the restart: {event['slots']}")
    check(observer.logged("the observer could not see", level="WARN", since=lines), "the log does not tell the blindness")
    for agent, unit in programs:
        event = observer.told(agent, unit, "up", since=since)
        equal((event["kind"], event["from"]), ("verdict", "unknown"), f"how {agent}/{unit} came up by itself")
    until("the observer sees again", lambda: observer.event(since, kind="sighted", cause="restart"))
    observer.told("db-3", "doomed", "stalled", since=since)
    stalled = {(event["agent"], event["unit"]) for event in observer.events[since:] if event["to"] == "stalled"}
    equal(stalled, {("db-3", "doomed")}, "who was told stalled after the crash")
    slots = observer.slots()
    for agent, unit in programs:
        equal((slots[agent, unit]["stalls"], slots[agent, unit]["restarts"]), (0, 0), f"{agent}/{unit} after the crash")
    equal(slots["web-1", "dying"]["stalls"], 1, "stalls from before the crash")
    blind = blind_seconds(observer)
    check(blind > 0, "no blindness was counted")
    observer.conserves()
    return f"{len(programs)} up by themselves, 1 accused rightly, {blind:.1f} s blind"


def refused_after_crash(observer, tap, captured):
    """Frames from before the crash bring nothing up."""
    before = observer.metrics()
    for one in captured:
        tap.replay(one)
    reasons = ("before_barrier", "stale", "replayed", "delayed")

    def grown(after):
        return sum(after.rejected(reason) - before.rejected(reason) for reason in reasons)

    until("the replays are refused", lambda: grown(observer.metrics()) >= len(captured))
    check(observer.metrics().rejected("before_barrier") > 0, "no frame was refused for the barrier")
    equal(observer.slot("db-3", "doomed")["verdict"], "unknown", "the verdict on the dead after its frames' replay")


def clean_stop(mesh):
    observer = mesh.observer().start()
    tap = mesh.tap()
    programs = population(mesh, observer)
    captured = newest_beat(tap, "db-1", 2)
    accepted_all(observer, tap, "db-1")
    blind, lines, since = blind_seconds(observer), len(observer.log()), observer.mark()

    observer.stop()
    before = time.monotonic()
    check(observer.logged("^stopped$", since=lines), "the log does not tell the stop")
    doomed = programs.pop(("db-3", "doomed"))
    doomed.signal(signal.SIGKILL)
    doomed.ended(-signal.SIGKILL)
    time.sleep(1.5)
    observer.start()
    out = time.monotonic() - before
    slots = observer.slots()
    equal(slots["web-1", "leaving"]["verdict"], "departed", "a unit that had said goodbye before the stop")
    equal((slots["web-1", "dying"]["verdict"], slots["web-1", "dying"]["stalls"]), ("stalled", 1), "a stalled unit")
    check(slots["db-1", "c"]["beats"] > 1, f"beats from before the stop are lost: {slots['db-1', 'c']}")
    equal(slots["db-1", "c"]["labels"]["site"], "fra", "a label after the restart")
    refused(observer, "a frame from before the stop", lambda: [tap.replay(one) for one in captured], replayed=2)
    observer.told("db-3", "doomed", "stalled", since=since)
    for agent, unit in programs:
        observer.told(agent, unit, "up", since=since)
    stalled = {(event["agent"], event["unit"]) for event in observer.events[since:] if event["to"] == "stalled"}
    equal(stalled, {("db-3", "doomed")}, "who was told stalled after the stop")
    grown = blind_seconds(observer) - blind
    check(1.5 <= grown <= out + 5, f"blind for {grown:.1f} s in an absence of {out:.1f} s")
    observer.conserves()
    return f"nothing lost over a stop of {out:.1f} s"
