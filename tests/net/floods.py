"""Floods: what an attacker can send at full speed, and a hundred agents beside it that must not be wronged by it.

`docs/floods.md` says what each kind is, what is asserted, and what the columns of the table mean.
"""

import json
import math
import re
import socket
import struct
import subprocess
import threading
import time
from datetime import datetime

from hosts import address
from observer import LISTEN
from waiting import Failed, check, equal, until
from wire import BEAT, PORT, agent_id

GENUINE = 100
EVERY = 0.1
# Default misses and margin: the promise, one more that may be lost, and 250 ms.
SPAN = 2 * EVERY + 0.25
# What a busy machine may add to any time measured here, seconds.
NOISE = 0.5
# Losing that many beats in a row is then no accident: the core's own bound.
EXCUSE = 1e-6
# How far the share of what is lost may move between two looks at it.
SHARE_MOVES = 0.02
WATCHDOG = 4.0
# Resident memory that an observer may gain in a flood of any length, bytes: pages first touched, and the events kept.
MEMORY = 8 << 20
# And in the second half of it.
MEMORY_LATER = 2 << 20
SAMPLE = 0.2
# One that begins when the flood is on.
NEWCOMER = "newcomer"

_SO_TIMESTAMPNS = 35

# For each kind the reasons for which its datagrams may be refused.
KINDS = {
    "noise": {"bad_length", "bad_magic", "bad_version", "bad_kind"},
    "magic": {"unknown_audience"},
    "tag": {"auth_failure"},
    "announce": {"auth_failure"},
    "replay": {"replayed", "counter_too_old", "stale", "session_superseded"},
    "unknown": {"auth_failure", "shed"},
    "churn": {"slot_quota", "delayed", "stale"},
}
# One row of figures for each flood that passed.
rows = []


def names(count):
    return [f"genuine-{number:03}" for number in range(count)]


class Manager:
    """The service manager: hears the watchdog being fed."""

    def __init__(self, directory):
        self.path = directory / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        # The kernel says when each came: this thread may read it later.
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self.fed = []
        self.ready = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def environment(self):
        return {"NOTIFY_SOCKET": str(self.path), "WATCHDOG_USEC": str(int(WATCHDOG * 1e6))}

    def _listen(self):
        while True:
            try:
                text, control, _, _ = self._socket.recvmsg(4096, 64)
            except OSError:
                return
            words = text.decode().split("\n")
            if "WATCHDOG=1" in words:
                seconds, nanos = struct.unpack("@qq", control[0][2][:16])
                self.fed.append(seconds + nanos / 1e9)
            if "READY=1" in words:
                self.ready.set()

    def longest(self, since):
        """The longest time without its being fed, from the last time before `since` until now."""
        before = [at for at in self.fed if at <= since][-1:]
        times = before + [at for at in self.fed if at > since] + [time.time()]
        return max(later - earlier for earlier, later in zip(times, times[1:]))


class Agents:
    """The genuine ones, in one process on their own host."""

    def __init__(self, mesh, keys, seconds):
        argv = ["nice", "-n", "-15", mesh.bench, "agents", "--keys", str(keys), "--every", f"{int(EVERY * 1000)}ms",
                "--seconds", str(seconds)]
        with mesh.net.inside("web"), (mesh.directory / "agents.log").open("wb") as log:
            self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                                             text=True, bufsize=1)
        self._answer()

    def _answer(self):
        line = self._process.stdout.readline()
        if not line:
            raise Failed(f"the agents ended with {self._process.wait()}")
        return json.loads(line)

    def _ask(self, line):
        self._process.stdin.write(f"{line}\n")
        return self._answer()

    def counts(self):
        return self._ask("")

    def silence(self, name):
        """The instant of its last beat, seconds since the epoch."""
        return self._ask(name)["last_beat"]

    def goodbye(self):
        self._process.stdin.close()
        self._answer()
        equal(self._process.wait(timeout=20), 0, "the exit status of the agents")


class Sample:
    """Everything counted at an instant."""

    def __init__(self, observer, agents):
        self.metrics = observer.metrics()
        self.verdicts = {slot["agent"]: slot["verdict"] for slot in observer.slots(limit=1000).values()
                         if slot["agent"] in agents}
        status = open(f"/proc/{observer.process.pid}/status", encoding="ascii").read()
        udp = observer.kernel_counts("Udp")
        self.full = udp["RcvbufErrors"] + udp["MemErrors"]
        self.resident = int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024

    def count(self, name):
        # An observer that cannot filter has no count of it.
        return self.metrics.value(name, listener=LISTEN) or 0

    def beats(self, agents):
        return sum(self.metrics.value("varta_beats_total", agent=agent, unit="beat", pid="") or 0 for agent in agents)

    def stalls(self, agents):
        return {agent: self.metrics.value("varta_stalls_total", agent=agent, unit="beat", pid="") for agent in agents}

    def verdict(self, verdict):
        """How many of the genuine agents it is on."""
        return sum(found == verdict for found in self.verdicts.values())

    def blind(self):
        causes = ("gap", "clock", "restart", "drops")
        return {cause: self.metrics.value("varta_blind_seconds_total", cause=cause) or 0 for cause in causes}


def sent_by(mesh, observer):
    """What the observer's host has sent: UDP, ICMP, and anything at all on its cable."""
    return {"udp": observer.sent_datagrams(), "icmp": observer.kernel_counts("Icmp")["OutMsgs"],
            "cable": mesh.net.sent_packets("observer")}


def seconds_of(stamp):
    return datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()


def death_bound(event):
    """From a last beat to when it must have been told, by the loss that the verdict says it has weighed."""
    lost = re.search(r"the kernel dropped ([\d.]+) %", event["why"])
    share = min(float(lost[1]) / 100 + SHARE_MOVES, 0.9999) if lost else 0.0
    excused = math.floor(math.log(EXCUSE) / math.log(share)) if share else 0
    return max(SPAN, (excused + 1) * EVERY) + EVERY + NOISE


class Flood:
    """One kind of flood on an observer, beside the genuine."""

    def __init__(self, mesh, kind, seconds):
        self.mesh, self.kind, self.seconds = mesh, kind, seconds
        deaths = max(2, seconds // 12)
        self.living, self.dying = names(GENUINE + deaths)[:GENUINE], names(GENUINE + deaths)[GENUINE:]
        self.all = self.living + self.dying
        self.samples, self.deaths = [], {}  # every `SAMPLE` seconds; last beats by agent

    def prepare(self):
        mesh = self.mesh
        with mesh.net.inside("observer"):
            # Without this the host asks for routers, and what is on its cable says nothing.
            with open("/proc/sys/net/ipv6/conf/all/disable_ipv6", "w", encoding="ascii") as file:
                file.write("1")
        fleet, self.newcomer = mesh.keys.fleet(self.all), mesh.keys.fleet([NEWCOMER], NEWCOMER)
        self.manager = Manager(mesh.directory)
        # Without a roster a stranger costs an observer most.
        self.observer = mesh.observer()
        del self.observer.sections["observer"]["roster_file"]
        self.observer.environment = self.manager.environment()
        self.observer.start()
        check(self.manager.ready.wait(20), "the service manager is not told that the observer is ready")
        tap = mesh.tap()
        self.agents = Agents(mesh, fleet, self.seconds + 120)
        until("all genuine agents are up", lambda: self.sample().verdict("up") == len(self.all))
        ids = {agent_id(agent) for agent in self.living}
        seen = {}
        until("a beat of each was sniffed", lambda: seen.update(
            {one.agent: one for one in tap.listen() if one.agent in ids and one.kind == BEAT}) or len(seen) == len(ids))
        tap.close()
        self.frames = [one.payload.hex() for one in seen.values()]
        mesh.net.only_to_observer()
        time.sleep(1)

    def argv(self):
        argv = [self.mesh.bench, "flood", "--kind", self.kind, "--to", f"{address('observer')}:{PORT}",
                "--seconds", str(self.seconds)]
        if self.kind in ("tag", "announce"):
            argv += [word for frame in self.frames for word in ("--frame", frame)]
        if self.kind in ("replay", "unknown"):
            argv += ["--frame", self.frames[0]]
        if self.kind == "churn":
            argv += ["--key", self.mesh.keys.fleet(["churner"], "churner") / "churner.agent.key"]
        return argv

    def run(self):
        self.before, self.sent = self.sample(), self.agents.counts()
        self.host_sent = sent_by(self.mesh, self.observer)
        self.since, self.began, self.began_at = self.observer.mark(), time.monotonic(), time.time()
        flood = self.mesh.program("attacker", *self.argv())
        # The first dies when the flood is at its height, the last early enough to be told while it lasts.
        apart = 0.5 * self.seconds / len(self.dying)
        times = [self.began + 0.2 * self.seconds + apart * number for number in range(len(self.dying))]
        newcomer = None
        while flood.process.poll() is None:
            if newcomer is None and time.monotonic() > self.began + 0.1 * self.seconds:
                self.came = time.time()
                newcomer = Agents(self.mesh, self.newcomer, self.seconds + 120)
            check(time.monotonic() < self.began + self.seconds + 30, "the flood does not end")
            if times and time.monotonic() > times[0]:
                victim = self.dying[len(self.deaths)]
                self.deaths[victim] = self.agents.silence(victim)
                times.pop(0)
            self.samples.append(self.sample())
            time.sleep(SAMPLE)
        flood.ended(0)
        self.flood = json.loads(flood.log.read_text())
        # The queue is read to its end, and the genuine tell of what was dropped last.
        time.sleep(0.5)
        self.after, self.sent_after = self.sample(), self.agents.counts()
        equal(times, [], "deaths that were to come yet")

    def told(self):
        """For each death: from the last beat to the verdict, as it was heard, and how late that was."""
        told, late = [], []
        for victim, last in self.deaths.items():
            event = until(f"the death of {victim} is told", lambda victim=victim: self.observer.event(
                self.since, agent=victim, kind="verdict", to="stalled"), limit=60)
            bound = death_bound(event)
            took = event["heard"] - last
            check(took <= bound, f"{victim} was told {took:.3f} s after its last beat, not {bound:.3f} s: {event}")
            check(seconds_of(event["at"]) > last, f"{victim} was told stalled while it still beat: {event}")
            told.append(took)
            late.append(event["late_us"] / 1e6)
        return max(told), max(late)

    def welcomed(self):
        """How long the newcomer beat before it was told of."""
        # Where its announce was lost it has no name yet.
        known = (NEWCOMER, f"{agent_id(NEWCOMER):016x}")

        def told(wanted, value):
            events = self.observer.events[self.since:]
            return [event for event in events if event["agent"] in known and event[wanted] == value]

        new = until("the newcomer is told of", lambda: told("kind", "new"))
        equal(told("to", "stalled"), [], "what was told of the newcomer")
        return new[0]["heard"] - self.came

    def judge(self):
        told, late = self.told()
        end = self.sample()
        gap = self.sent_after["longest_gap_ms"] / 1000
        slow = f"; the agents themselves once paused for {gap:.3f} s, the machine is too busy" if gap > SPAN else ""
        stalls = {agent: count for agent, count in end.stalls(self.living).items() if count != 0}
        equal(stalls, {}, f"stalls of living agents{slow}")
        accused = [event for event in self.observer.events[self.since:]
                   if event["agent"] in self.living and event["to"] in ("stalled", "departed", "critical")]
        equal(accused, [], f"what was told of living agents{slow}")
        until("every living agent is up again", lambda: self.sample().verdict("up") == len(self.living), limit=10)
        equal(end.stalls(self.dying), dict.fromkeys(self.dying, 1), "stalls of those that died")
        check(late <= NOISE, f"a verdict came {late:.3f} s after its deadline")

        equal(sent_by(self.mesh, self.observer), self.host_sent, "what the observer's host has sent")
        self.observer.conserves()
        check(self.observer.process.poll() is None, "the observer has ended")
        longest = self.manager.longest(self.began_at)
        check(longest <= WATCHDOG, f"the watchdog was not fed for {longest:.3f} s of {WATCHDOG} s")
        welcomed = self.welcomed()
        self.judge_refusals()
        grown = self.judge_memory()
        self.agents.goodbye()
        return self.row(told, late, grown, longest, welcomed)

    def sample(self):
        return Sample(self.observer, self.all)

    def grown(self, count):
        return self.after.count(count) - self.before.count(count)

    def judge_refusals(self):
        before, after = self.before.metrics.rejects(), self.after.metrics.rejects()
        grown = {reason: count - before.get(reason, 0) for reason, count in after.items()}
        self.refused = {reason: count for reason, count in grown.items() if count}
        # Where the machine kept the observer from reading for a while, genuine beats waited in its queue for as long.
        gap = self.after.blind()["gap"] - self.before.blind()["gap"]
        unexpected = set(self.refused) - KINDS[self.kind] - ({"delayed"} if gap else set())
        equal(unexpected, set(), f"reasons that this flood does not explain, of {self.refused}")
        check(self.flood["per_second"] > 10_000, f"a flood of {self.flood['per_second']} datagrams a second")
        dropped, full = self.grown("varta_kernel_drops_total"), self.after.full - self.before.full
        check(abs(dropped - full) <= max(1000, full / 50), f"the observer knows of {dropped} drops, not of {full}")
        read, sent = self.grown("varta_datagrams_received_total"), self.flood["sent"]
        seen = read + dropped + self.grown("varta_kernel_filtered_total")
        check(seen >= 0.95 * sent, f"of {sent} datagrams and the genuine the observer knows of {seen}")

    def judge_memory(self):
        grown = self.after.resident - self.before.resident
        check(grown <= MEMORY, f"resident memory grew by {grown} bytes")
        later = self.after.resident - self.samples[len(self.samples) // 2].resident
        check(later <= MEMORY_LATER, f"resident memory grew by {later} bytes in the second half")
        return grown

    def row(self, told, late, grown, longest, welcomed):
        took = self.flood["seconds"]
        genuine = self.after.beats(self.all) - self.before.beats(self.all)
        sent = self.sent_after["sent"] - self.sent["sent"]
        # Less the newcomer's, which are few.
        received = self.grown("varta_datagrams_received_total") - genuine
        unknown = sum(sample.verdict("unknown") for sample in self.samples) / len(self.samples) / len(self.all)
        blind = {cause: round(seconds - self.before.blind()[cause], 1)
                 for cause, seconds in self.after.blind().items() if seconds > self.before.blind()[cause]}
        dropped, filtered = self.grown("varta_kernel_drops_total"), self.grown("varta_kernel_filtered_total")
        rows.append({
            "flood": self.kind, "seconds": round(self.flood["seconds"]), "sent/s": round(self.flood["per_second"]),
            "read/s": round(received / took), "dropped": f"{dropped / max(1, received + genuine + dropped):.2%}",
            "filtered/s": round(filtered / took), "genuine": f"{genuine / sent:.2%}", "unknown": f"{unknown:.2%}",
            "deaths": len(self.deaths), "told ms": round(told * 1000), "late ms": round(late * 1000, 1),
            "new ms": round(welcomed * 1000), "grown KiB": grown >> 10, "unfed ms": round(longest * 1000),
            "blind": " ".join(f"{cause} {seconds}" for cause, seconds in blind.items()) or "0",
        })
        return (f"{self.flood['sent']} sent, {int(received)} read, {int(dropped)} dropped, {int(filtered)} filtered, "
                f"refused {self.refused}; {genuine / sent:.2%} of the genuine accepted, {unknown:.2%} unknown; "
                f"deaths told {told:.3f} s after the last beat at most")


def table():
    """The figures of all floods so far."""
    if not rows:
        return ""
    heads = list(rows[0])
    lines = [heads, *([str(row[head]) for head in heads] for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(heads))]
    return "\n".join("  ".join(word.rjust(width) for word, width in zip(line, widths)) for line in lines)


def scenario(kind):
    def flood(mesh):
        one = Flood(mesh, kind, mesh.flood_seconds)
        one.prepare()
        one.run()
        return one.judge()
    flood.__name__ = f"flood_{kind}"
    return flood


SCENARIOS = [scenario(kind) for kind in KINDS]
