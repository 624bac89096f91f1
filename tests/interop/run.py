#!/usr/bin/env python3
"""Varta beside the published 0.2.0: its clients before our observer, our client before its observer, ours in its place.

Run: python3 tests/interop/run.py --varta target/release/varta
Fetches the published programs by pip and cargo into the target directory, once.
"""

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

# The scripts leave nothing behind in the source tree.
sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "net")]

import programs
import published_clients
import published_observer
from scenarios import GivenUp, attempt, conclude, give_up_when_told, name_of, wanted_of
from waiting import Failed

SCENARIOS = [*published_clients.SCENARIOS, *published_observer.SCENARIOS]
# Far more than all of it takes: a script that hangs must end, and clean up.
LIMIT = 300


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


def try_one(scenario, found, directory):
    folder = directory / name_of(scenario)
    folder.mkdir()
    return attempt(scenario, lambda: scenario(found, folder), folder)


def main():
    given = arguments()
    give_up_when_told()
    varta = given.varta.resolve()
    wanted = wanted_of(SCENARIOS, given.only)
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
    return conclude(passed, wanted, directory, given.keep)


if __name__ == "__main__":
    sys.exit(main())
