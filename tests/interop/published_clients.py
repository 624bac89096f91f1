"""Agents of the published clients, unchanged, before our observer."""

import signal

from agents import Agent
from observers import Ours
from waiting import check, equal, until

LARGEST = 2**32 - 1
TERMINAL = 2**64 - 1


class Stage:
    """Our observer, and what beats to it."""

    def __init__(self, programs, directory, threshold_ms=None):
        self.programs, self.directory = programs, directory
        self.observer = Ours(programs, directory, **({"threshold_ms": threshold_ms} if threshold_ms else {}))
        self.agents = []

    def __enter__(self):
        self.observer.start()
        return self

    def agent(self, client):
        agent = Agent(self.programs, client, self.observer.socket, self.directory / f"{client}.log")
        self.agents.append(agent)
        return agent

    def __exit__(self, *_):
        for agent in self.agents:
            agent.close()
        self.observer.close()


def beats(client, programs, directory):
    with Stage(programs, directory) as stage:
        observer, agent = stage.observer, stage.agent(client)
        said = [("ok", 7), ("degraded", 42), ("critical", 9), ("ok", LARGEST)]
        for count, (status, payload) in enumerate(said, start=1):
            agent.beats((status, payload))
            slot = observer.told(agent.pid, "up" if status == "ok" else status, status=status, payload=payload, beats=count)
            equal(slot["origin"], "KernelAttested", "the origin of a local process")
        observer.beats_in_rows(agent.pid, [(nonce, *beat) for nonce, beat in enumerate(said, start=1)])
        equal(observer.sample("varta_beats_total", agent.pid), 4, "varta_beats_total")
        equal(observer.sample("varta_status", agent.pid), 0, "varta_status")
        observer.stop()
        return "4 beats of 3 statuses, nonces 1 to 4"


def terminal(client, programs, directory):
    with Stage(programs, directory) as stage:
        observer, agent = stage.observer, stage.agent(client)
        equal(agent.ask("hook"), "done", "installing the panic hook")
        agent.beats(("ok", 1))
        observer.told(agent.pid, "up")
        agent.panic()
        slot = observer.told(agent.pid, "critical", why="^ended", status="critical")
        observer.beats_in_rows(agent.pid, [(1, "ok", 1), (TERMINAL, "critical", 0)])
        equal(slot["stalls"], 0, "stalls of a process that said that it ends")
        return slot["why"]


def reconnects(client, programs, directory):
    with Stage(programs, directory) as stage:
        observer, agent, other = stage.observer, stage.agent(client), stage.agent(client)
        equal(other.ask("reconnect-after 1"), "done", "reconnecting by itself")
        for each in (agent, other):
            each.beats(("ok", 1), ("ok", 2))
            observer.told(each.pid, "up", beats=2)
        observer.stop()
        said = agent.beat("ok", 3)
        check(said in ("dropped: no observer", "dropped: peer gone"), f"a beat to nobody is {said}")
        observer.start()
        check(agent.beat("ok", 3) != "sent", "a beat by the old socket")
        equal(agent.ask("reconnect"), "done", "reconnecting")
        for each in (agent, other):
            # The first beat by the new socket carries on after what an observer has taken; that differs by client.
            each.beats(("ok", 4))
            slot = observer.told(each.pid, "up", payload=4, beats=1)
            equal(slot["restarts"], 0, "restarts of a process that has only reconnected")
            until("the last beat is a row", lambda: observer.rows(each.pid, "beat")[-1].payload == "4")
        nonces = [[int(row.nonce) for row in observer.rows(each.pid, "beat")] for each in (agent, other)]
        check(all(ones == sorted(set(ones)) for ones in nonces), f"nonces rise: {nonces}")
        return f"nonces {nonces[0]} when asked to, {nonces[1]} by itself"


def ends(client, programs, directory):
    with Stage(programs, directory) as stage:
        observer = stage.observer
        killed, well, witness = (stage.agent(client) for _ in range(3))
        for agent in (killed, well, witness):
            agent.beats(("ok", 5))
            observer.told(agent.pid, "up")
        killed.signal(signal.SIGKILL)
        slot = observer.told(killed.pid, "stalled", why="signal 9", stalls=1)
        well.end()
        observer.told(well.pid, "stalled", why="exit 0", stalls=1)
        equal([row.status for row in observer.rows(killed.pid, "stall")], ["stall"], "the rows of a stall")
        equal(observer.sample("varta_stalls_total", killed.pid), 1, "varta_stalls_total")
        equal(observer.sample("varta_status", killed.pid), 3, "varta_status")
        witness.beats(("ok", 6))
        observer.told(witness.pid, "up", beats=2, stalls=0)
        return slot["why"]


def silent(client, programs, directory):
    with Stage(programs, directory, threshold_ms=1000) as stage:
        observer, agent = stage.observer, stage.agent(client)
        agent.beats(("ok", 5))
        slot = observer.told(agent.pid, "stalled", stalls=1)
        agent.beats(("ok", 6))
        observer.told(agent.pid, "up", payload=6, beats=2, restarts=0)
        return slot["why"]


def both(scenario):
    """The scenario with each client."""
    def of(client):
        def one(programs, directory):
            return scenario(client, programs, directory)
        one.__name__ = f"{client}_{scenario.__name__}"
        return one
    return [of(client) for client in ("python", "rust")]


SCENARIOS = [one for scenario in (beats, terminal, reconnects, ends, silent) for one in both(scenario)]
