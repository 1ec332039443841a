"""Is Vault healthy and unsealed?"""

from __future__ import annotations

from harness.observation import Observation
from harness.plan import Question
from harness.probes.look import Look


def health(look: Look, question: Question) -> Observation:
    """Ask whether this Vault is initialised, unsealed and active."""
    reply = look.rig.vault.health()
    names = ["initialized", "sealed", "standby", "version"]
    return look.seen(question, reply, detail={name: reply.data[name] for name in names if name in reply.data})


def seal_status(look: Look, question: Question) -> Observation:
    """Ask for the seal: its type, shares and threshold, and whether it is open."""
    reply = look.rig.vault.seal_status()
    names = ("type", "initialized", "sealed", "t", "n", "version", "migration", "storage_type")
    return look.seen(question, reply, detail={name: reply.data[name] for name in names if name in reply.data})
