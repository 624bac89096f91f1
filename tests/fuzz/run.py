#!/usr/bin/env python3
"""Runs the fuzz targets under coverage, from the corpora in this folder, and says what each run found.

    run.py --seconds 600 [TARGET ..]     run each so long; status 1 if any input fails, which is printed in hex
    run.py --seconds 600 --keep          and put what the runs found into the corpora, made small again

Needs a nightly toolchain and cargo-fuzz. The code under test is safe Rust, so no sanitizer is built in: what is looked for
is a panic, an overflow, a property that does not hold, memory beyond the limit or an input that takes too long.
"""

import argparse
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
CORPORA = HERE / "corpora"
TARGETS = sorted(path.stem for path in (HERE / "fuzz_targets").glob("*.rs"))
# Longest case, bytes; and the most that a packed corpus may have, bytes of its file.
LONGEST = {"base_frame": 96, "datagram": 1024, "metadata": 1300}
PACKED_MOST = {"base_frame": 4_000, "datagram": 110_000}


def longest(target):
    return LONGEST.get(target, 4096)


def cargo_fuzz(*words):
    return ["cargo", "+nightly", "fuzz", *words, "--fuzz-dir", str(HERE), "--sanitizer", "none"]


def stored(target):
    """The lines of a corpus, and their cases. A line with a reason behind `#` was put there by hand, and stays."""
    lines = (CORPORA / f"{target}.hex").read_text().splitlines()
    return [(line, bytes.fromhex(line.partition("#")[0])) for line in lines]


def unpack(target, folder):
    for number, (_, case) in enumerate(stored(target)):
        (folder / f"packed-{number:05}").write_bytes(case)


def pack(target, cases):
    """Writes what was put there by hand, then cases, short ones first and as many as there is room for."""
    by_hand = [(line, case) for line, case in stored(target) if "#" in line]
    lines = [line for line, _ in by_hand]
    room = PACKED_MOST.get(target, 50_000) - sum(len(line) + 1 for line in lines)
    for case in sorted(set(cases) - {case for _, case in by_hand}, key=lambda case: (len(case), case)):
        if case and 2 * len(case) + 1 <= room:
            lines.append(case.hex())
            room -= 2 * len(case) + 1
    (CORPORA / f"{target}.hex").write_text("".join(f"{line}\n" for line in lines))
    return len(lines)


def binary(target):
    """The program that `build` has made."""
    words = ["cargo", "+nightly", "metadata", "--format-version", "1", "--no-deps", "--manifest-path", str(HERE / "Cargo.toml")]
    metadata = subprocess.run(words, check=True, capture_output=True, text=True, cwd=HERE).stdout
    folder = re.search(r'"target_directory":"([^"]+)"', metadata).group(1)
    host = re.search(r"host: (\S+)", subprocess.run(["rustc", "+nightly", "-vV"], check=True, capture_output=True, text=True).stdout)
    return pathlib.Path(folder) / host.group(1) / "release" / target


def run(target, seconds, keep):
    """Runs one target; returns the inputs that failed."""
    with tempfile.TemporaryDirectory(prefix="varta-fuzz-") as scratch:
        corpus, found = pathlib.Path(scratch, "corpus"), pathlib.Path(scratch, "found")
        corpus.mkdir()
        found.mkdir()
        unpack(target, corpus)
        began = len(list(corpus.iterdir()))
        words = [
            str(binary(target)), str(corpus), f"-max_total_time={seconds}", f"-max_len={longest(target)}", "-timeout=20",
            "-rss_limit_mb=2048", "-print_final_stats=1", "-len_control=20", f"-artifact_prefix={found}/",
        ]
        start = time.monotonic()
        ended = subprocess.run(words, cwd=scratch, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        took = time.monotonic() - start
        number = lambda pattern: (re.findall(pattern, ended.stdout) or ["?"])[-1]
        executions = number(r"stat::number_of_executed_units:\s*(\d+)")
        if executions == "?":
            executions = number(r"#(\d+)\s")
        added = number(r"stat::new_units_added:\s*(\d+)")
        features = number(r"ft: (\d+)")
        failed = sorted(found.iterdir())
        print(
            f"{target:<11} {took:5.0f} s  {executions:>9} executions  {features:>6} features  {added:>5} new cases"
            f"  {len(failed)} failures",
            flush=True,
        )
        if failed or ended.returncode != 0:
            print("\n".join(ended.stdout.splitlines()[-40:]))
            for case in failed:
                print(f"{target} fails on {case.read_bytes().hex()}")
            if not failed:
                print(f"{target} ended with status {ended.returncode} and left no input")
        if keep:
            small = pathlib.Path(scratch, "small")
            small.mkdir()
            merge = [str(binary(target)), "-merge=1", f"-max_len={longest(target)}", str(small), str(corpus)]
            subprocess.run(merge, check=True, cwd=scratch, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            kept = pack(target, [case.read_bytes() for case in small.iterdir()] + [case.read_bytes() for case in failed])
            print(f"{target:<11} {began} cases before, {kept} now", flush=True)
        return not failed and ended.returncode == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"some of {', '.join(TARGETS)}; all without")
    parser.add_argument("--seconds", type=int, required=True, help="how long each target runs")
    parser.add_argument("--keep", action="store_true", help="put what is found into the corpora")
    parser.add_argument("--no-build", action="store_true", help="run what was built before")
    asked = parser.parse_args()
    unknown = sorted(set(asked.targets) - set(TARGETS))
    if unknown:
        parser.error(f"no target is called {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    if not asked.no_build:
        if shutil.which("cargo-fuzz") is None:
            sys.exit("cargo-fuzz is missing: cargo install --locked cargo-fuzz")
        subprocess.run(cargo_fuzz("build"), check=True, cwd=HERE)
    results = [run(target, asked.seconds, asked.keep) for target in asked.targets or TARGETS]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
