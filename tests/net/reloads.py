"""SIGHUP: configuration and roster taken over at once, or refused whole and said so."""

import re
import shutil
import signal

from attacks import refused
from fleet import SHELL_LOOP
from waiting import check, equal, until


def reload(mesh):
    roster = mesh.directory / "roster.toml"
    shutil.copy(mesh.keys.roster, roster)
    observer = mesh.observer(observer={"roster_file": str(roster)}).start()
    mesh.exec("web", "web-1", "stays", *SHELL_LOOP)
    dying = mesh.exec("web", "web-2", "dying", *SHELL_LOOP)
    mesh.exec("db", "db-1", "revoked", *SHELL_LOOP)
    for agent, unit in [("web-1", "stays"), ("web-2", "dying"), ("db-1", "revoked")]:
        observer.told(agent, unit, "up", why="the deadline is 2250 ms after it")

    thresholds(mesh, observer, dying)
    newcomer(mesh, observer, roster)
    revocation(observer, roster)
    broken(mesh, observer, roster)
    equal(observer.slot("web-1", "stays")["stalls"], 0, "stalls of a unit that lived through all of it")
    equal(observer.event(agent="web-1", unit="stays", kind="verdict"), None, "an event of it")
    observer.conserves()
    return "settings and roster taken live, a revocation at once, three mistakes refused"


def reloaded(observer, *patterns, level="INFO"):
    """Sends SIGHUP and waits for these lines in the log."""
    since = len(observer.log())
    observer.reload()
    for pattern in patterns:
        line = until(f"the log says {pattern!r}", lambda text=pattern: observer.logged(text, since=since))
        equal(line["level"], level, f"the level of {line['message']!r}")


def thresholds(mesh, observer, dying):
    observer.sections["stall"].update(misses=3, threshold="7s")
    observer.sections["acceptance"] = {"skew": "4s"}
    observer.write()
    since = len(observer.log())
    reloaded(observer, r"in force now: stall\.misses: 2 -> 3", r"in force now: stall\.threshold: .*7s", "are in force")
    waits = observer.logged(r"waits for a restart: acceptance\.skew", level="WARN", since=since)
    check(waits, "the log does not say that the skew waits for a restart")
    until("the promise has its new deadline", lambda: "the deadline is 3250 ms after it" in why(observer, "web-2/dying"))
    dying.signal(signal.SIGKILL)
    observer.told("web-2", "dying", "stalled", why="2 more that may be lost")
    equal(mesh.run("db", mesh.varta, "beat", "--key", mesh.keys.file("db-2"), "--unit", "silent")[0], 0, "`varta beat`")
    until("a sender without a promise has the new threshold",
          lambda: "threshold of 7000 ms" in why(observer, "db-2/silent"))


def why(observer, place):
    return observer.slots().get(tuple(place.split("/")), {"why": ""})["why"]


def newcomer(mesh, observer, roster):
    """An agent that the roster does not name is a stranger until a new roster names it."""
    mesh.keys.issue("late-1", label="site=osl")
    refused(observer, "an agent that the roster does not name", lambda: equal(
        mesh.run("db", mesh.varta, "beat", "--key", mesh.keys.file("late-1"), "--unit", "job", "--count", "2")[0], 0,
        "`varta beat`"), unknown_agent=2)
    roster.unlink()
    mesh.keys.write_roster(roster)
    reloaded(observer, "are in force")
    mesh.beat("db", "late-1", "job")
    observer.told("late-1", "job", "up")
    equal(observer.slot("late-1", "job")["labels"]["site"], "osl", "a label of the new roster")


def version(text):
    return int(re.search(r"(?m)^version = (\d+)$", text)[1])


def revocation(observer, roster):
    text = roster.read_text()
    text = re.sub(r"(?m)^version = \d+$", f"version = {version(text) + 1}", text)
    text = text.replace('name = "db-1"\n', 'name = "db-1"\nrevoked = [1]\n')
    roster.write_text(text)
    since, before = observer.mark(), observer.metrics().rejected("revoked")
    reloaded(observer, "are in force")
    observer.told("db-1", "revoked", "departed", why="revoked", since=since)
    until("an event of the revocation", lambda: observer.event(since, kind="revoked", agent="db-1"))
    until("its beats are refused", lambda: observer.metrics().rejected("revoked") > before)


def broken(mesh, observer, roster):
    """What is wrong changes nothing, not even the part that is right."""
    refusal = "reload refused, everything stays as it was: "
    good = observer.config.read_text()
    observer.config.write_text(good.replace("misses = 3", "misses = 9\nmargn = \"1s\""))
    reloaded(observer, refusal + r".*observer\.toml.*margn.*margin", level="WARN")
    observer.config.write_text(good.replace("misses = 3", "misses = 9").replace("roster.toml", "no-such.toml"))
    reloaded(observer, refusal + r".*no-such\.toml", level="WARN")
    observer.config.write_text(good.replace("misses = 3", "misses = 9"))
    shutil.copy(mesh.keys.roster, roster)
    reloaded(observer, refusal + r".*roster\.toml: is version", level="WARN")
    until("the promise still has its deadline", lambda: "the deadline is 3250 ms after it" in why(observer, "web-1/stays"))
    equal(observer.slot("db-1", "revoked")["verdict"], "departed", "the revoked unit after a roster of before")
