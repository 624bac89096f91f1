"""Hosts: network namespaces, joined by a hub that repeats every frame to every port.

The names carry this process's number, the addresses are used inside the namespaces only, and every namespace is taken
down at the end together with whatever still runs in it.
"""

import contextlib
import ctypes
import json
import os
import signal
import subprocess

from waiting import Failed, until

NUMBERS = {"web": 1, "db": 2, "attacker": 3, "observer": 5}
# An observer that nobody has built: what is sent there reaches the hub and nobody else.
ABSENT = 9

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000


def address(host):
    return f"10.77.0.{NUMBERS[host]}"


def mac(number):
    return f"02:77:00:00:00:{number:02x}"


def ip(*words):
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False, timeout=30)
    if done.returncode != 0:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def _enter(descriptor):
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


class Net:
    """Four hosts and the hub between them."""

    def __init__(self):
        self.prefix = f"varta{os.getpid()}"
        self._made = []

    def namespace(self, host):
        return f"{self.prefix}-{host}"

    def build(self):
        for name in ("hub", *NUMBERS):
            ip("netns", "add", self.namespace(name))
            self._made.append(name)
        hub = self.namespace("hub")
        # Without ageing the bridge learns no address, and so it repeats everything to everyone.
        ip("-n", hub, "link", "add", "bridge", "type", "bridge", "ageing_time", "0", "stp_state", "0")
        ip("-n", hub, "link", "set", "bridge", "up")
        for host, number in NUMBERS.items():
            self._plug(hub, host, number)

    def _plug(self, hub, host, number):
        there = self.namespace(host)
        port = f"port-{host}"
        ip("-n", hub, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", there)
        ip("-n", hub, "link", "set", port, "master", "bridge", "up")
        ip("-n", there, "link", "set", "lo", "up")
        ip("-n", there, "link", "set", "eth0", "address", mac(number), "up")
        ip("-n", there, "address", "add", f"{address(host)}/16", "dev", "eth0")
        self._introduce(host)

    def _introduce(self, host):
        """Tells a host the hardware address of every other, so that nothing hangs on address resolution."""
        for number in (*NUMBERS.values(), ABSENT):
            if number != NUMBERS[host]:
                ip("-n", self.namespace(host), "neighbour", "replace", f"10.77.0.{number}", "lladdr", mac(number),
                   "dev", "eth0", "nud", "permanent")

    @contextlib.contextmanager
    def inside(self, host):
        """Sockets and processes made within belong to that host."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            there = os.open(f"/run/netns/{self.namespace(host)}", os.O_RDONLY)
            try:
                _enter(there)
            finally:
                os.close(there)
            yield
        finally:
            _enter(home)
            os.close(home)

    def pull_cable(self, host):
        ip("-n", self.namespace("hub"), "link", "set", f"port-{host}", "down")

    def plug_cable(self, host):
        ip("-n", self.namespace("hub"), "link", "set", f"port-{host}", "up")

    def interface_down(self, host):
        ip("-n", self.namespace(host), "link", "set", "eth0", "down")

    def interface_up(self, host):
        ip("-n", self.namespace(host), "link", "set", "eth0", "up")
        self._introduce(host)

    def part(self, one, other, parted=True):
        """Lets nothing pass between two hosts, while both still reach all others."""
        for host in (one, other):
            ip("-n", self.namespace("hub"), "link", "set", f"port-{host}", "type", "bridge_slave",
               "isolated", "on" if parted else "off")

    def only_to_observer(self, only=True):
        """Lets the hub repeat to the observer's port alone: what the others would drop anyway costs them nothing."""
        for host in NUMBERS:
            if host != "observer":
                ip("-n", self.namespace("hub"), "link", "set", f"port-{host}", "type", "bridge_slave",
                   "flood", "off" if only else "on")

    def sent_packets(self, host):
        """Packets that a host has put on its cable, of any kind."""
        shown = json.loads(ip("-n", self.namespace(host), "-s", "-j", "link", "show", "eth0"))
        return shown[0]["stats64"]["tx"]["packets"]

    def mend(self):
        """Undoes every cut."""
        self.only_to_observer(False)
        for host in NUMBERS:
            self.plug_cable(host)
            self.interface_up(host)
        self.part("web", "observer", parted=False)

    def _programs(self):
        """Pids of what runs on the hosts, but for this script itself."""
        pids = [int(pid) for name in self._made for pid in ip("netns", "pids", self.namespace(name)).split()]
        return [pid for pid in pids if pid != os.getpid()]

    def end_programs(self):
        """Ends whatever still runs on the hosts, and waits for it: a port is free when its owner is gone."""
        for pid in self._programs():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until("the hosts are empty", lambda: not self._programs())

    def tear_down(self):
        with contextlib.suppress(Failed):
            self.end_programs()
        for name in reversed(self._made):
            with contextlib.suppress(OSError):
                ip("netns", "delete", self.namespace(name))
        self._made.clear()
