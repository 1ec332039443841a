"""What the knowledge says of every question of a run, before a server is asked."""

from __future__ import annotations

import msgspec

from harness.record.event import Event
from harness.record.observation import Answer


class ForetoldAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """How one question should be answered at one moment, by the knowledge alone."""

    probe: str
    moment: str
    """the label of the moment"""
    answer: Answer
    status: int | None = None
    app: str = ""
    mount: str = ""
    item: str = ""
    vault: str = ""
    node: str = ""
    reviewer: str = ""
    """of a login: who should review it; empty where nobody is asked"""
    cause: str = ""
    """of what an app is refused: the cause"""


class Foretold(Event, frozen=True, tag="foretold", kw_only=True):
    """What the knowledge says of every question before a server is asked: what is otherwise then is news."""

    answers: tuple[ForetoldAnswer, ...] = ()
    why_not: str = ""
    """why not all of it could be foretold; empty where it could"""
