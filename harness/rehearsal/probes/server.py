"""Is Vault healthy and unsealed?"""

from __future__ import annotations

from msgspec.structs import replace

from harness.record.observation import Observation
from harness.rehearsal.probes.look import View
from harness.rig.rig import Reply
from harness.scenario.plan import Question
from harness.scenario.topology import SEAL
from harness.secret import Secret


def health(view: View, question: Question) -> Observation:
    """Ask whether this Vault is initialised, unsealed and active."""
    # of several nodes most stand by, and are well
    reply = view.vault(question).health(standby=bool(question.node))
    names = ["initialized", "sealed", "standby", "version"]
    detail = {name: reply.data[name] for name in names if name in reply.data}
    ahead = _ahead(reply)
    return view.seen(question, reply, detail={**detail, "clock_ahead": ahead} if ahead else detail)


def _ahead(reply: Reply) -> int:
    """Return how many seconds Vault's clock is ahead of ours, in whole minutes."""
    told = reply.data.get("server_time_utc")
    return 60 * round((told - reply.ended) / 60) if isinstance(told, int) and reply.ended else 0


def seal_status(view: View, question: Question) -> Observation:
    """Ask for the seal: its type, shares and threshold, and whether it is open."""
    reply = view.vault(question).seal_status()
    names = ("type", "initialized", "sealed", "t", "n", "version", "migration", "storage_type")
    return view.seen(question, reply, detail={name: reply.data[name] for name in names if name in reply.data})


def auto_unseal(view: View, question: Question) -> Observation:
    """Ask the Vault that unseals this one for what this one asks it for at its start, with this one's own token.

    Whatever is no grant is a refusal here: who starts meanwhile is not unsealed.
    """
    token = view.seal_token or Secret("there is no token of a seal")
    seen = view.seen(question, view.rig.system(SEAL).vault.try_seal(token))
    # its number is one of the other Vault's requests, and no entry in the audit log of this one is its
    return replace(seen, answer="granted" if seen.answer == "granted" else "refused", correlation="")
