"""May many Pods of an app log in at once?"""

from __future__ import annotations

from harness.knowledge import refusals
from harness.record.observation import Answer, Observation
from harness.rehearsal.probes.look import View
from harness.rig.rig import Reply
from harness.rig.storms import storms
from harness.scenario.plan import Question


def storm(view: View, question: Question) -> Observation:
    """Have as many Pods log in as the app's storm has, and count what they are answered."""
    reply = storms(view.rig).login_storm(question.app)
    return view.seen(question, reply, answer=_answer(reply))


def _answer(reply: Reply) -> Answer:
    """Return granted where everybody was let in, and refused where somebody was not; unknown where nobody was, and that
    was no refusal either.
    """
    let_in = sum(times for came, times in reply.data["answers"].items() if came.startswith("HTTP 2"))
    if let_in:
        return "granted" if let_in >= reply.data["pods"] else "refused"
    return "refused" if refusals.says(reply.status, reply.error) == "refused" else "unknown"
