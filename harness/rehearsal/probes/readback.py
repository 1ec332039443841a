"""What do an auth mount's config and roles say when they are read back?"""

from __future__ import annotations

from typing import Any

from harness.knowledge import server_settings
from harness.record.observation import Observation, shortened
from harness.rehearsal.probes.look import View
from harness.rig.rig import Reply
from harness.scenario.plan import Question


def auth_config(view: View, question: Question) -> Observation:
    """Read the mount's config: what the operator never sent shows here too."""
    reply = view.vault(question).read_auth_config(question.mount)
    return view.seen(question, reply, detail=_short(reply.data))


def role(view: View, question: Question) -> Observation:
    """Read a role back: who may log in, and what the token gets."""
    reply = _read(view, question)
    return view.seen(question, reply, detail=_short(reply.data))


def mounted(view: View, question: Question) -> Observation:
    """Ask a mount for its help, which every kind has: does it still answer?"""
    reply = view.vault(question).read_whole(f"{question.item}/{server_settings.HELP}")
    gone = server_settings.NO_BACKEND in reply.error
    return view.seen(question, reply, detail={}, answer="refused" if gone else None)


def late_role(view: View, question: Question) -> Observation:
    """Read a role that was written late: is it there still?"""
    return view.seen(question, _read(view, question), detail={})


def late_secret(view: View, question: Question) -> Observation:
    """Read a secret that was written late: is it there still?"""
    return view.seen(question, view.vault(question).read_path(question.item), detail={})


def _read(view: View, question: Question) -> Reply:
    folder = view.topology.mounts[question.mount].of_kind.folder
    return view.vault(question).read_role(question.mount, question.item, folder)


def _short(data: dict[str, Any]) -> dict[str, Any]:
    return {name: shortened(value) for name, value in data.items()}
