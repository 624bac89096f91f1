"""An agent of the published Python client: agent.py SOCKET. It does what each line on standard input says, answers each by
one line, and ends well at the end of the input. `src/main.rs` is the same with the published Rust client."""

import sys

import varta


def obey(agent, socket, words):
    match words:
        case ["beat", status, payload]:
            outcome = agent.beat(status, int(payload))
            return f"dropped: {outcome.reason.value}" if outcome.is_dropped else str(outcome)
        case ["reconnect"]:
            agent.reconnect()
        case ["reconnect-after", beats]:
            agent.set_reconnect_after(int(beats))
        case ["hook"]:
            varta.panic.install_excepthook_uds(socket)
        case ["panic"]:
            raise RuntimeError("as asked")
        case _:
            raise ValueError(f"nothing is meant by {words}")
    return "done"


def main():
    socket = sys.argv[1]
    agent = varta.Varta.connect(socket)
    print("connected", flush=True)
    for line in sys.stdin:
        print(obey(agent, socket, line.split()), flush=True)


main()
