"""Is Vault healthy and unsealed?"""

from __future__ import annotations

from harness.record.observation import Observation
from harness.rehearsal.probes.look import View
from harness.scenario.plan import Question


def health(view: View, question: Question) -> Observation:
    """Ask whether this Vault is initialised, unsealed and active."""
    # of several nodes most stand by, and are well
    reply = view.vault(question).health(standby=bool(question.node))
    names = ["initialized", "sealed", "standby", "version"]
    return view.seen(question, reply, detail={name: reply.data[name] for name in names if name in reply.data})


def seal_status(view: View, question: Question) -> Observation:
    """Ask for the seal: its type, shares and threshold, and whether it is open."""
    reply = view.vault(question).seal_status()
    names = ("type", "initialized", "sealed", "t", "n", "version", "migration", "storage_type")
    return view.seen(question, reply, detail={name: reply.data[name] for name in names if name in reply.data})
