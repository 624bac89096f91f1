"""An attacker who sees every datagram, sends any bytes from any address, and can hold frames back."""

import random
import signal
import time

from fleet import SHELL_LOOP
from mesh import Keys
from observer import STATUS
from waiting import check, equal, until
from wire import BEAT, BEAT_LENGTH

ELSEWHERE = "10.77.0.66"
# Reason by bit of a sealed beat, for the bits that are judged before the tag is: all others are `auth_failure`.
HEADER_BITS = {
    "bad_magic": range(0, 16),
    "bad_version": range(16, 24),
    "bad_kind": range(24, 32),
    "unknown_audience": range(32, 64),
    "unknown_agent": range(64, 128),
    "counter_range": range(42 * 8, 44 * 8),
}


def refused(observer, what, send, **expected):
    """Sends, and waits until exactly so many datagrams more are refused for exactly these reasons."""
    before = observer.metrics().rejects()
    send()

    def counted():
        after = observer.metrics().rejects()
        grown = {reason: count - before.get(reason, 0) for reason, count in after.items()}
        grown = {reason: count for reason, count in grown.items() if count}
        return grown if sum(grown.values()) >= sum(expected.values()) else None

    equal(until(f"{what} is counted", counted), expected, f"how {what} is refused")
    observer.conserves()


def attacker(mesh):
    observer = mesh.observer(log={"level": "debug"}).start()
    genuine = [("web-1", "api"), ("web-2", "loop"), ("db-1", "store"), ("db-2", "tick")]
    tap = mesh.tap()
    mesh.exec("web", "web-1", "api", *SHELL_LOOP)
    mesh.exec("web", "web-2", "loop", *SHELL_LOOP)
    mesh.exec("db", "db-1", "store", *SHELL_LOOP)
    began = time.monotonic()
    mesh.beat("db", "db-2", "tick")
    for agent, unit in genuine:
        observer.told(agent, unit, "up")
    sent_before = observer.sent_datagrams()

    replays(observer, tap)
    flipped, cut_off = damage(observer, tap)
    forgeries(mesh, observer, tap)
    superseded(mesh, observer, tap)
    rotation(observer, tap, began)

    for agent, unit in genuine:
        slot = observer.slot(agent, unit)
        equal((slot["verdict"], slot["stalls"], slot["restarts"]), ("up", 0, 0), f"{agent}/{unit} after all of this")
        equal(observer.metrics().value("varta_status", agent=agent, unit=unit, pid=""), STATUS["up"], "varta_status")
        equal(observer.event(agent=agent, unit=unit, kind="verdict"), None, f"a change of {agent}/{unit}")
    equal(observer.sent_datagrams(), sent_before, "datagrams that the observer's host has sent")
    metrics = observer.conserves()
    check(metrics.rejected("auth_failure") == refusals_logged(observer, "auth_failure"), "refusals in the log")
    return f"{flipped} flipped bits, {cut_off} other lengths, {sum(metrics.rejects().values())} datagrams refused"


def refusals_logged(observer, reason):
    return sum(line.get("reason") == reason for line in observer.log())


def newest_beat(tap, agent, count=1):
    """The newest beats seen of an agent, waiting until there are so many in one session."""
    def there():
        beats = tap.of(agent, BEAT)
        beats = [beat for beat in beats if beat.session == beats[-1].session]
        return beats[-count:] if len(beats) >= count else None
    return until(f"{count} beats of {agent} are on the wire", there)


def accepted_all(observer, tap, agent):
    """Waits until the observer has judged what was seen of an agent."""
    seen = len(tap.of(agent))
    until(f"{seen} datagrams of {agent} are accepted",
          lambda: sum(slot["beats"] for slot in observer.slots().values() if slot["agent"] == agent) >= seen)


def replays(observer, tap):
    beats = newest_beat(tap, "db-2", 3)
    accepted_all(observer, tap, "db-2")
    refused(observer, "a replay", lambda: [tap.replay(beat) for beat in beats], replayed=3)
    refused(observer, "a replay from elsewhere",
            lambda: [tap.send(beat.payload, ELSEWHERE, 4444) for beat in beats], replayed=3)
    line = until("the log names the replay", lambda: next(
        (line for line in observer.log() if line.get("reason") == "replayed" and ELSEWHERE in line.get("from", "")), None))
    equal(line["level"], "DEBUG", "the level of a refusal")


def damage(observer, tap):
    """Every bit of a beat flipped, and every other length."""
    beat = newest_beat(tap, "db-1")[0].payload
    expected = {reason: len(bits) for reason, bits in HEADER_BITS.items()}
    expected["auth_failure"] = BEAT_LENGTH * 8 - sum(expected.values())

    def flip():
        for bit in range(BEAT_LENGTH * 8):
            flipped = bytearray(beat)
            flipped[bit // 8] ^= 1 << bit % 8
            tap.send(bytes(flipped), port=41000 + bit)
            if bit % 100 == 99:
                time.sleep(0.01)

    refused(observer, "a flipped bit", flip, **expected)
    lengths = [*range(BEAT_LENGTH), BEAT_LENGTH + 1, 400, 1200, 1201, 1400]
    texts = [(beat + bytes(1400))[:length] for length in lengths]
    refused(observer, "another length", lambda: [tap.send(text, ELSEWHERE) for text in texts],
            bad_length=len(lengths))
    garbage = random.Random(1)
    refused(observer, "garbage", lambda: [tap.send(b"\0" + garbage.randbytes(199)) for _ in range(50)], bad_magic=50)
    return BEAT_LENGTH * 8, len(lengths)


def forgeries(mesh, observer, tap):
    # A beat for another observer, sent to this one.
    for_other = mesh.keys.issue("db-3", audience="obs-2", file=mesh.directory / "db-3.obs-2.key")
    equal(mesh.run("db", mesh.varta, "beat", "--key", for_other)[0], 0, "`varta beat` to the other observer")
    taken = until("the beat for the other observer is on the wire", lambda: tap.of("db-3"))
    refused(observer, "a beat for another observer",
            lambda: [tap.send(one.payload, one.source) for one in taken], unknown_audience=len(taken))
    # A fleet of the attacker's own, with the same names and so the same numbers.
    forged = Keys(mesh.varta, mesh.directory / "forged").file("web-1")
    seen = len(tap.of("web-1"))

    def forge():
        equal(mesh.run("attacker", mesh.varta, "beat", "--key", forged, "--unit", "api", "--count", "5")[0], 0, "beat")

    refused(observer, "a forgery", forge, auth_failure=5)
    check(all(one.source != "10.77.0.3" for one in tap.of("web-1")[:seen]), "the attacker is taken for an agent")


def superseded(mesh, observer, tap):
    """Frames of a session two sessions ago, from a process that has ended."""
    for life in range(1, 4):
        equal(mesh.run("db", mesh.varta, "beat", "--key", mesh.keys.file("db-3"), "--unit", "job")[0], 0, "`varta beat`")
        until("the beat is accepted", lambda life=life: observer.slot("db-3", "job")["beats"] >= life)
    sessions = {}
    for one in tap.of("db-3"):
        if one.target == "10.77.0.5":
            sessions.setdefault(one.session, one)
    equal(len(sessions), 3, "sessions of three processes")
    oldest = sessions[min(sessions)]
    refused(observer, "a frame of a session long over", lambda: tap.replay(oldest), session_superseded=1)
    equal(observer.slot("db-3", "job")["restarts"], 2, "restarts of a job that ran three times")


def rotation(observer, tap, began):
    """A process's first session lasts 15 s; right after it, its newest frame is sent once more."""
    def first_two():
        sessions = sorted({one.session for one in tap.of("db-2")})
        return sessions if len(sessions) == 2 else None

    old, _ = until("the session is renewed", first_two, limit=25)
    check(time.monotonic() - began > 14, "a first session of less than 15 s")
    last = [one for one in tap.of("db-2") if one.session == old][-1]
    accepted_all(observer, tap, "db-2")
    refused(observer, "a frame of the session before", lambda: tap.replay(last), replayed=1)


# -- withheld -----------------------------------------------------------------------------------------------------


def withheld(mesh):
    """Frames that never arrived, released when their sender is dead: they must not bring it back."""
    observer = mesh.observer().start()
    tap = mesh.tap()
    victim = mesh.exec("web", "web-1", "victim", *SHELL_LOOP, every="500ms")
    others = [("db-1", "a"), ("db-2", "b"), ("db-3", "c")]
    for agent, unit in others:
        mesh.beat("db", agent, unit)
    for agent, unit in [("web-1", "victim"), *others]:
        observer.told(agent, unit, "up")

    since = observer.mark()
    mesh.net.part("web", "observer")
    cut_at = len(tap.of("web-1"))
    held = until("six frames are withheld", lambda: more_than(tap.of("web-1")[cut_at:], 5))
    victim.signal(signal.SIGKILL)
    victim.ended(-signal.SIGKILL)
    died = time.monotonic()
    observer.told("web-1", "victim", "stalled", why="the deadline is 1250 ms after it", since=since)
    beats = observer.slot("web-1", "victim")["beats"]

    until_age(died, 2)
    refused(observer, "a frame held back for 2 s", lambda: tap.replay(held[-1]), delayed=1)
    told_so = observer.slot("web-1", "victim")
    equal(told_so["verdict"], "stalled", "the verdict after a delayed frame")
    check("held back" in told_so["why"], f"the delayed frame is not in {told_so['why']!r}")
    until_age(died, 8)
    refused(observer, "frames held back for 8 s", lambda: [tap.replay(one) for one in held], stale=len(held))
    observer.stays("web-1", "victim", "stalled", 1)
    told_so = observer.slot("web-1", "victim")
    equal((told_so["beats"], told_so["stalls"]), (beats, 1), "beats and stalls of the dead agent")
    check("the last as stale" in told_so["why"], f"the stale frames are not in {told_so['why']!r}")
    equal([event["to"] for event in observer.events[since:] if event["agent"] == "web-1"], ["stalled"], "its events")
    for agent, unit in others:
        slot = observer.slot(agent, unit)
        equal((slot["verdict"], slot["stalls"]), ("up", 0), f"{agent}/{unit} beside it")
    observer.conserves()
    return f"{len(held)} frames withheld; refused as delayed, then as stale; the dead stay dead"


def more_than(found, least):
    return found if len(found) > least else None


def until_age(since, seconds):
    time.sleep(max(0.0, since + seconds - time.monotonic()))
