"""May the Vault Agent of an app log in, and how is the one that runs on beside it?"""

from __future__ import annotations

from harness.record.observation import Observation
from harness.rehearsal.probes.look import View
from harness.rig.agents import Agent, agents
from harness.scenario.plan import Question


def login(view: View, question: Question) -> Observation:
    """Start an agent of the app's version, as at the start of its Pod, and see whether it gets what the app wants."""
    presented = view.token_of(question.app)
    reply = agents(view.rig).run_agent(question.app, _agent(view, question), presented.jwt)
    return view.seen(question, reply, presented=presented)


def sidecar(view: View, question: Question) -> Observation:
    """Look up the token of the agent that runs beside the app since the first look; at that, it is started."""
    presented = view.token_of(question.app)
    reply = agents(view.rig).sidecar(question.app, _agent(view, question), presented.jwt)
    if not reply.ok or reply.token is None:
        return view.seen(question, reply)
    looked = view.vault(question).lookup_self(reply.token)
    return view.seen(question, looked, detail={**reply.data, "ttl": looked.data.get("ttl")})


def _agent(view: View, question: Question) -> Agent:
    app = view.topology.apps[question.app]
    reads = tuple(map(view.topology.data_path, app.reads))
    return Agent(app.agent, question.mount, app.role, reads, question.vault, question.node)
