#!/usr/bin/env python3
"""The dashboard, as people use it: a headless Chromium before a live mesh of real processes on loopback.

python3 tests/browser/run.py --varta target/release/varta [--shots DIR]
Screenshots are kept in --shots: look at them. Names and labels are what senders choose; here they are markup.
"""

import argparse
import gzip
import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "net"))

from driver import Browser
from scenarios import GivenUp, attempt, conclude, give_up_when_told
from waiting import Failed, check, equal, until

# Far more than all of it takes.
LIMIT = 600
MARKUP = '<img src=x onerror="window.harmed=1"><b>site</b>'
AGENTS = 40
MANY = 10_000


class Mesh:
    """`varta dev` with its dashboard, and agents that can be killed."""

    def __init__(self, varta, directory):
        self.varta, self.programs = varta, []
        self.log = open(directory / "dev.log", "wb")
        self.dev = self.start("dev", "--state", directory / "state", out=subprocess.PIPE)
        said = {}
        while "sealed" not in said:
            line = self.dev.stdout.readline().decode()
            check(line, f"varta dev ended; see {self.log.name}")
            word, rest = line.split(None, 1)
            said.setdefault(word, rest.strip())
        self.base = said["dashboard"]
        self.sealed, self.key = re.fullmatch(r"udp://(\S+), key (.+)", said["sealed"]).groups()

    def start(self, *argv, out=None):
        program = subprocess.Popen([self.varta, *map(str, argv)], stdin=subprocess.DEVNULL, stdout=out or self.log,
                                   stderr=self.log, start_new_session=True)
        self.programs.append(program)
        return program

    def load(self, agents, rate, count, promise, *more):
        return self.start("bench", "load", "--to", self.sealed, "--key", self.key, "--agents", agents, "--rate", rate,
                          "--count", count, "--promise", promise, "--announce", *more)

    def kill(self, program):
        program.send_signal(signal.SIGKILL)
        program.wait(30)
        self.programs.remove(program)

    def ask(self, path, zipped=False):
        """What an address says; where `zipped`, as its bytes go over the wire."""
        request = urllib.request.Request(self.base + path, headers={"Accept-Encoding": "gzip"} if zipped else {})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read()

    def page(self, path):
        return json.loads(self.ask(f"/api/v1/{path}"))

    def close(self):
        for program in list(self.programs):
            self.kill(program)
        self.log.close()


class Eyes:
    """The browser, and what every scenario needs of it."""

    def __init__(self, browser, mesh, shots):
        self.browser, self.mesh, self.shots, self.number = browser, mesh, shots, 0

    def shot(self, name):
        self.number += 1
        self.browser.shot(self.shots / f"{self.number:02}-{name}.png")

    def go(self, page):
        self.browser.run("location.hash = arguments[0]", page)

    def see(self, what, script, *args):
        try:
            return self.browser.wait(what, script, *args)
        except AssertionError as error:
            raise Failed(str(error)) from None

    def count(self, verdict):
        return int(self.browser.text(f".strip .{verdict} .count").replace(",", "") or 0)

    def home(self):
        self.go("#/fleet")
        self.see("the grid", "return window.varta?.grid?.count > 0 && !!document.querySelector('canvas')")
        self.browser.press("Escape")

    def sent(self):
        """Units of the agents that can be killed, as the relay has them."""
        return [f"{unit['agent']}/{unit['unit'] or 'pid:' + str(unit['pid'])}" for unit in self.mesh.page("agents?limit=1000")["agents"]
                if unit["agent"].startswith("bench-")]

    def well(self):
        """Nothing complained, nothing was asked of anybody else, nothing that a sender wrote was run."""
        equal(self.browser.complaints(), [], "what the console says")
        asked = [url for url in self.browser.requested() if not url.startswith(("chrome:", "data:"))]
        foreign = sorted({url for url in asked if not url.startswith(self.mesh.base + "/")})
        equal(foreign, [], "requests to others")
        check(self.browser.run("return window.harmed === undefined && !document.querySelector('main img[src=x], main b b')"),
              "markup of a sender became part of the page")

    def fits(self):
        wide, room = self.browser.run("return [document.documentElement.scrollWidth, innerWidth]")
        check(wide <= room, f"{self.browser.run('return location.hash')} is {wide} px wide in a window of {room}")


def opens(eyes):
    eyes.browser.open(eyes.mesh.base + "/")
    eyes.see("the sample agents", "return window.varta?.grid?.count >= 5")
    eyes.see("the light", "return document.querySelector('#live').textContent === 'live'")
    check("units" in eyes.browser.text("main"), "the number of units")
    eyes.shot("fleet")
    asked = eyes.browser.requested()
    own = sorted({url for url in asked if url.startswith(eyes.mesh.base)} - {f"{eyes.mesh.base}/api/v1/live"})
    files = [urllib.parse.urlsplit(url).path for url in own if "/api/" not in url]
    check("/assets/app.js" in files and "/assets/style.css" in files, f"the page asked for {files}")
    sizes = {path: len(eyes.mesh.ask(path, zipped=True)) for path in files}
    total = sum(sizes.values())
    check(total < 120_000, f"the first load is {total} bytes: {sizes}")
    return f"first load {total:,} bytes in {len(sizes)} files"


def a_units_page(eyes):
    eyes.home()
    eyes.go("#/agent/web-1/api")
    eyes.see("the unit's page", "return document.querySelector('h1')?.textContent.includes('web-1')")
    eyes.see("what observers say", "return document.querySelectorAll('main table tr').length >= 2")
    text = eyes.browser.text("main")
    for word in ("Timeline", "24 hours", "7 days", "Last beat", "What each observer says"):
        check(word in text, f"{word!r} is not on the page")
    eyes.shot("unit")
    eyes.go("#/agent/nobody/none")
    eyes.see("that there is none", "return document.querySelector('main .empty')?.textContent.includes('nobody')")
    # It asked for what is not there, and the browser says so.
    eyes.browser.complaints()


def others(eyes):
    for page, selector in (("observers", "table.matrix"), ("events", ".feed li"), ("incidents", ".tools button")):
        eyes.go(f"#/{page}")
        eyes.see(page, "return !!document.querySelector('main ' + arguments[0])", selector)
        eyes.shot(page)


def senders_markup(eyes):
    eyes.home()
    load = eyes.mesh.load(AGENTS, AGENTS, 1_000_000, "2s", "--label", f"site={MARKUP}")
    until("the relay has them", lambda: len(eyes.sent()) == AGENTS)
    eyes.see("the group, named by markup", "return document.querySelector('main .layer')?.innerText.includes('<img src=x')")
    eyes.shot("markup")
    eyes.go("#/agent/" + eyes.sent()[0])
    eyes.see("a unit of it", "return document.querySelector('main .facts')?.innerText.includes('<img src=x')")
    return load


def live_change(eyes, load):
    """Kills what sends for 40 agents of one site; the page has it when it has it."""
    eyes.home()
    before = {one["id"] for one in eyes.mesh.page("incidents?state=all&limit=100")["incidents"]}
    eyes.browser.run("""
      window.seen = 0;
      const count = document.querySelector('.strip .stalled .count');
      new MutationObserver(() => {
        if (window.seen === 0 && Number(count.textContent) > 5) window.seen = Date.now();
      }).observe(count, { childList: true, characterData: true, subtree: true });
    """)
    eyes.mesh.kill(load)
    eyes.see("more than five stalled units in the strip", "return window.seen")
    eyes.see("all of them", "return Number(document.querySelector('.strip .stalled .count').textContent) >= arguments[0]", AGENTS)
    segments = []
    for unit in eyes.sent():
        history = eyes.mesh.page(f"agents/{unit}")["history"]["segments"]
        segments += [segment["from_ms"] for segment in history if segment["verdict"] == "stalled"]
    equal(len(segments), AGENTS, "units whose history says stalled")
    late = eyes.browser.run("return window.seen") - sorted(segments)[5]
    found = until("the incident", lambda: [one for one in eyes.mesh.page("incidents?state=open&limit=100")["incidents"]
                                          if one["id"] not in before and one["count"] == AGENTS])
    equal(len(found), 1, "incidents of one site")
    eyes.see("the incident in the list", "return [...document.querySelectorAll('main .list .what')].some((one) => one.textContent === arguments[0])",
             found[0]["title"])
    eyes.shot("incident-in-fleet")
    return found[0], f"the sixth of {AGENTS} stalls was on the page {late} ms after the relay knew"


def an_incident(eyes, incident):
    eyes.go(f"#/incidents/{incident['id']}")
    eyes.see("its page", "return document.querySelector('.card h2')?.textContent === arguments[0]", incident["title"])
    eyes.see("its members", "return document.querySelectorAll('.card .chip').length === 24 && document.querySelector('.card').innerText.includes('and 16 more')")
    eyes.shot("incident")
    eyes.browser.run("""
      const name = document.querySelector('.actions input');
      name.value = arguments[0];
      name.dispatchEvent(new Event('input', { bubbles: true }));
      [...document.querySelectorAll('.actions button')].find((one) => one.textContent === 'Acknowledge').click();
    """, MARKUP[:40])
    until("it is acknowledged", lambda: (eyes.mesh.page(f"incidents/{incident['id']}")["acked"] or {}).get("by") == MARKUP[:40])
    eyes.browser.run("document.activeElement.blur()")
    eyes.see("who took it, as text", "return document.querySelector('.card .tag + .tag')?.textContent.includes('<img src=x')")
    eyes.shot("acknowledged")


def filters_and_keys(eyes):
    eyes.home()
    whole = eyes.browser.run("return window.varta.grid.count")
    eyes.browser.press("/")
    eyes.browser.press(*"bench-000000")
    eyes.see("ten of them", "return window.varta.grid.count === 10")
    eyes.shot("searched")
    eyes.browser.press("Escape", "Escape")
    eyes.see("all of them", "return window.varta.grid.count >= arguments[0]", whole)
    eyes.browser.run("document.querySelector('.strip .stalled').click()")
    eyes.see("the stalled ones", "return window.varta.grid.count === Number(document.querySelector('.strip .stalled .count').textContent)")
    eyes.browser.run("document.querySelector('.strip .stalled').blur()")
    eyes.browser.press("j")
    first = eyes.browser.run("return document.activeElement.getAttribute('href')")
    eyes.browser.press("j")
    second = eyes.browser.run("return document.activeElement.getAttribute('href')")
    check(first and second and first != second, f"j went from {first} to {second}")
    eyes.browser.press("k")
    equal(eyes.browser.run("return document.activeElement.getAttribute('href')"), first, "k goes back to")
    eyes.browser.press("Enter")
    eyes.see("what was chosen", "return location.hash === arguments[0]", first)
    for key, page in (("i", "incidents"), ("o", "observers"), ("e", "events"), ("f", "fleet")):
        eyes.browser.press("g", key)
        eyes.see(page, "return location.hash === '#/' + arguments[0]", page)
    eyes.browser.press("?")
    eyes.see("the keys", "return document.querySelector('dialog#keys').open")
    eyes.browser.press("Escape")
    eyes.see("the keys no more", "return !document.querySelector('dialog#keys').open")
    eyes.browser.press("Escape")


def light_and_small(eyes):
    eyes.browser.scheme("light")
    eyes.home()
    ground = "return getComputedStyle(document.querySelector('main .panel')).backgroundColor"
    light = eyes.browser.run(ground)
    eyes.shot("light")
    eyes.browser.scheme("dark")
    check(light != eyes.browser.run(ground), "light and dark have one ground")
    eyes.browser.metrics(390, 844)
    for page in ("fleet", "incidents", "agent/web-1/api", "observers", "events"):
        eyes.go(f"#/{page}")
        eyes.see(page, "return document.querySelector('main').innerText.length > 20")
        time.sleep(0.5)
        eyes.fits()
        eyes.shot(f"small-{page.split('/')[0]}")
    eyes.browser.metrics(1440, 900)


def ten_thousand(eyes):
    eyes.home()
    eyes.mesh.load(MANY, 5000, 3 * MANY, "120s", "--label", "site=many")
    until("the relay has them", lambda: eyes.mesh.page("fleet")["units"] >= MANY, 60)
    eyes.see("a tile for each", "return window.varta.grid.count >= arguments[0]", MANY)
    eyes.shot("ten-thousand")
    size = len(eyes.mesh.ask("/api/v1/grid", zipped=True))
    plain = eyes.mesh.ask("/api/v1/grid")
    equal(gzip.decompress(eyes.mesh.ask("/api/v1/grid", zipped=True))[:1], plain[:1], "the first byte, compressed and not")
    check(size < 250_000, f"the snapshot of {MANY:,} units is {size} bytes")
    took = []
    for _ in range(15):
        eyes.browser.run("window.varta.grid.wake()")
        time.sleep(0.1)
        took.append(eyes.browser.run("return window.varta.grid.drawn"))
    return f"snapshot {size:,} bytes; drawn in {sorted(took)[len(took) // 2]:.1f} ms, at most {max(took):.1f} ms"


def the_relay_goes(eyes):
    eyes.home()
    eyes.well()
    eyes.mesh.kill(eyes.mesh.dev)
    eyes.see("that the page is old", "const told = document.querySelector('#stale'); return !told.hidden && told.textContent.includes('old')")
    check(eyes.browser.text("#live") != "live", "the light is on")
    eyes.shot("relay-gone")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--varta", type=Path, required=True, help="the program under test")
    parser.add_argument("--shots", type=Path, help="where screenshots are kept; a temporary folder if not given")
    parser.add_argument("--keep", action="store_true", help="keep the logs where all passed, too")
    given = parser.parse_args()
    missing = [tool for tool in ("chromium", "chromedriver") if shutil.which(tool) is None]
    if missing:
        parser.error(f"install what has {', '.join(missing)}")
    give_up_when_told()
    signal.alarm(LIMIT)
    directory = Path(tempfile.mkdtemp(prefix="varta-browser-"))
    shots = given.shots or directory / "shots"
    shots.mkdir(parents=True, exist_ok=True)
    kept = {}

    def markup(eyes):
        kept["load"] = senders_markup(eyes)

    def change(eyes):
        kept["incident"], said = live_change(eyes, kept["load"])
        return said

    steps = {"opens": opens, "a-units-page": a_units_page, "others": others, "senders-markup": markup, "live-change": change,
             "an-incident": lambda eyes: an_incident(eyes, kept["incident"]), "filters-and-keys": filters_and_keys,
             "light-and-small": light_and_small, "ten-thousand": ten_thousand, "the-relay-goes": the_relay_goes}
    mesh, passed = None, 0
    try:
        mesh = Mesh(str(given.varta.resolve()), directory)
        with Browser() as browser:
            eyes = Eyes(browser, mesh, shots)
            for name, step in steps.items():
                def run(step=step, name=name):
                    said = step(eyes) or "as it should be"
                    if name != "the-relay-goes":
                        eyes.well()
                    return said
                run.__name__ = name
                if not attempt(run, run, directory):
                    # What follows would begin in the middle of this.
                    eyes.shot(f"failed-{name}")
                    break
                passed += 1
    except (GivenUp, Failed, OSError) as why:
        print(f"FAIL {why}", flush=True)
    finally:
        if mesh is not None:
            mesh.close()
    return conclude(passed, steps, directory, given.keep or given.shots is None and passed < len(steps))


if __name__ == "__main__":
    sys.exit(main())
