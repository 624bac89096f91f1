"""An observer on its host: started, stopped, asked, and read in all four ways: slots, events, metrics, log."""

import http.client
import json
import os
import re
import signal
import subprocess
import threading
import time

from waiting import Failed, check, equal, until

LISTEN = "0.0.0.0:9900"
HTTP_PORT = 9910

# What `varta_status` says; a verdict that is not here says nothing of the last beat.
STATUS = {"up": 0, "degraded": 1, "critical": 2, "stalled": 3}
# The level of a verdict's log line.
WARNED = {"stalled", "critical"}

_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def toml(sections):
    """`{"stall": {..}}` as text; the listener stands for itself."""
    lines = []
    for name, keys in sections.items():
        lines.append(f"[[{name}]]" if name == "listen" else f"[{name}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
    return "\n".join(lines) + "\n"


class Metrics:
    """One scrape."""

    def __init__(self, text):
        self.text = text
        self._samples = {}
        for line in text.splitlines():
            sample = _SAMPLE.match(line)
            if sample and not line.startswith("#"):
                labels = frozenset(_LABEL.findall(sample[2] or ""))
                self._samples[sample[1], labels] = float(sample[3])

    def value(self, name, **labels):
        """A sample's value, `None` where there is no such sample."""
        return self._samples.get((name, frozenset(labels.items())))

    def rejected(self, reason):
        return int(self.value("varta_datagrams_rejected_total", listener=LISTEN, reason=reason))

    def rejects(self):
        """Every reason met, with its count."""
        found = {}
        for (name, labels), value in self._samples.items():
            if name == "varta_datagrams_rejected_total" and value:
                found[dict(labels)["reason"]] = int(value)
        return found

    def received(self):
        return int(self.value("varta_datagrams_received_total", listener=LISTEN))

    def accepted(self):
        return int(self.value("varta_datagrams_accepted_total", listener=LISTEN))

    def accepted_late(self):
        return int(self.value("varta_datagrams_accepted_late_total", listener=LISTEN))


class Observer:
    """`varta watch` on the observer's host."""

    def __init__(self, net, varta, directory, sections):
        self.net, self.varta, self.directory = net, varta, directory
        self.sections = sections
        self.config = directory / "observer.toml"
        self.log_file = directory / "observer.log"
        self.events = []
        self.process = None
        # What the observer finds in its environment besides.
        self.environment = {}

    # -- life ---------------------------------------------------------------------------------------------------

    def write(self):
        self.config.write_text(toml(self.sections))

    def start(self):
        self.write()
        self.spawn()
        until("the observer answers", self._answers)
        threading.Thread(target=self._follow, args=(self._open_events(),), daemon=True).start()
        return self

    def spawn(self):
        with self.net.inside("observer"), self.log_file.open("ab") as log:
            argv = [self.varta, "watch", "--config", str(self.config)]
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env={**os.environ, **self.environment})

    def _answers(self):
        if self.process.poll() is not None:
            raise Failed(f"the observer ended with {self.process.returncode}; the end of its log:\n{self.tail()}")
        try:
            return self.get("/healthz")[0] == 200
        except OSError:
            return False

    def stop(self):
        """A clean stop."""
        self.process.send_signal(signal.SIGTERM)
        self._wait()
        equal(self.process.returncode, 0, "the exit status of an observer that was asked to stop")

    def kill(self):
        self.process.kill()
        self._wait()

    def _wait(self):
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            raise Failed(f"the observer did not end within 20 s:\n{self.tail()}") from None

    def reload(self):
        self.process.send_signal(signal.SIGHUP)

    # -- asking -------------------------------------------------------------------------------------------------

    def _connection(self, timeout):
        connection = http.client.HTTPConnection("127.0.0.1", HTTP_PORT, timeout=timeout)
        with self.net.inside("observer"):
            connection.connect()
        return connection

    def get(self, path):
        """Status and text of an answer."""
        connection = self._connection(timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def json(self, path):
        status, text = self.get(path)
        equal(status, 200, f"the answer to {path} ({text.strip()})")
        return json.loads(text)

    def slots(self, limit=2):
        """Every slot by (agent, unit), read in pages of `limit`."""
        found, cursor = {}, 0
        while cursor is not None:
            page = self.json(f"/api/v1/slots?limit={limit}&cursor={cursor}")
            for slot in page["slots"]:
                found[slot["agent"], slot["unit"]] = slot
            cursor = page["next"]
        return found

    def slot(self, agent, unit):
        return self.json(f"/api/v1/slots/{agent}/{unit}")

    def metrics(self):
        status, text = self.get("/metrics")
        equal(status, 200, "the answer to /metrics")
        return Metrics(text)

    def log(self):
        """Every line of the log so far, of all lives of this observer."""
        lines = []
        for line in self.log_file.read_text().splitlines():
            try:
                lines.append(json.loads(line))
            except json.JSONDecodeError:
                raise Failed(f"a log line is not JSON: {line}") from None
        return lines

    def logged(self, pattern, level=None, since=0):
        """The first log line whose message matches, from line number `since` on."""
        for line in self.log()[since:]:
            if re.search(pattern, line["message"]) and level in (None, line["level"]):
                return line
        return None

    def tail(self, lines=15):
        return "\n".join(self.log_file.read_text().splitlines()[-lines:])

    # -- events -------------------------------------------------------------------------------------------------

    def _open_events(self):
        connection = self._connection(timeout=None)
        last = self.events[-1]["id"] if self.events else 0
        connection.request("GET", "/api/v1/events", headers={"Last-Event-ID": str(last)})
        answer = connection.getresponse()
        equal(answer.status, 200, "the answer to /api/v1/events")
        check(answer.getheader("content-type", "").startswith("text/event-stream"), "events are no event stream")
        return answer

    def _follow(self, answer):
        try:
            for line in answer:
                if line.startswith(b"data:"):
                    event = json.loads(line[5:])
                    # What was lost before the first event of all has no kind.
                    if "kind" in event:
                        event["heard"] = time.time()
                        self.events.append(event)
        except (OSError, http.client.HTTPException, ValueError):
            # The observer is gone; a new one is followed anew.
            return

    def mark(self):
        """A place in the list of events, for `since`."""
        return len(self.events)

    def event(self, since=0, **wanted):
        """The first event from `since` on with these fields; one given as a compiled pattern is searched."""
        for event in self.events[since:]:
            if all(_fits(event.get(key), value) for key, value in wanted.items()):
                return event
        return None

    # -- judging ------------------------------------------------------------------------------------------------

    def told(self, agent, unit, verdict, why="", since=0, limit=30.0):
        """Waits until slot, event, log and metrics all say the verdict; returns the event."""
        name = f"{agent}/{unit} {verdict}" + (f", why {why!r}" if why else "")
        until(f"slot {name}", lambda: self._slot_says(agent, unit, verdict, why), limit)
        event = until(f"event {name}", lambda: self.event(
            since, agent=agent, unit=unit, to=verdict, why=re.compile(why)), limit)
        check(event["kind"] in ("verdict", "new"), f"an event of kind {event['kind']} gives a verdict")
        line = until(f"log line {name}", lambda: self._log_of(event), limit)
        equal(line["level"], "WARN" if verdict in WARNED else "INFO", f"the level of the log line {name}")
        equal((line["agent"], line["unit"], line["to"]), (agent, unit, verdict), "the log line's words")
        until(f"metrics {name}", lambda: self._metrics_say(agent, unit, verdict), limit)
        return event

    def _slot_says(self, agent, unit, verdict, why):
        slot = self.slot(agent, unit)
        if slot["verdict"] != verdict or not re.search(why, slot["why"]):
            raise Failed(f"it is {slot['verdict']}: {slot['why']}")
        return True

    def _log_of(self, event):
        return next((line for line in self.log() if line.get("id") == event["id"]), None)

    def _metrics_say(self, agent, unit, verdict):
        counted = sum(slot["verdict"] == verdict for slot in self.slots().values())
        metrics = self.metrics()
        status = metrics.value("varta_status", agent=agent, unit=unit, pid="")
        total = metrics.value("varta_slots", verdict=verdict)
        if total != counted or STATUS.get(verdict, status) != status:
            raise Failed(f"varta_status is {status}, varta_slots{{verdict={verdict}}} {total} beside {counted} slots")
        return True

    def stays(self, agent, unit, verdict, seconds):
        """Nothing else is told of a slot for so long."""
        since = self.mark()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            equal(self.slot(agent, unit)["verdict"], verdict, f"the verdict on {agent}/{unit}")
            time.sleep(0.1)
        equal(self.event(since, agent=agent, unit=unit, kind="verdict"), None, f"an event on {agent}/{unit}")

    def conserves(self):
        """Every datagram is accepted, accepted late, or refused for one reason; within one scrape."""
        metrics = self.metrics()
        judged = metrics.accepted() + metrics.accepted_late() + sum(metrics.rejects().values())
        equal(judged, metrics.received(), "datagrams accepted, accepted late and rejected, beside those received")
        return metrics

    def stalls(self, agent, unit):
        return self.metrics().value("varta_stalls_total", agent=agent, unit=unit, pid="")

    def sent_datagrams(self):
        """UDP datagrams that the host has sent, by its kernel's count."""
        return self.kernel_counts("Udp")["OutDatagrams"]

    def kernel_counts(self, protocol):
        """What the host's kernel has counted of a protocol."""
        with self.net.inside("observer"):
            with open("/proc/thread-self/net/snmp", encoding="ascii") as file:
                names, values = (line.split()[1:] for line in file if line.startswith(f"{protocol}:"))
        return dict(zip(names, map(int, values)))


def _fits(found, wanted):
    if isinstance(wanted, re.Pattern):
        return isinstance(found, str) and wanted.search(found) is not None
    return found == wanted
