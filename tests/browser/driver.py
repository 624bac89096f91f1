"""A headless Chromium, driven over WebDriver: as much of it as these tests need."""

import base64
import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

ARGUMENTS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars",
]
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
KEYS = {"Enter": "\ue007", "Escape": "\ue00c"}


class Browser:
    """One browser with a fresh profile. It is ended, by its pid, when the `with` ends."""

    def __init__(self, width=1440, height=900, dark=True):
        self.size, self.dark = (width, height), dark

    def __enter__(self):
        self.profile = tempfile.mkdtemp(prefix="varta-browser-")
        self.driver = subprocess.Popen([shutil.which("chromedriver"), "--port=0"], stdout=subprocess.PIPE,
                                       stderr=subprocess.DEVNULL, text=True)
        for line in self.driver.stdout:
            if "on port" in line and "successfully" in line:
                self.base = f"http://127.0.0.1:{line.rsplit(' ', 1)[1].strip().rstrip('.')}"
                break
        arguments = [*ARGUMENTS, f"--user-data-dir={self.profile}", f"--window-size={self.size[0]},{self.size[1]}"]
        options = {"args": arguments, "binary": shutil.which("chromium")}
        logs = {"browser": "ALL", "performance": "ALL"}
        made = self.ask("POST", "/session", {"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": options, "goog:loggingPrefs": logs}}})
        self.session = f"/session/{made['sessionId']}"
        self.scheme("dark" if self.dark else "light")
        self.metrics(*self.size)
        return self

    def __exit__(self, *_):
        try:
            self.ask("DELETE", self.session)
        except OSError:
            pass
        self.driver.terminate()
        self.driver.wait(30)
        shutil.rmtree(self.profile, ignore_errors=True)

    def ask(self, method, path, body=None):
        data = json.dumps(body if body is not None else {}).encode() if method == "POST" else None
        request = urllib.request.Request(self.base + path, data=data, method=method,
                                         headers={"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise OSError(f"{path}: {error.read().decode()[:500]}") from None

    def command(self, name, **params):
        return self.ask("POST", f"{self.session}/goog/cdp/execute", {"cmd": name, "params": params})

    def scheme(self, name):
        self.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def metrics(self, width, height):
        self.command("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                     mobile=width < 500)

    def open(self, url):
        self.ask("POST", f"{self.session}/url", {"url": url})

    def run(self, script, *args):
        """The value of a function's body in the page."""
        return self.ask("POST", f"{self.session}/execute/sync", {"script": script, "args": list(args)})

    def wait(self, what, script, *args, limit=30.0):
        """Waits until a function's body gives something true, and returns that."""
        end = time.monotonic() + limit
        while True:
            found = self.run(script, *args)
            if found:
                return found
            if time.monotonic() > end:
                raise AssertionError(f"not within {limit:.0f} s: {what}")
            time.sleep(0.05)

    def text(self, selector="body"):
        return self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector)

    def press(self, *keys):
        for key in keys:
            value = KEYS.get(key, key)
            actions = [{"type": "keyDown", "value": value}, {"type": "keyUp", "value": value}]
            self.ask("POST", f"{self.session}/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def point(self, x, y, click=False):
        actions = [{"type": "pointerMove", "duration": 0, "x": int(x), "y": int(y)}]
        if click:
            actions += [{"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}]
        self.ask("POST", f"{self.session}/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": actions}]})

    def shot(self, path):
        Path(path).write_bytes(base64.b64decode(self.ask("GET", f"{self.session}/screenshot")))

    def logs(self, kind):
        return self.ask("POST", f"{self.session}/se/log", {"type": kind})

    def complaints(self):
        """What the console holds that is no plain word, since it was asked last."""
        return [entry["message"] for entry in self.logs("browser") if entry["level"] in ("SEVERE", "WARNING")]

    def requested(self):
        """Every address that was asked for since that was asked last."""
        events = [json.loads(entry["message"])["message"] for entry in self.logs("performance")]
        return [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
