#!/usr/bin/env python3
"""Varta on several hosts: every promise tried on real programs, real cables, and an attacker who sees everything.

Run as root: python3 tests/net/run.py --varta target/release/varta
The hosts are network namespaces that this script makes and takes down again; nothing else on the machine is touched.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

# The scripts leave nothing behind in the source tree.
sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

import attacks
import bad_input
import clocks
import fleet
import floods
import reloads
import restarts
from hosts import Net
from mesh import Keys, Mesh
from scenarios import GivenUp, attempt, conclude, give_up_when_told, name_of, wanted_of
from waiting import Failed

SCENARIOS = [
    fleet.alive, fleet.endings, fleet.paused, fleet.cable, attacks.attacker, attacks.withheld, restarts.crash,
    restarts.clean_stop, clocks.stepped_clock, reloads.reload, bad_input.refused_starts, bad_input.corrupt_state,
    bad_input.full_disk, *floods.SCENARIOS,
]
TOOLS = ("ip", "mount", "umount", "prometheus", "promtool", "faketime")
# Far more than all of it takes: a script that hangs must end, and clean up.
LIMIT = 900
# A flood in the ordinary run, seconds, and what each takes besides.
SHORT_FLOOD = 5
BESIDE_A_FLOOD = 120


def arguments():
    names = [name_of(scenario) for scenario in SCENARIOS]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--varta", type=Path, help="the program under test")
    parser.add_argument("--bench", type=Path, help="varta-bench; without it, it is built beside the program under test")
    parser.add_argument("--floods", action="store_true", help="run the floods only")
    parser.add_argument("--seconds", type=int, default=SHORT_FLOOD, help="how long each flood lasts (5 to 600)")
    parser.add_argument("--only", action="append", choices=names, help="run this scenario only (may be repeated)")
    parser.add_argument("--list", action="store_true", help="list the scenarios")
    parser.add_argument("--keep", action="store_true", help="keep the logs of scenarios that passed too")
    given = parser.parse_args()
    if not given.list:
        if given.varta is None or not os.access(given.varta, os.X_OK):
            parser.error("--varta must name the program under test")
        if not 5 <= given.seconds <= 600:
            parser.error("--seconds must be 5 to 600")
        if os.geteuid() != 0:
            parser.error("namespaces need root")
        missing = [tool for tool in TOOLS if shutil.which(tool) is None]
        if missing:
            parser.error(f"install what has {', '.join(missing)}")
    return given


def built_bench(varta):
    """Builds varta-bench beside `varta`, with the same profile."""
    profile = "release" if varta.parent.name == "release" else "dev"
    manifest = Path(__file__).resolve().parents[2] / "Cargo.toml"
    subprocess.run(["cargo", "build", "--locked", "--quiet", "--package", "varta-bench", "--profile", profile,
                    "--manifest-path", manifest, "--target-dir", varta.parents[1]], check=True, stdin=subprocess.DEVNULL)
    return varta.parent / "varta-bench"


def try_one(scenario, net, programs, keys, directory):
    mesh = Mesh(net, programs, keys, directory / name_of(scenario))

    def run():
        said = scenario(mesh)
        mesh.assert_observers_well()
        return said

    try:
        return attempt(scenario, run, mesh.directory)
    finally:
        mesh.close()


def run_all(scenarios, programs, directory):
    net = Net()
    try:
        net.build()
        keys = Keys(programs[0], directory / "keys")
        for scenario in scenarios:
            yield try_one(scenario, net, programs, keys, directory)
    finally:
        net.tear_down()


def main():
    given = arguments()
    if given.list:
        print("\n".join(name_of(scenario) for scenario in SCENARIOS))
        return 0
    give_up_when_told()
    varta, wanted = given.varta.resolve(), wanted_of(floods.SCENARIOS if given.floods else SCENARIOS, given.only)
    flooding = sum(scenario in floods.SCENARIOS for scenario in wanted)
    bench = (given.bench.resolve() if given.bench else built_bench(varta)) if flooding else None
    signal.alarm(LIMIT + flooding * (given.seconds + BESIDE_A_FLOOD))
    directory = Path(tempfile.mkdtemp(prefix="varta-net-"))
    passed = 0
    try:
        for well in run_all(wanted, (str(varta), str(bench), given.seconds), directory):
            passed += well
    except (GivenUp, Failed, OSError) as why:
        print(f"FAIL {why}", flush=True)
    if floods.rows:
        print(floods.table(), flush=True)
    return conclude(passed, wanted, directory, given.keep)


if __name__ == "__main__":
    sys.exit(main())
