"""What operators and disks do wrong: each is told clearly, and as little as possible stops for it."""

import contextlib
import re
import signal
import subprocess

from fleet import SHELL_LOOP
from waiting import check, equal, until

FAILED, USAGE = 1, 2


# -- refused starts -----------------------------------------------------------------------------------------------


def refused_starts(mesh):
    running = mesh.observer().start()
    state = {"state_dir": str(mesh.directory / "other-state")}
    http = {"listen": "127.0.0.1:9911"}
    port = {"sealed": "0.0.0.0:9901"}
    elsewhere = {"observer": state, "http": http, "listen": port}
    cases = [
        ("port", {"observer": state, "http": http}, FAILED, r"0\.0\.0\.0:9900.*another socket has this port"),
        ("http-port", {"observer": state, "listen": port}, FAILED, r"127\.0\.0\.1:9910.*http\.listen"),
        ("state-in-use", {"http": http, "listen": port}, FAILED, re.escape(str(mesh.directory / "state"))),
        ("misspelt", {**elsewhere, "stall": {"treshold": "3s"}}, USAGE, r"observer\.toml.*treshold.*threshold"),
        ("out-of-range", {**elsewhere, "stall": {"misses": 0}}, USAGE, r"observer\.toml.*misses.*1"),
        ("agent-key", {**elsewhere, "observer": {**state, "key_file": str(mesh.keys.file("web-1"))}}, USAGE,
         r"web-1\.key"),
        ("exposed-key", {**elsewhere, "observer": {**state, "key_file": exposed_key(mesh)}}, USAGE, r"exposed\.key"),
        ("no-key", {**elsewhere, "observer": {**state, "key_file": "/no/such.key"}}, USAGE, r"/no/such\.key"),
        ("no-roster", {**elsewhere, "observer": {**state, "roster_file": "/no/roster.toml"}}, USAGE,
         r"/no/roster\.toml"),
    ]
    for name, changed, status, pattern in cases:
        fails(mesh, name, changed, status, pattern)
    with tmpfs(mesh.directory / "sealed-off", "ro"):
        state = {"state_dir": str(mesh.directory / "sealed-off" / "state")}
        fails(mesh, "read-only", {**elsewhere, "observer": state}, FAILED, r"sealed-off/state.*[Rr]ead-only file system")
    equal(mesh.run("db", mesh.varta, "beat", "--key", mesh.keys.file("web-1"), "--unit", "x")[0], 0, "`varta beat`")
    running.told("web-1", "x", "up")
    wrong_audience(mesh, running)
    running.stop()
    return f"{len(cases) + 1} starts refused with their reasons"


def exposed_key(mesh):
    file = mesh.directory / "exposed.key"
    file.write_bytes(mesh.keys.file("obs-1").read_bytes())
    file.chmod(0o644)
    return str(file)


def fails(mesh, name, changed, status, pattern):
    """An observer that must not start: its exit status, and one line that says why."""
    observer = mesh.other_observer(name, **changed)
    observer.write()
    with mesh.net.inside("observer"):
        done = subprocess.run([mesh.varta, "watch", "--config", str(observer.config)], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False, timeout=30)
    said = done.stderr + done.stdout
    equal(done.returncode, status, f"the exit status with {name} ({said.strip()})")
    check(re.search(pattern, said, re.DOTALL), f"{name}: {pattern!r} is not in {said!r}")
    check("panicked" not in said, f"{name}: {said}")


def wrong_audience(mesh, observer):
    """An agent with a key for another observer, pointed at this one."""
    key = mesh.keys.issue("db-3", audience="obs-2", file=mesh.directory / "db-3.obs-2.key")
    status, said = mesh.run("db", mesh.varta, "beat", "--key", key, "--to", "10.77.0.5:9900", "--count", "3")
    equal((status, said), (0, ""), "`varta beat` to the wrong observer")
    until("its beats are counted", lambda: observer.metrics().rejected("unknown_audience") == 3)
    equal(observer.slots()["db-3", ""]["verdict"], "missing", "the agent whose key is for another observer")
    observer.conserves()


@contextlib.contextmanager
def tmpfs(directory, *options):
    directory.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(["mode=0700", *options]), "tmpfs", str(directory)], check=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


# -- corrupt state ------------------------------------------------------------------------------------------------


def corrupt_state(mesh):
    observer = mesh.observer(acceptance={"skew": "1s"}).start()
    units = [("web-1", "a"), ("db-1", "b")]
    for agent, unit in units:
        mesh.exec("web" if agent == "web-1" else "db", agent, unit, *SHELL_LOOP)
    for agent, unit in units:
        observer.told(agent, unit, "up")
    state = mesh.directory / "state"
    damages = {
        r"slots is corrupt.*kept as .*slots\.corrupt-1": lambda: flip(state / "slots", 80),
        r"mark: one of its two copies is damaged": lambda: flip(state / "mark", 40),
        r"state is lost.*mark": lambda: (state / "mark").write_bytes(b"?" * (state / "mark").stat().st_size),
        r"state is lost.*slots": (state / "slots").unlink,
    }
    for said, damage in damages.items():
        observer.stop()
        damage()
        lines = len(observer.log())
        observer.start()
        until(f"the log says {said!r}", lambda text=said, since=lines: observer.logged(
                text, level="WARN", since=since))
        for agent, unit in units:
            until(f"{agent}/{unit} is up again", lambda key=(agent, unit): observer.slot(*key)["verdict"] == "up")
        equal(observer.event(to="stalled"), None, "a stall told for a damaged file")
    observer.conserves()
    observer.stop()
    return f"{len(damages)} damages told and survived"


def flip(file, place):
    text = bytearray(file.read_bytes())
    text[place] ^= 0x10
    file.write_bytes(text)


# -- full disk ----------------------------------------------------------------------------------------------------


def full_disk(mesh):
    with tmpfs(mesh.directory / "disk", "size=256k") as disk:
        observer = mesh.observer(observer={"state_dir": str(disk / "state")}).start()
        first = mesh.exec("web", "web-1", "first", *SHELL_LOOP)
        observer.told("web-1", "first", "up")
        equal(observer.metrics().value("varta_persist_failing"), 0, "varta_persist_failing")
        ballast = fill(disk)
        lines = len(observer.log())
        names = change_until_failing(mesh, observer)
        until("varta_persist_failing", lambda: observer.metrics().value("varta_persist_failing") == 1)
        check(observer.metrics().value("varta_persist_failures_total") > 0, "no failure was counted")
        line = until("the log says that the disk is full", lambda: next(
            (line for line in observer.log()[lines:] if "No space left" in str(line)), None))
        check(line["level"] in ("WARN", "ERROR"), f"the level of {line}")
        equal(observer.json("/api/v1/status")["persist_failing"], True, "what /api/v1/status says")

        # It goes on observing.
        first.signal(signal.SIGKILL)
        observer.told("web-1", "first", "stalled")
        observer.told("db-1", names[-1], "up")
        ballast.unlink()
        until("the state can be written again", lambda: observer.metrics().value("varta_persist_failing") == 0, 60)
        until("the log says so", lambda: observer.logged("written again", level="INFO", since=lines))
        observer.conserves()
        observer.stop()
        observer.start()
        equal(observer.slot("web-1", "first")["verdict"], "stalled", "a stall told while the disk was full")
        observer.stop()
    return f"the disk refused after {len(names)} more units; observing went on"


def fill(disk):
    """Takes all the room there is."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return ballast


def change_until_failing(mesh, observer):
    """New units until the disk has no room for one more; their names."""
    names = []

    def one_more():
        if observer.metrics().value("varta_persist_failing") == 1:
            return True
        if len(names) < 60:
            names.append(f"unit-{len(names)}")
            mesh.beat("db", "db-1", names[-1])
        return False

    until("the disk refuses", one_more)
    return names
