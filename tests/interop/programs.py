"""The published programs: fetched and built once, into the target directory; nothing is installed on the machine."""

import shutil
import subprocess
import sys
from pathlib import Path

from waiting import Failed

VERSION = "0.2.0"
PUBLISHED = Path(__file__).resolve().parent / "published"
# Fetching and building takes a minute; a network that hangs must not hold everything up.
LIMIT = 600


class Programs:
    """Where what is under test, and what is published, lies."""

    def __init__(self, varta, observer, rust, python):
        self.varta, self.observer = varta, observer
        # How an agent of each published client is started.
        self.clients = {"rust": [str(rust)], "python": [str(python), "-B", str(PUBLISHED / "agent.py")]}


def gather(varta, target):
    """All programs, where `target` has what was built before."""
    target.mkdir(parents=True, exist_ok=True)
    return Programs(varta, observer(target / "observer"), rust_client(target / "rust"), python_client(target / "python"))


def observer(folder):
    """The published observer, with its metrics."""
    program = folder / "bin" / "varta-watch"
    if not program.exists():
        run("cargo", "install", "--quiet", "--locked", "--root", folder, "--target-dir", folder / "build", "varta-watch",
            "--version", VERSION, "--features", "prometheus-exporter")
        shutil.rmtree(folder / "build")
    return program


def rust_client(folder):
    run("cargo", "build", "--quiet", "--locked", "--target-dir", folder, "--manifest-path", PUBLISHED / "Cargo.toml")
    return folder / "debug" / "published-agent"


def python_client(folder):
    """An interpreter that has the published client, and nothing else of this machine's."""
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        run(sys.executable, "-m", "venv", "--clear", folder)
        run(python, "-m", "pip", "install", "--quiet", "--no-deps", f"varta=={VERSION}")
        (folder / "complete").touch()
    return python


def run(*argv):
    argv = list(map(str, argv))
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        raise Failed(f"{' '.join(argv)} took more than {LIMIT} s") from None
    if done.returncode != 0:
        raise Failed(f"{' '.join(argv)} ended with {done.returncode}:\n{done.stderr.strip()}")
