"""Our agents before the published observer, and our observer in its place."""

import subprocess

from agents import Agent, Beating
from observers import Observer, Published
from waiting import check, equal, until

# Type and help of these are a promise.
FAMILIES = ("varta_beats_total", "varta_stalls_total", "varta_status")
# What a recovery command is here: it notes its last argument.
RECOVERY = '#!/bin/sh\necho "$@" >> "$0.ran"\n'


def ours_before_published(programs, directory):
    observer = Published(programs, directory, threshold_ms=1000)
    agents, heard = [], 0
    try:
        observer.start()
        for status, payload in (("ok", 7), ("degraded", 42), ("critical", 9)):
            agent = Beating(programs, observer.socket, "--status", status, "--payload", payload)
            agents.append(agent)
            until(f"{status} beats are heard", lambda: len(observer.rows(agent.pid, "beat")) > 3)
            agent.stop()
            until(f"the {status} one, which is silent now, is told as stalled", lambda: observer.rows(agent.pid, "stall"))
            beats = observer.rows(agent.pid, "beat")
            equal({(row.status, row.payload) for row in beats}, {(status, str(payload))}, "what the beats say")
            nonces = [int(row.nonce) for row in beats]
            check(nonces[0] == 1 and nonces == sorted(set(nonces)), f"nonces rise from 1: {nonces}")
            equal(observer.rows(agent.pid, "stall")[0].nonce, beats[-1].nonce, "the last nonce before the stall")
            equal(observer.sample("varta_beats_total", agent.pid), len(beats), "varta_beats_total")
            equal(observer.sample("varta_stalls_total", agent.pid), 1, "varta_stalls_total")
            equal(observer.sample("varta_status", agent.pid), 3, "varta_status")
            heard += len(beats)
        equal([row for row in observer.rows() if row.kind not in ("beat", "stall")], [], "what it refused")
        observer.stop()
        return f"{heard} beats of 3 statuses, and 3 stalls"
    finally:
        observer.close()
        for agent in agents:
            agent.close()


class Linked(Observer):
    """Our program by the published name."""

    def __init__(self, programs, directory, threshold_ms):
        link = directory / "varta-watch"
        directory.mkdir(exist_ok=True)
        link.symlink_to(programs.varta)
        super().__init__([link], directory, threshold_ms)


def with_recovery(side):
    """The flags of the published README that an observer here does not have anyway, and one that ends it should this
    script not."""
    command = side.directory / "restart"
    command.write_text(RECOVERY)
    command.chmod(0o755)
    side.argv += ["--recovery-exec", f"{command} {{pid}}", "--recovery-debounce-ms", "5000", "--recovery-timeout-ms", "3000",
                  "--read-timeout-ms", "100", "--socket-mode", "0600", "--shutdown-after-secs", "300"]
    return side.directory / "restart.ran"


def in_its_place(programs, directory):
    """Both take the same command line and hear the same beats."""
    sides = [kind(programs, directory / kind.__name__, threshold_ms=1000) for kind in (Linked, Published)]
    agents, seen = [], []
    try:
        for side in sides:
            ran = with_recovery(side)
            side.start()
            equal(side.socket.stat().st_mode & 0o777, 0o600, "the mode of the socket")
            agent = Agent(programs, "python", side.socket, side.directory / "agent.log")
            agents.append(agent)
            agent.beats(("ok", 7), ("degraded", 42))
            until("the stall", lambda: side.rows(agent.pid, "stall") and side.sample("varta_stalls_total", agent.pid))
            until("the recovery command runs", ran.exists)
            until("it is given the pid", lambda: ran.read_text() == f"{agent.pid}\n")
            seen.append(Seen(side, agent.pid))
            side.stop()
    finally:
        for agent in agents:
            agent.close()
        for side in sides:
            side.close()
    ours, published = seen
    equal(ours.families, published.families, "name, help and type of the published families")
    equal(ours.samples, published.samples, "their samples")
    equal(ours.beats, published.beats, "the columns of beats")
    # It writes no payload; ours has that of the last beat.
    equal([stall[:2] for stall in ours.stalls], [stall[:2] for stall in published.stalls], "last nonce and status of stalls")
    equal([payload for _, _, payload in ours.stalls], ["42"], "the payload of our stall")
    return f"{len(FAMILIES)} families and the rows of beats and stalls alike, recovery run for the pid"


class Seen:
    """What there is to see of an observer after two beats and a stall."""

    def __init__(self, observer, pid):
        lines = observer.metrics().splitlines()
        described = [line.split(" ", 3) for line in lines if line.startswith(("# HELP ", "# TYPE "))]
        self.families = {(name, what): text for _, what, name, text in described if name in FAMILIES}
        equal(len(self.families), 2 * len(FAMILIES), "lines of HELP and TYPE")
        self.samples = [observer.sample(name, pid) for name in FAMILIES]
        self.beats, self.stalls = ([shape(row) for row in observer.rows(pid, kind)] for kind in ("beat", "stall"))


def shape(row):
    """Everything but the instant and the pid, which are numbers."""
    check(row.at.isdigit() and row.pid.isdigit(), f"{row} has no time or no pid")
    return row.nonce, row.status, row.payload


def shuts_down(programs, directory):
    """Both stop by themselves, well, and leave no socket."""
    for kind in (Linked, Published):
        side = kind(programs, directory / kind.__name__, threshold_ms=1000)
        argv = [*side.argv, *map(str, Observer.flags(side)[:4]), "--shutdown-after-secs", "1"]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=30)
        equal(done.returncode, 0, f"the exit status of {argv[0]}")
        check(not side.socket.exists(), f"{argv[0]} leaves its socket")
    return "exit status 0, no socket left"


SCENARIOS = [ours_before_published, in_its_place, shuts_down]
