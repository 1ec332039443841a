"""What could somebody do with what a remedy gives away?

Each is the deed itself, done with the app's own means: granted means that the abuse was shown.
"""

from __future__ import annotations

from harness.record.observation import Observation
from harness.rehearsal.probes.look import View
from harness.rig.rig import IssuedToken, MakesTokens
from harness.scenario.plan import Question


def token_review(view: View, question: Question) -> Observation:
    """Have the app's token review a token of somebody else in its cluster: whose it is, and that it is alive."""
    rig = view.rig
    if not isinstance(rig, MakesTokens):
        return view.not_asked(question, "this driver cannot ask an API server as an app would", 0)
    bearer, other = rig.app_token(question.app), _somebody_else(view, question.app)
    reply = rig.review(view.topology.apps[question.app].cluster, bearer.jwt, other.jwt)
    return view.seen(question, reply, presented=bearer, detail={"reviewed": other.subject, **reply.data})


def secret_token(view: View, question: Question) -> Observation:
    """Log in with a token of the app's account out of a Secret, which another issuer made and which never ends."""
    if not isinstance(view.rig, MakesTokens):
        return view.not_asked(question, "this driver cannot make another token of an app", 0)
    return _login(view, question, view.rig.secret_token(question.app))


def any_account(view: View, question: Question) -> Observation:
    """Log in to the app's role with a token of another namespace."""
    return _login(view, question, view.rig.stranger_token(question.app, "wrong-namespace"))


def _login(view: View, question: Question, presented: IssuedToken) -> Observation:
    reply = view.vault(question).login(question.mount, view.topology.apps[question.app].role, presented.jwt)
    return view.seen(question, reply, presented=presented, detail={})


def _somebody_else(view: View, app: str) -> IssuedToken:
    """Return the token of another app in the same cluster, or of a stranger where there is none."""
    own = view.topology.apps[app]
    for name, one in view.topology.apps.items():
        if one.cluster == own.cluster and one.service_account != own.service_account:
            return view.rig.app_token(name)
    return view.rig.stranger_token(app, "wrong-service-account")
