"""Running scenarios: their names, what is said of each, and of all."""

import shutil
import signal
import time
import traceback

from waiting import Failed


class GivenUp(BaseException):
    """The whole run is over."""


def name_of(scenario):
    return scenario.__name__.replace("_", "-")


def wanted_of(scenarios, only):
    """All of them, or those whose names are in `only`."""
    return [scenario for scenario in scenarios if not only or name_of(scenario) in only]


def give_up_when_told():
    """Has an interruption, or an alarm, end the run by a `GivenUp`: what was begun is taken down."""
    def give_up(_number, _frame):
        raise GivenUp("the scenarios took far longer than they should, or were interrupted")
    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, give_up)


def attempt(scenario, run, logs):
    """Has `run` run a scenario, and says how that went."""
    start = time.monotonic()
    try:
        said, passed = run(), True
    except Failed as failed:
        said, passed = str(failed), False
    except Exception:  # noqa: BLE001 - any other mistake is this script's own, and is shown whole
        said, passed = traceback.format_exc(), False
    print(f"{'ok  ' if passed else 'FAIL'} {name_of(scenario)} ({said}; {time.monotonic() - start:.1f} s)", flush=True)
    if not passed:
        print(f"     logs: {logs}", flush=True)
    return passed


def conclude(passed, wanted, directory, keep):
    """Says how all went, and gives the exit status. Logs are kept where something failed, or all of them."""
    failed = len(wanted) - passed
    if failed or keep:
        print(f"logs are kept in {directory}")
    else:
        shutil.rmtree(directory)
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed else 0
