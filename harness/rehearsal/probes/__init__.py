"""The questions that are asked at every moment: a file a subject, a function a question.

A probe gets a `View` (the rig, the moment, the tokens obtained so far) and the planned Question, and returns what it
saw. It never raises for an answer it dislikes and never asks twice: `asking` does. To add one: write the function, list
it in ASKED, name it in `outcomes.ProbeName`, and have `plan` ask it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from harness.record.observation import Observation
from harness.rehearsal.probes import abuse, agent, engines, impostor, lockout, login, readback, server, storm, token
from harness.rehearsal.probes.look import AppTokens, Kept, View
from harness.scenario.app_spec import STORM
from harness.scenario.plan import Question

Probe = Callable[[View, Question], Observation]

ASKED: Final[Mapping[str, Probe]] = {
    "health": server.health,
    "seal-status": server.seal_status,
    "auto-unseal": server.auto_unseal,
    "auth-config": readback.auth_config,
    "role": readback.role,
    "engine-role": engines.made_as_written,
    "mounted": readback.mounted,
    "login": login.login,
    "agent-login": agent.login,
    "sidecar": agent.sidecar,
    STORM: storm.storm,
    "token-lookup": token.lookup,
    "token-renew": token.renew,
    "read": engines.read,
    "write": engines.write,
    "old-token-lookup": token.old_lookup,
    "old-token-read": engines.old_read,
    "kept-secret": engines.kept,
    "old-lease-renew": engines.renew_lease,
    "revoked-secret": engines.revoked,
    "wrong-service-account": impostor.stranger,
    "wrong-namespace": impostor.stranger,
    "other-cluster-token": impostor.stranger,
    "tampered-jwt": impostor.tampered_jwt,
    "unknown-role": impostor.unknown_role,
    "wrong-secret": impostor.wrong_secret,
    "disallowed-policy": impostor.disallowed_policy,
    "wrong-certificate": impostor.wrong_certificate,
    "expired-certificate": impostor.wrong_certificate,
    "forged-certificate": impostor.wrong_certificate,
    "lockout": lockout.lockout,
    "abuse-token-review": abuse.token_review,
    "abuse-secret-token": abuse.secret_token,
    "abuse-any-account": abuse.any_account,
    "late-secret": readback.late_secret,
    "late-role": readback.late_role,
    "late-token-lookup": token.late_lookup,
}

__all__ = ["ASKED", "AppTokens", "Kept", "Probe", "View"]
