"""The attacker: sees every datagram on the hub and sends any bytes from any address."""

import hashlib
import socket
import struct
from dataclasses import dataclass

from hosts import NUMBERS, address, mac

PORT = 9900
BEAT = 1
BEAT_LENGTH = 124

_IPV4 = 0x0800
_UDP = 17
_SO_RCVBUFFORCE = 33
_OUTGOING = 4


def agent_id(name):
    return int.from_bytes(hashlib.sha256(b"vlp1 agent id\0" + name.encode()).digest()[:8], "little")


@dataclass(frozen=True)
class Datagram:
    source: str
    port: int
    target: str
    payload: bytes

    @property
    def kind(self):
        return self.payload[3]

    @property
    def agent(self):
        return int.from_bytes(self.payload[8:16], "little")

    @property
    def session(self):
        return int.from_bytes(self.payload[20:28], "little")


class Tap:
    """A raw socket on the attacker's interface."""

    def __init__(self, net):
        with net.inside("attacker"):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_IPV4))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 8 << 20)
        self._socket.bind(("eth0", _IPV4))
        self._socket.setblocking(False)
        self.seen = []

    def close(self):
        self._socket.close()

    def listen(self):
        """Takes in what has come, and returns all that was ever seen."""
        while True:
            try:
                frame, origin = self._socket.recvfrom(65535)
            except BlockingIOError:
                return self.seen
            if origin[2] != _OUTGOING:
                datagram = _parse(frame)
                if datagram:
                    self.seen.append(datagram)

    def of(self, agent, kind=None):
        """What was seen of an agent."""
        wanted = agent_id(agent)
        return [one for one in self.listen() if one.agent == wanted and kind in (None, one.kind)]

    def send(self, payload, source="10.77.0.3", port=40000):
        """Sends a datagram to the observer."""
        self._socket.send(_frame(payload, source, port))

    def replay(self, datagram):
        """Sends a datagram once more as it was, sender's address and all."""
        self.send(datagram.payload, datagram.source, datagram.port)


def _parse(frame):
    header = (frame[14] & 0x0F) * 4
    udp = 14 + header
    if frame[23] != _UDP or len(frame) < udp + 8:
        return None
    source_port, target_port, length = struct.unpack_from("!HHH", frame, udp)
    payload = frame[udp + 8:udp + length]
    if target_port != PORT or len(payload) < BEAT_LENGTH:
        return None
    return Datagram(socket.inet_ntoa(frame[26:30]), source_port, socket.inet_ntoa(frame[30:34]), payload)


def _frame(payload, source, port):
    ethernet = bytes.fromhex((mac(NUMBERS["observer"]) + mac(NUMBERS["attacker"])).replace(":", ""))
    udp = struct.pack("!HHHH", port, PORT, 8 + len(payload), 0) + payload
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, _UDP, 0, socket.inet_aton(source),
                       socket.inet_aton(address("observer")))
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    return ethernet + struct.pack("!H", _IPV4) + head[:10] + struct.pack("!H", checksum) + head[12:] + udp
