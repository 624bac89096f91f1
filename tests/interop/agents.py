"""Agents: of the published clients, and our own."""

import signal
import subprocess

from waiting import equal

# How an agent that panics ends.
PANICS = {"rust": 101, "python": 1}


class Agent:
    """A process that beats as it is told."""

    def __init__(self, programs, client, socket, log):
        self.client = client
        with log.open("ab") as errors:
            self.process = subprocess.Popen([*programs.clients[client], str(socket)], stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, stderr=errors, text=True)
        equal(self._answer(), "connected", f"what an agent of the {client} client said first")

    @property
    def pid(self):
        return self.process.pid

    def _answer(self):
        return self.process.stdout.readline().rstrip("\n")

    def ask(self, line):
        """Its answer; the empty string where it ended instead."""
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return self._answer()

    def beat(self, status, payload):
        return self.ask(f"beat {status} {payload}")

    def beats(self, *beats):
        """Beats that have to be sent, each a status and a payload."""
        for status, payload in beats:
            equal(self.beat(status, payload), "sent", f"the {status} beat of the {self.client} client")

    def panic(self):
        equal(self.ask("panic"), "", "the answer of an agent that panics")
        equal(self.process.wait(timeout=20), PANICS[self.client], f"the exit status of a panic, {self.client}")

    def end(self):
        """Lets it end well. It is not waited for: the kernel still knows how."""
        self.process.stdin.close()

    def signal(self, number):
        self.process.send_signal(number)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class Beating:
    """`varta beat` without a promise, as fast as it can. It is stopped, not ended: the published observer panics where it
    reads a beat whose process is gone."""

    def __init__(self, programs, socket, *words):
        argv = [programs.varta, "beat", "--socket", socket, "--count", 10**9, *words]
        self.process = subprocess.Popen(list(map(str, argv)), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    @property
    def pid(self):
        return self.process.pid

    def stop(self):
        self.process.send_signal(signal.SIGSTOP)

    def close(self):
        self.process.kill()
        self.process.wait()
