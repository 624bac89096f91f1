"""What every scenario has: the hosts, the fleet's keys, programs on the hosts, an observer, an attacker."""

import os
import subprocess
from pathlib import Path

from hosts import ABSENT, address
from observer import Observer
from waiting import Failed, check, equal, until
from wire import Tap

# Agents with their sites; the roster names them all.
AGENTS = {"web-1": "ams", "web-2": "ams", "db-1": "fra", "db-2": "fra", "db-3": "fra"}


class Keys:
    """A fleet of two observers, obs-1 that there is and obs-2 that is elsewhere, and its agents."""

    def __init__(self, varta, directory):
        self.varta, self.directory = varta, directory
        directory.mkdir(mode=0o700)
        self._run("init")
        self._run("observer", "add", "obs-1", "--address", f"{address('observer')}:9900", "-o", self.file("obs-1"))
        self._run("observer", "add", "obs-2", "--address", f"10.77.0.{ABSENT}:9900", "-o", self.file("obs-2"))
        for agent, site in AGENTS.items():
            self.issue(agent, label=f"site={site}")
        self.roster = directory / "roster.toml"
        self.write_roster(self.roster)

    def _run(self, *words):
        argv = [self.varta, "keys", "--vault", str(self.directory / "vault"), *map(str, words)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
        equal(done.returncode, 0, f"the exit status of {' '.join(argv)} ({done.stderr.strip()})")

    def file(self, name):
        return self.directory / f"{name}.key"

    def issue(self, agent, audience="obs-1", label=None, file=None):
        """Issues a key, and returns its file."""
        file = file or self.file(agent)
        labels = ["--label", label] if label else []
        self._run("agent", "issue", agent, "--audience", audience, *labels, "-o", file)
        return file

    def fleet(self, agents, name="fleet"):
        """A folder with a key file for each of `agents`, which are issued if they are not there yet."""
        folder = self.directory / f"{name}-{len(agents)}"
        if not folder.is_dir():
            folder.mkdir(mode=0o700)
            self._run("agent", "issue", *agents, "--audience", "obs-1", "-o", folder)
        return folder

    def write_roster(self, file):
        self._run("roster", "-o", file)


class Program:
    """A process on a host, in a session of its own; what it prints goes to a file."""

    def __init__(self, net, host, argv, log, environment=None):
        with net.inside(host), log.open("ab") as output:
            self.process = subprocess.Popen(
                list(map(str, argv)), stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
                env={**os.environ, **(environment or {})})
        self.log = log

    @property
    def pid(self):
        return self.process.pid

    def child(self):
        """The pid of the one process that this one has started."""
        def started():
            children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text(encoding="ascii").split()
            return int(children[0]) if len(children) == 1 else None
        return until(f"process {self.pid} has a child", started)

    def signal(self, number):
        self.process.send_signal(number)

    def ended(self, status):
        """Waits for its end, and asserts how it ended."""
        try:
            found = self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.process.args} did not end within 20 s") from None
        equal(found, status, f"the exit status of {' '.join(self.process.args)} ({self.log.read_text().strip()[-500:]})")

    def runs(self):
        if self.process.poll() is not None:
            raise Failed(f"{self.process.args} ended with {self.process.returncode}: {self.log.read_text()[-500:]}")
        return True


class Mesh:
    """One scenario's part of the world; all of it ends with the scenario."""

    def __init__(self, net, programs, keys, directory):
        self.net, self.keys, self.directory = net, keys, directory
        self.varta, self.bench, self.flood_seconds = programs
        directory.mkdir(mode=0o700)
        self._taps = []
        self._observers = []
        self._count = 0

    def close(self):
        self.net.end_programs()
        for tap in self._taps:
            tap.close()
        self.net.mend()

    def assert_observers_well(self):
        """No observer failed, and none logged an error, whatever was done to it."""
        for observer in self._observers:
            if observer.process is not None:
                ended = observer.process.poll()
                check(ended in (None, 0), f"an observer ended with {ended}: {observer.tail()}")
                errors = [line["message"] for line in observer.log() if line["level"] == "ERROR"]
                equal(errors, [], "errors in the log of an observer")

    def tap(self):
        tap = Tap(self.net)
        self._taps.append(tap)
        return tap

    def run(self, host, *argv):
        """Runs a command to its end: exit status and everything it printed."""
        with self.net.inside(host):
            done = subprocess.run(list(map(str, argv)), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                  check=False, timeout=60)
        return done.returncode, done.stdout + done.stderr

    def program(self, host, *argv, environment=None):
        self._count += 1
        log = self.directory / f"{self._count:02}-{Path(argv[0]).name}.log"
        return Program(self.net, host, argv, log, environment)

    def exec(self, host, agent, unit, *command, every="1s"):
        return self.program(host, self.varta, "exec", "--key", self.keys.file(agent), "--unit", unit, "--every", every,
                            "--", *command)

    def beat(self, host, agent, unit, *flags, environment=None):
        """`varta beat`, every second unless `flags` say otherwise."""
        return self.program(host, self.varta, "beat", "--key", self.keys.file(agent), "--unit", unit,
                            *(flags or ("--every", "1s")), environment=environment)

    def sections(self):
        """The configuration of an observer with its state and log in this scenario's directory."""
        return {
            "observer": {
                "name": "obs-1",
                "state_dir": str(self.directory / "state"),
                "key_file": str(self.keys.file("obs-1")),
                "roster_file": str(self.keys.roster),
            },
            "listen": {"sealed": "0.0.0.0:9900"},
            "stall": {"misses": 2, "margin": "250ms"},
            "http": {"listen": "127.0.0.1:9910"},
            "log": {"format": "json", "level": "info"},
        }

    def observer(self, **changed):
        """An observer with the usual configuration, but for the sections given."""
        sections = self.sections()
        for name, keys in changed.items():
            sections.setdefault(name, {}).update(keys)
        observer = Observer(self.net, self.varta, self.directory, sections)
        self._observers.append(observer)
        return observer

    def other_observer(self, name, **changed):
        """A further observer, with a directory of its own, not started."""
        directory = self.directory / name
        directory.mkdir(mode=0o700)
        other = self.observer(**changed)
        other.directory, other.config = directory, directory / "observer.toml"
        other.log_file = directory / "observer.log"
        return other

