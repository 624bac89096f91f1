#!/usr/bin/env python3
"""The whole mesh on hosts of its own: agents on two hosts, two observers, a relay, a webhook's server and an Alertmanager.

Run as root: python3 tests/net/relay.py --varta target/release/varta
Each trouble is made on real processes and real cables; each time the relay's picture, its one incident, and what was told of
it are looked at, and that everything is right again afterwards.
"""

import argparse
import contextlib
import http.server
import json
import os
import signal
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

import hosts
from scenarios import GivenUp, attempt, conclude, give_up_when_told, name_of, wanted_of
from waiting import Failed, check, equal, until

hosts.NUMBERS = {"web": 1, "db": 2, "observer": 5, "second": 6, "relay": 7}
OBSERVERS = {"obs-1": "observer", "obs-2": "second"}
# Far more than all of it takes.
LIMIT = 600
HOOK, ALERTS, PAGE = 8080, 9093, 9930


class Hook:
    """A webhook's server on the relay's host: what it was sent."""

    def __init__(self, net):
        self.told = []
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                hook.told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        with net.inside("relay"):
            self.server = http.server.ThreadingHTTPServer(("127.0.0.1", HOOK), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Mesh:
    def __init__(self, net, varta, directory):
        self.net, self.varta, self.directory = net, varta, directory
        directory.mkdir(parents=True)
        self.programs = {}
        self.logs = 0
        self.make_keys()
        self.hook = Hook(net)
        self.start("alertmanager", "relay", "prometheus-alertmanager", f"--config.file={self.alerts_config()}",
                   f"--storage.path={directory / 'alerts'}", f"--web.listen-address=127.0.0.1:{ALERTS}",
                   "--cluster.listen-address=", "--log.level=error")
        until("the Alertmanager answers", lambda: self.ask(ALERTS, "/api/v2/status"))

    # -- keys and configurations --------------------------------------------------------------------------------------

    def keys(self, *words):
        argv = [self.varta, "keys", "--vault", str(self.directory / "vault"), *map(str, words)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
        equal(done.returncode, 0, f"the exit status of {' '.join(argv)} ({done.stderr.strip()})")
        return done.stdout

    def make_keys(self):
        self.keys("init")
        sections = []
        for name, host in OBSERVERS.items():
            said = self.keys("observer", "add", name, "--address", f"{hosts.address(host)}:9900", "-o", self.key(name))
            sections.append("[[observer]]" + said.split("[[observer]]")[1])
        said = self.keys("relay", "add", "relay-1", "--address", f"{hosts.address('relay')}:9920", "-o", self.key("relay-1"))
        link = "[relay]" + said.split("[relay]")[1]
        for agent, site in {"web-1": "ams", "db-1": "fra"}.items():
            self.keys("agent", "issue", agent, "--label", f"site={site}", "-o", self.key(agent))
        for name, other in (("obs-1", "obs-2"), ("obs-2", "obs-1")):
            self.keys("agent", "issue", name, "--audience", other, "-o", self.key(f"{name}.peer"))
            self.write(f"{name}.toml", f"""
[observer]
name = "{name}"
key_file = "{self.key(name)}"
state_dir = "{self.directory / name}"
[[listen]]
sealed = "0.0.0.0:9900"
[peers]
key_file = "{self.key(f'{name}.peer')}"
[log]
format = "json"
{link}""")
        self.write("relay.toml", f"""
[relay]
key_file = "{self.key('relay-1')}"
state_dir = "{self.directory / 'relay'}"
[http]
listen = "127.0.0.1:{PAGE}"
[[webhook]]
url = "http://127.0.0.1:{HOOK}/hook"
[[webhook]]
url = "http://127.0.0.1:{ALERTS}"
kind = "alertmanager"
{''.join(sections)}""")

    def key(self, name):
        return self.directory / f"{name}.key"

    def write(self, name, text):
        (self.directory / name).write_text(text)

    def alerts_config(self):
        self.write("alertmanager.yml", "route:\n  receiver: none\n  group_wait: 1s\nreceivers:\n  - name: none\n")
        return self.directory / "alertmanager.yml"

    # -- programs -----------------------------------------------------------------------------------------------------

    def start(self, name, host, *argv):
        self.logs += 1
        log = open(self.directory / f"{self.logs:02}-{name}.log", "wb")
        with self.net.inside(host):
            self.programs[name] = subprocess.Popen([str(word) for word in argv], stdout=log, stderr=log,
                                                   stdin=subprocess.DEVNULL, start_new_session=True)
        log.close()

    def observer(self, name):
        self.start(name, OBSERVERS[name], self.varta, "watch", "--config", self.directory / f"{name}.toml")

    def relay(self):
        self.start("relay", "relay", self.varta, "relay", "--config", self.directory / "relay.toml")

    def agent(self, agent, host, unit):
        self.start(agent, host, self.varta, "beat", "--key", self.key(agent), "--unit", unit, "--every", "300ms")

    def kill(self, name):
        program = self.programs.pop(name)
        program.send_signal(signal.SIGKILL)
        program.wait(30)

    def close(self):
        for program in self.programs.values():
            with contextlib.suppress(ProcessLookupError):
                program.send_signal(signal.SIGKILL)
            program.wait(30)
        self.hook.close()

    # -- what the relay says ------------------------------------------------------------------------------------------

    def ask(self, port, path):
        with self.net.inside("relay"):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                    return json.load(answer)
            except (OSError, urllib.error.URLError) as error:
                raise Failed(f"{path}: {error}") from None

    def page(self, path):
        return self.ask(PAGE, f"/api/v1/{path}")

    def verdicts(self):
        return {(unit["agent"], unit["unit"]): unit["verdict"] for unit in self.page("agents")["agents"]}

    def open(self):
        return sorted(one["title"] for one in self.page("incidents?state=open")["incidents"])

    def alerts(self):
        return sorted(alert["annotations"]["summary"] for alert in self.ask(ALERTS, "/api/v2/alerts?active=true"))

    def all_up(self):
        expected = {("web-1", "api"), ("db-1", "store"), ("obs-1", "observer"), ("obs-2", "observer")}

        def well():
            verdicts = self.verdicts()
            wrong = {name: verdicts.get(name) for name in expected if verdicts.get(name) != "up"}
            if wrong or self.open():
                raise Failed(f"{wrong}, open: {self.open()}")
            return True

        until("everything is up, and no incident is open", well, 60)
        until("no alert is active", lambda: self.alerts() == [])

    def trouble(self, title, verdicts=None, limit=30.0):
        """Waits until one incident, and nothing else, is open and told; says how long that took, and when it was over."""
        begun, before = time.monotonic(), len(self.hook.told)
        told = until("the webhook is told", lambda: len(self.hook.told) > before and time.monotonic(), limit)
        took = told - begun
        until(f"the incident {title!r}", lambda: self._is_open([title]), limit)
        for name, verdict in (verdicts or {}).items():
            until(f"{name} is {verdict}", lambda: self.verdicts().get(name) == verdict)
        # Nothing more comes of it.
        time.sleep(2.5)
        equal(self.open(), [title], "open incidents")
        opened = [told["incident"]["title"] for told in self.hook.told[before:] if told["event"] == "incident_opened"]
        equal(len(opened), 1, f"notices of {title!r}: {opened}")
        until("the Alertmanager has it", lambda: self.alerts() == [title])
        return took

    def _is_open(self, titles):
        found = self.open()
        if found != titles:
            raise Failed(f"open are {found}")
        return True

    def over(self):
        """Waits until everything is right again; the notice of the end has come, once."""
        self.all_up()
        until("its end is told", lambda: self.hook.told and self.hook.told[-1]["event"] == "incident_closed")
        opened = {told["incident"]["id"] for told in self.hook.told if told["event"] == "incident_opened"}
        closed = [told["incident"]["id"] for told in self.hook.told if told["event"] == "incident_closed"]
        equal(sorted(closed), sorted(opened), "what was told as open, and what as over")


def whole(mesh):
    mesh.relay()
    for name in OBSERVERS:
        mesh.observer(name)
    mesh.agent("web-1", "web", "api")
    mesh.agent("db-1", "db", "store")
    mesh.all_up()
    # Nothing more comes of it, and the relay has written what it knows.
    time.sleep(2.5)
    check(len(mesh.hook.told) == 0, f"nothing was wrong, and this was told: {mesh.hook.told}")


def a_process_dies(mesh):
    mesh.kill("web-1")
    took = mesh.trouble("web-1/api stalled", {("web-1", "api"): "stalled", ("db-1", "store"): "up"})
    mesh.agent("web-1", "web", "api")
    mesh.over()
    return f"told {took:.1f} s after its death, which is 0.85 s to the deadline and 0.5 s to settle"


def an_observer_is_cut_from_the_relay(mesh):
    mesh.net.part("observer", "relay")
    took = mesh.trouble("observer obs-1 lost: 1 unit unknown", {
        ("web-1", "api"): "up", ("db-1", "store"): "up", ("obs-2", "observer"): "unknown"})
    mesh.net.part("observer", "relay", parted=False)
    mesh.over()
    return f"others see its agents; told after {took:.1f} s"


def an_observer_is_cut_from_its_agents(mesh):
    mesh.net.part("observer", "web")
    took = mesh.trouble("web-1/api disputed", {("web-1", "api"): "degraded", ("db-1", "store"): "up"})
    mesh.net.part("observer", "web", parted=False)
    mesh.over()
    return f"told after {took:.1f} s"


def the_relay_is_killed(mesh):
    told = len(mesh.hook.told)
    mesh.kill("relay")
    time.sleep(2)
    mesh.relay()
    until("what was known is known", lambda: len(mesh.verdicts()) == 4)
    mesh.all_up()
    segments = mesh.page("agents/web-1/api")["history"]["segments"]
    names = [segment["verdict"] for segment in segments]
    check("unseen" in names and names[0] == names[-1] == "up", f"the history is {names}")
    has_died = any(told["incident"]["title"] == "web-1/api stalled" for told in mesh.hook.told)
    equal("stalled" in names, has_died, f"whether web-1/api stalled in its life, by the history {names}")
    equal(len(mesh.hook.told), told, "notices of the relay's restart")
    gap = next(segment for segment in segments if segment["verdict"] == "unseen")
    return f"unseen for {(gap['to_ms'] - gap['from_ms']) / 1000:.1f} s, and nobody was paged"


def the_relay_is_killed_while_an_incident_is_open(mesh):
    mesh.kill("web-1")
    mesh.trouble("web-1/api stalled")
    told = len(mesh.hook.told)
    mesh.kill("relay")
    mesh.relay()
    until("the incident goes on", lambda: mesh._is_open(["web-1/api stalled"]))
    # Longer than it takes to settle, and than the relay waits for what it knows from before.
    time.sleep(4)
    equal(len(mesh.hook.told), told, f"notices of what was told before: {mesh.hook.told[told:]}")
    until("the Alertmanager has it", lambda: mesh.alerts() == ["web-1/api stalled"])
    mesh.kill("relay")
    mesh.agent("web-1", "web", "api")
    time.sleep(1)
    mesh.relay()
    mesh.over()
    equal(len(mesh.hook.told), told + 1, "notices of its end, which came while the relay was away")
    return "told once as open and once as over, by three lives of the relay"


def an_observer_is_killed(mesh):
    mesh.kill("obs-2")
    took = mesh.trouble("observer obs-2 lost: 1 unit unknown", {
        ("web-1", "api"): "up", ("db-1", "store"): "up", ("obs-2", "observer"): "stalled"})
    mesh.observer("obs-2")
    mesh.over()
    return f"told after {took:.1f} s, by its peer"


def the_observers_are_parted(mesh):
    mesh.net.part("observer", "second")
    took = mesh.trouble("obs-1 and obs-2 do not hear each other", {("web-1", "api"): "up", ("db-1", "store"): "up"})
    mesh.net.part("observer", "second", parted=False)
    mesh.over()
    return f"told after {took:.1f} s"


SCENARIOS = [whole, a_process_dies, an_observer_is_cut_from_the_relay, an_observer_is_cut_from_its_agents,
             the_relay_is_killed, the_relay_is_killed_while_an_incident_is_open, an_observer_is_killed, the_observers_are_parted]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--varta", type=Path, required=True, help="the program under test")
    parser.add_argument("--only", action="append", choices=[name_of(one) for one in SCENARIOS[1:]], help="besides the first")
    parser.add_argument("--keep", action="store_true", help="keep the logs where all passed, too")
    given = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("namespaces need root")
    missing = [tool for tool in ("ip", "prometheus-alertmanager") if shutil.which(tool) is None]
    if missing:
        parser.error(f"install what has {', '.join(missing)}")
    give_up_when_told()
    signal.alarm(LIMIT)
    wanted = [whole, *wanted_of(SCENARIOS[1:], given.only)]
    directory = Path(tempfile.mkdtemp(prefix="varta-relay-"))
    net, mesh, passed = hosts.Net(), None, 0
    try:
        net.build()
        mesh = Mesh(net, str(given.varta.resolve()), directory / "mesh")
        for scenario in wanted:
            well = attempt(scenario, lambda: scenario(mesh) or "as it should be", mesh.directory)
            passed += well
            if not well:
                # What follows would begin in the middle of this.
                break
    except (GivenUp, Failed, OSError) as why:
        print(f"FAIL {why}", flush=True)
    finally:
        if mesh is not None:
            mesh.close()
        net.tear_down()
    return conclude(passed, wanted, directory, given.keep)


if __name__ == "__main__":
    sys.exit(main())
