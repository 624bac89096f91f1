#!/usr/bin/env python3
"""Varta beside the published 0.2.0: its clients before our observer, our client before its observer, ours in its place.

Run: python3 tests/interop/run.py --varta target/release/varta
Fetches the published programs by pip and cargo into the target directory, once.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

# The scripts leave nothing behind in the source tree.
sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "net")]

import programs
import published_clients
import published_observer
from waiting import Failed

SCENARIOS = [*published_clients.SCENARIOS, *published_observer.SCENARIOS]
# Far more than all of it takes: a script that hangs must end, and clean up.
LIMIT = 300


class GivenUp(BaseException):
    """The whole run is over."""


def name_of(scenario):
    return scenario.__name__.replace("_", "-")


def arguments():
    names = [name_of(scenario) for scenario in SCENARIOS]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--varta", type=Path, required=True, help="the program under test")
    parser.add_argument("--only", action="append", choices=names, help="run this scenario only (may be repeated)")
    parser.add_argument("--fetch", action="store_true", help="fetch and build only, and say where the observer lies")
    parser.add_argument("--keep", action="store_true", help="keep the logs of scenarios that passed too")
    given = parser.parse_args()
    if not os.access(given.varta, os.X_OK):
        parser.error("--varta must name the program under test")
    return given


def give_up(_number, _frame):
    raise GivenUp("the scenarios took far longer than they should, or were interrupted")


def try_one(scenario, found, directory):
    """Runs a scenario and says how it went."""
    name, start = name_of(scenario), time.monotonic()
    folder = directory / name
    folder.mkdir()
    try:
        said, passed = scenario(found, folder), True
    except Failed as failed:
        said, passed = str(failed), False
    except Exception:  # noqa: BLE001 - any other mistake is this script's own, and is shown whole
        said, passed = traceback.format_exc(), False
    print(f"{'ok  ' if passed else 'FAIL'} {name} ({said}; {time.monotonic() - start:.1f} s)", flush=True)
    if not passed:
        print(f"     logs: {folder}", flush=True)
    return passed


def main():
    given = arguments()
    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, give_up)
    varta = given.varta.resolve()
    wanted = [scenario for scenario in SCENARIOS if not given.only or name_of(scenario) in given.only]
    directory, passed = Path(tempfile.mkdtemp(prefix="varta-interop-")), 0
    try:
        found = programs.gather(varta, varta.parents[1] / "interop")
        if given.fetch:
            print(found.observer)
            return 0
        signal.alarm(LIMIT)
        for scenario in wanted:
            passed += try_one(scenario, found, directory)
    except (GivenUp, Failed, OSError) as why:
        print(f"FAIL {why}", flush=True)
    failed = len(wanted) - passed
    if failed or given.keep:
        print(f"logs are kept in {directory}")
    else:
        shutil.rmtree(directory)
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
