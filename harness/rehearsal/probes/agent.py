"""May the Vault Agent of an app log in?"""

from __future__ import annotations

from harness.record.observation import Observation
from harness.rehearsal.probes.look import View
from harness.rig.agents import Agent, agents
from harness.scenario.plan import Question


def login(view: View, question: Question) -> Observation:
    """Start an agent of the app's version, as at the start of its Pod, and see whether it gets what the app wants."""
    app, presented = view.topology.apps[question.app], view.token_of(question.app)
    reads = tuple(map(view.topology.data_path, app.reads))
    wanted = Agent(app.agent, question.mount, app.role, reads, question.vault, question.node)
    reply = agents(view.rig).run_agent(wanted, presented.jwt)
    return view.seen(question, reply, presented=presented)
