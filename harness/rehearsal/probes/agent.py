"""May the Vault Agent of an app log in, and how is the one that runs on beside it?"""

from __future__ import annotations

from harness.record.observation import Answer, Observation
from harness.rehearsal.probes.look import View
from harness.rig.agents import Agent, agents
from harness.rig.rig import Reply
from harness.scenario.plan import Question


def login(view: View, question: Question) -> Observation:
    """Start an agent of the app's version, as at the start of its Pod, and see whether it gets what the app wants."""
    presented = view.token_of(question.app)
    reply = agents(view.rig).run_agent(question.app, _agent(view, question), presented.jwt)
    return view.seen(question, reply, presented=presented, answer=_without_sink(reply))


def sidecar(view: View, question: Question) -> Observation:
    """Look up the token of the agent that runs beside the app since the first look; at that, it is started."""
    presented = view.token_of(question.app)
    reply = agents(view.rig).sidecar(question.app, _agent(view, question), presented.jwt)
    if not reply.ok or reply.token is None:
        return view.seen(question, reply, answer=_without_sink(reply))
    looked = view.vault(question).lookup_self(reply.token)
    return view.seen(question, looked, detail={**reply.data, "ttl": looked.data.get("ttl")})


def _without_sink(reply: Reply) -> Answer | None:
    """Return that an agent has ended by itself because it could not write its token: no answer of Vault's, and a no."""
    return "refused" if "sink" in reply.data else None


def _agent(view: View, question: Question) -> Agent:
    app = view.topology.apps[question.app]
    reads = tuple(map(view.topology.data_path, app.reads))
    return Agent(app.agent, question.mount, app.role, reads, question.vault, question.node)
