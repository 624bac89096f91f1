"""The two observers, started by the same flags, and read by what they serve and write."""

import http.client
import json
import re
import signal
import socket
import subprocess
from dataclasses import dataclass

from waiting import Failed, check, equal, until

# Of the published program's metrics.
TOKEN = "5a" * 32
# Silence that is a stall; seldom reached where it is not meant to be.
THRESHOLD_MS = 60_000

_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass
class Row:
    """A line of an export file."""

    at: str
    kind: str
    pid: str
    nonce: str
    status: str
    payload: str


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Observer:
    """An observer with the flags that both know."""

    token = None

    def __init__(self, argv, directory, threshold_ms=THRESHOLD_MS):
        directory.mkdir(exist_ok=True)
        self.argv, self.directory, self.threshold_ms = list(map(str, argv)), directory, threshold_ms
        self.socket, self.export = directory / "varta.sock", directory / "events.tsv"
        self.log = directory / "observer.log"
        self.port = free_port()
        self.process = None

    def flags(self):
        return ["--socket", self.socket, "--threshold-ms", self.threshold_ms, "--export-file", self.export,
                "--prom-addr", f"127.0.0.1:{self.port}"]

    def start(self):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([*self.argv, *map(str, self.flags())], stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log)
        until("the observer listens", self._listens)
        return self

    def _listens(self):
        code = self.process.poll()
        if code is not None:
            raise Failed(f"the observer ended with {code}:\n{self.log.read_text()[-2000:]}")
        try:
            return self.socket.exists() and self.get("/metrics")[0] == 200
        except OSError:
            return False

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        equal(self.process.wait(timeout=20), 0, "the exit status of an observer that was asked to stop")
        check(not self.socket.exists(), "an observer that has stopped leaves its socket")

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def get(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def metrics(self):
        status, text = self.get("/metrics")
        equal(status, 200, "the answer to /metrics")
        return text

    def sample(self, name, pid):
        """The sample of that name and pid, whatever other labels it has."""
        for line in self.metrics().splitlines():
            sample = _SAMPLE.match(line)
            if sample and sample[1] == name and dict(_LABEL.findall(sample[2] or "")).get("pid") == str(pid):
                return float(sample[3])
        return None

    def rows(self, pid=None, kind=None):
        """Whole rows of the export file."""
        found = []
        for line in self.export.read_text().splitlines(keepends=True):
            columns = line.rstrip("\n").split("\t")
            if line.endswith("\n"):
                equal(len(columns), 6, f"the number of columns of {line!r}")
                row = Row(*columns)
                if pid in (None, int(row.pid) if row.pid != "-" else None) and kind in (None, row.kind):
                    found.append(row)
        return found

    def beats_in_rows(self, pid, expected):
        """Waits until the export file has exactly these beats of a process: nonce, status, payload."""
        def found():
            beats = [(int(row.nonce), row.status, int(row.payload)) for row in self.rows(pid, "beat")]
            if beats != expected:
                raise Failed(f"it has {beats}")
            return True
        until(f"the export file has the beats {expected} of {pid}", found)


class Ours(Observer):
    def __init__(self, programs, directory, threshold_ms=THRESHOLD_MS):
        super().__init__([programs.varta, "watch"], directory, threshold_ms)

    def slot(self, pid):
        status, text = self.get(f"/api/v1/slots/local/pid:{pid}")
        return json.loads(text) if status == 200 else None

    def told(self, pid, verdict, why="", **fields):
        """Waits until a process has that verdict and these fields."""
        def said():
            slot = self.slot(pid)
            wanted = {"verdict": verdict, **fields}
            found = slot and {key: slot[key] for key in wanted}
            if found != wanted or not re.search(why, slot["why"]):
                raise Failed(f"it is {found}: {slot and slot['why']}")
            return slot
        return until(f"{pid} is {verdict} {fields or ''}", said)


class Published(Observer):
    token = TOKEN

    def __init__(self, programs, directory, threshold_ms=THRESHOLD_MS):
        super().__init__([programs.observer], directory, threshold_ms)

    def flags(self):
        # It serves no metrics without a token, writes no row at once unless asked to, and takes 100 beats a second of a pid.
        token = self.directory / "token"
        token.touch(mode=0o600)
        token.write_text(TOKEN)
        return [*super().flags(), "--prom-token-file", token, "--export-file-sync-every", 1,
                "--prom-rate-limit-per-sec", 1000, "--prom-rate-limit-burst", 1000, "--max-beat-rate", 0]
