"""Agents as they live, pause, lose their cable and end."""

import json
import signal
import subprocess
import sys
import time

from hosts import address
from observer import HTTP_PORT
from waiting import check, equal, until

PYTHON = sys.executable
SHELL_LOOP = ("sh", "-c", "while :; do sleep 0.2; done")
# A program that takes a second beat of its own, and stops well when it is asked to.
STORE = """
import pathlib, signal, sys
def stop(number, frame):
    pathlib.Path(sys.argv[1]).write_text("asked to stop")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
pathlib.Path(sys.argv[1]).write_text("running")
while True:
    signal.pause()
"""


def store(mesh):
    """A Python script that says in a file how it is, and that file."""
    said = mesh.directory / "store.said"
    return (PYTHON, "-c", STORE, str(said)), said


# -- alive --------------------------------------------------------------------------------------------------------


def alive(mesh):
    observer = mesh.observer().start()
    command, _ = store(mesh)
    web = ("web-1", "http"), ("web-1", "loop")
    programs = {
        web[0]: mesh.exec("web", *web[0], PYTHON, "-m", "http.server", "8080", "--bind", address("web")),
        web[1]: mesh.exec("web", *web[1], *SHELL_LOOP),
        ("db-1", "store"): mesh.exec("db", "db-1", "store", *command),
        ("db-2", "tick"): mesh.beat("db", "db-2", "tick"),
    }
    for agent, unit in programs:
        event = observer.told(agent, unit, "up", why="promised the next within 1000 ms")
        equal(event["kind"], "new", f"the first event of {agent}/{unit}")
    slots = observer.slots()
    sites = {"web-1": "ams", "db-1": "fra", "db-2": "fra"}
    for (agent, unit), program in programs.items():
        slot = slots[agent, unit]
        equal((slot["pid"], slot["status"], slot["origin"]), (program.pid, "ok", "NetworkVerified"), f"{agent}/{unit}")
        equal(slot["labels"]["site"], sites[agent], f"the site of {agent}")
        check(int(slot["session"]) > 10**18, f"{slot['session']} is no session's start")
    equal(slots["web-2", ""]["verdict"], "missing", "an agent of the roster that was never heard")
    fetched = fetch(mesh, "db", f"http://{address('web')}:8080/")
    check("Directory listing" in fetched, "the wrapped web server does not serve")
    ready_and_clean(mesh, observer)
    samples = scraped(mesh, observer, programs)
    return f"4 units up, {samples} series in Prometheus"


def fetch(mesh, host, url):
    code = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())"
    status, said = until(f"{url} answers", lambda: served(mesh.run(host, PYTHON, "-c", code, url)))
    equal(status, 0, said)
    return said


def served(answer):
    return answer if answer[0] == 0 else None


def ready_and_clean(mesh, observer):
    equal(observer.get("/readyz")[0], 200, "/readyz")
    text = observer.metrics().text
    lint = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False,
                          timeout=30)
    equal((lint.returncode, lint.stdout + lint.stderr), (0, ""), "what promtool says of the metrics")
    url = f"http://127.0.0.1:{HTTP_PORT}"
    status, said = mesh.run("observer", mesh.varta, "status", "--url", url, "--json")
    equal(json.loads(said)["verdicts"]["up"], 4, f"what `varta status` counts as up ({status})")
    observer.conserves()


def scraped(mesh, observer, programs):
    """A real Prometheus sees what the observer says."""
    config = mesh.directory / "prometheus.yml"
    config.write_text(
        "global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\nscrape_configs:\n  - job_name: varta\n"
        f"    static_configs:\n      - targets: ['127.0.0.1:{HTTP_PORT}']\n")
    mesh.program("observer", "prometheus", f"--config.file={config}", "--web.listen-address=127.0.0.1:9090",
                 f"--storage.tsdb.path={mesh.directory / 'prometheus'}", "--storage.tsdb.retention.time=1h")
    until("Prometheus says up", lambda: asked(mesh, 'up{job="varta"}') == [1.0])
    until("Prometheus counts four units as up", lambda: asked(mesh, 'varta_slots{verdict="up"}') == [4.0])
    for agent, unit in programs:
        equal(asked(mesh, f'varta_status{{agent="{agent}",unit="{unit}",pid=""}}'), [0.0], f"varta_status of {unit}")
    check(asked(mesh, "sum(varta_beats_total)")[0] > 4, "Prometheus sees no beats")
    return int(asked(mesh, 'count({job="varta"})')[0])


def asked(mesh, query):
    """The values of a query to Prometheus; nothing while it does not answer."""
    code = ("import sys, urllib.parse, urllib.request; print(urllib.request.urlopen("
            "'http://127.0.0.1:9090/api/v1/query?query=' + urllib.parse.quote(sys.argv[1]), timeout=5).read().decode())")
    status, said = mesh.run("observer", PYTHON, "-c", code, query)
    if status != 0:
        return []
    return [float(one["value"][1]) for one in json.loads(said)["data"]["result"]]


# -- endings ------------------------------------------------------------------------------------------------------


def endings(mesh):
    observer = mesh.observer().start()
    command, said = store(mesh)
    shot = mesh.exec("web", "web-1", "shot", *SHELL_LOOP)
    gone = mesh.exec("web", "web-1", "gone", *SHELL_LOOP)
    asked_to_stop = mesh.exec("db", "db-1", "store", *command)
    failing = mesh.exec("db", "db-1", "failing", "sh", "-c", "sleep 2; exit 3")
    done = mesh.exec("db", "db-2", "done", "sh", "-c", "sleep 2")
    script = mesh.beat("db", "db-2", "script", "--every", "300ms", "--count", "5", "--final")
    for agent, unit in [("web-1", "shot"), ("web-1", "gone"), ("db-1", "store")]:
        observer.told(agent, unit, "up")

    subprocess.run(["kill", "-9", str(shot.child())], check=True)
    until("the script runs", lambda: said.exists() and said.read_text() == "running")
    asked_to_stop.signal(signal.SIGTERM)
    gone.signal(signal.SIGKILL)

    shot.ended(137)
    observer.told("web-1", "shot", "critical", why="ended: signal 9")
    equal(observer.slot("web-1", "shot")["payload"], 256 + 9, "the payload of a signal")
    asked_to_stop.ended(0)
    equal(said.read_text(), "asked to stop", "what SIGTERM to `varta exec` has done")
    observer.told("db-1", "store", "departed", why="said goodbye")
    failing.ended(3)
    observer.told("db-1", "failing", "critical", why="ended: exit 3")
    done.ended(0)
    observer.told("db-2", "done", "departed")
    script.ended(0)
    observer.told("db-2", "script", "departed")
    gone.ended(-signal.SIGKILL)
    stall = observer.told("web-1", "gone", "stalled", why="the deadline is 2250 ms after it")
    check(0 <= stall["late_us"] < 1_000_000, f"the stall was told {stall['late_us']} us after its deadline")
    one_stall(observer)
    again(mesh, observer)
    status, text = mesh.run("db", mesh.varta, "exec", "--key", mesh.keys.file("db-3"), "--unit", "x", "--", "/no/such")
    check(status == 127 and "/no/such" in text, f"a program that is not there: {status} {text}")
    return f"6 endings, stall told {stall['late_us'] / 1000:.1f} ms after its deadline"


def one_stall(observer):
    """Of all these endings, one is a stall: the others said how they ended, and nothing more comes at their deadlines."""
    time.sleep(1)
    units = [("web-1", "shot"), ("web-1", "gone"), ("db-1", "store"), ("db-1", "failing"), ("db-2", "done")]
    stalls = {unit: observer.stalls(agent, unit) for agent, unit in units}
    equal(stalls, {"shot": 0, "gone": 1, "store": 0, "failing": 0, "done": 0}, "varta_stalls_total")
    equal(observer.metrics().value("varta_stall_detection_seconds_count"), 1, "stalls in the histogram")
    equal(len([event for event in observer.events if event["to"] == "stalled"]), 1, "events of a stall")


def again(mesh, observer):
    """A new life takes a bad ending back, and is told as a restart."""
    since = observer.mark()
    old = observer.slot("web-1", "shot")["pid"]
    program = mesh.exec("web", "web-1", "shot", *SHELL_LOOP)
    observer.told("web-1", "shot", "up", since=since)
    event = until("a restart is told", lambda: observer.event(since, kind="restarted", agent="web-1", unit="shot"))
    equal((event["old_pid"], event["pid"]), (old, program.pid), "the pids of the restart")
    slot = observer.slot("web-1", "shot")
    equal((slot["restarts"], slot["stalls"]), (1, 0), "restarts and stalls")
    check(observer.logged("^restarted$", level="INFO"), "the log does not tell the restart")


# -- paused -------------------------------------------------------------------------------------------------------


def paused(mesh):
    observer = mesh.observer().start()
    beat = mesh.beat("web", "web-1", "beat")
    wrapper = mesh.exec("web", "web-2", "wrapper", *SHELL_LOOP)
    inner = mesh.exec("db", "db-1", "inner", *SHELL_LOOP)
    units = [("web-1", "beat"), ("web-2", "wrapper"), ("db-1", "inner")]
    for agent, unit in units:
        observer.told(agent, unit, "up")
    child = str(inner.child())
    beat.signal(signal.SIGSTOP)
    wrapper.signal(signal.SIGSTOP)
    subprocess.run(["kill", "-STOP", child], check=True)
    stopped = time.monotonic()

    observer.told("db-1", "inner", "critical", limit=10)
    observer.told("web-1", "beat", "stalled", why="silent")
    observer.told("web-2", "wrapper", "stalled", why="silent")
    time.sleep(max(0.0, stopped + 3 - time.monotonic()))
    since = observer.mark()
    beat.signal(signal.SIGCONT)
    wrapper.signal(signal.SIGCONT)
    subprocess.run(["kill", "-CONT", child], check=True)

    back = observer.told("web-1", "beat", "up", since=since)
    check("said that its last beat left" in back["why"], f"the beat's own lateness is not in {back['why']!r}")
    observer.told("web-2", "wrapper", "up", since=since)
    observer.told("db-1", "inner", "up", since=since)
    slots = observer.slots()
    counts = {unit: (slots[agent, unit]["stalls"], slots[agent, unit]["restarts"]) for agent, unit in units}
    equal(counts, {"beat": (1, 0), "wrapper": (1, 0), "inner": (0, 0)}, "stalls and restarts")
    equal(observer.event(kind="restarted"), None, "an event of a restart")
    observer.conserves()
    return "two stalled and came back, a stopped program was critical"


# -- cable --------------------------------------------------------------------------------------------------------


def cable(mesh):
    observer = mesh.observer().start()
    web = [("web-1", "one"), ("web-1", "two"), ("web-2", "three")]
    database = [("db-1", "one"), ("db-2", "two")]
    for agent, unit in web:
        mesh.exec("web", agent, unit, *SHELL_LOOP)
    for agent, unit in database:
        mesh.beat("db", agent, unit)
    for agent, unit in web + database:
        observer.told(agent, unit, "up")

    cut(observer, web, database, lambda: mesh.net.pull_cable("web"), lambda: mesh.net.plug_cable("web"))
    cut(observer, database, web, lambda: mesh.net.interface_down("db"), lambda: mesh.net.interface_up("db"))
    slots = observer.slots()
    for agent, unit in web + database:
        slot = slots[agent, unit]
        equal((slot["stalls"], slot["restarts"]), (1, 0), f"stalls and restarts of {agent}/{unit}")
    equal(observer.event(kind="blind"), None, "an event of blindness")
    observer.conserves()
    return "3 units behind a pulled cable, 2 behind an interface that was down"


def cut(observer, cut_off, others, down, up):
    since = observer.mark()
    down()
    for agent, unit in cut_off:
        observer.told(agent, unit, "stalled", since=since)
    for agent, unit in others:
        equal(observer.slot(agent, unit)["verdict"], "up", f"the verdict on {agent}/{unit}, whose cable is in")
        equal(observer.event(since, agent=agent, unit=unit), None, f"an event on {agent}/{unit}")
    since = observer.mark()
    up()
    for agent, unit in cut_off:
        observer.told(agent, unit, "up", since=since)
