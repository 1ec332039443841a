"""What does an app get of a secrets engine that makes secrets, and what becomes of what it once got?"""

from __future__ import annotations

from typing import Literal

import msgspec

from harness.errors import Unreachable
from harness.host import pki
from harness.record.observation import Observation, shortened
from harness.rehearsal.probes.look import View
from harness.rehearsal.probes.token import asked_with
from harness.rig import database
from harness.rig.rig import Given, Reply
from harness.scenario import engine_kinds
from harness.scenario.plan import Question
from harness.secret import Secret
from harness.wait import now


def read(view: View, question: Question) -> Observation:
    """Read a secret with the token of this moment's login; the first that is made is kept for later questions."""
    seen = asked_with(view, question, view.logins, lambda token: _keeping(view, question, token))
    view.kept.setdefault((question.app, question.item), (None, seen.id))
    return seen


def write(view: View, question: Question) -> Observation:
    """Write what an app writes with the token of this moment's login."""
    path, body = view.topology.written(question.app, question.item)
    seen = asked_with(view, question, view.logins, lambda token: view.vault(question).draw(path, token, body))
    # a key-value store numbers what is written, which is another number each time
    return msgspec.structs.replace(seen, detail={})


def old_read(view: View, question: Question) -> Observation:
    """Read a secret with the token that the app got before the upgrade and has held since."""
    return asked_with(view, question, view.old, lambda token: _read(view, question, token))


def kept(view: View, question: Question) -> Observation:
    """Use what the app got first: log in to the database, have the text decrypted, look who signed the certificate."""
    given, first = view.kept.get((question.app, question.item), (None, 0))
    made = view.topology.maker_of(question.item)
    if given is None or made is None:
        return view.not_asked(question, "nothing was given out that could be used", first)
    if made.kind == engine_kinds.DATABASE:
        return _logs_in(view, question, given, Reply(None))
    if made.kind == engine_kinds.TRANSIT:
        return asked_with(view, question, view.logins, lambda token: _decrypted(view, question, token, given))
    reply = view.vault(question).read_whole(f"{view.topology.engine_of(question.item)}/cert/ca")
    if not reply.ok:
        return view.seen(question, reply, detail={})
    why = pki.not_issued(given.parts["certificate"].reveal(), str(reply.data.get("certificate", "")))
    return view.seen(question, msgspec.structs.replace(reply, error=why), detail={}, answer=_answer(why))


def renew_lease(view: View, question: Question) -> Observation:
    """Renew the lease of what the app got first, with the token that it has held since."""
    given, first = view.kept.get((question.app, question.item), (None, 0))
    if given is None or given.lease is None:
        return view.not_asked(question, "nothing was given out that has a lease", first)
    lease = given.lease
    return asked_with(view, question, view.old, lambda token: view.vault(question).renew_lease(lease, token))


def revoked(view: View, question: Question) -> Observation:
    """Have one more credential made, and its lease revoked: does it log in to the database still?"""
    drawn: list[Given] = []

    def draw(token: Secret) -> Reply:
        reply = _read(view, question, token)
        drawn.extend([reply.given] if reply.given is not None else [])
        return reply

    seen = asked_with(view, question, view.logins, draw)
    if not drawn or drawn[0].lease is None:
        # what was not made cannot be revoked: whether it is made is another question
        return msgspec.structs.replace(seen, answer="unknown", must_be="refused", detail={})
    reply = view.vault(question).revoke_lease(drawn[0].lease)
    if reply.status is None:
        return view.seen(question, reply, must_be="refused", detail={})
    return _logs_in(view, question, drawn[0], reply, must_be_refused=True)


def made_as_written(view: View, question: Question) -> Observation:
    """Read back what an engine has by name: a role, a key."""
    reply = view.vault(question).read_whole(question.item)
    return view.seen(question, reply, detail={name: shortened(value) for name, value in reply.data.items()})


def _keeping(view: View, question: Question, token: Secret) -> Reply:
    reply = _read(view, question, token)
    key = (question.app, question.item)
    if reply.given is not None and view.kept.get(key, (None, 0))[0] is None:
        view.kept[key] = (reply.given, 0)
    return reply


def _read(view: View, question: Question, token: Secret) -> Reply:
    vault, made = view.vault(question), view.topology.maker_of(question.item)
    path = view.topology.data_path(question.item)
    if made is None:
        return vault.read_secret(path, token)
    return vault.draw(path, token, engine_kinds.body(made, path.rpartition("/")[2], question.app))


def _decrypted(view: View, question: Question, token: Secret, given: Given) -> Reply:
    path, _ = view.topology.asks(question.item)[1]
    reply = view.vault(question).draw(path, token, {"ciphertext": given.parts["ciphertext"].reveal()})
    plain = reply.given.parts.get("plaintext") if reply.given is not None else None
    if plain is not None and plain.reveal() != engine_kinds.PLAINTEXT:
        return msgspec.structs.replace(reply, status=400, error="another text came back than was encrypted")
    return msgspec.structs.replace(reply, data={})


def _logs_in(
    view: View, question: Question, given: Given, reply: Reply, *, must_be_refused: bool = False
) -> Observation:
    """Return whether a credential logs in to the database, in that one's words; *reply* is Vault's, if it was asked."""
    must_be: Literal["", "refused"] = "refused" if must_be_refused else ""
    started = reply.started or now()
    try:
        why = database.database(view.rig).refusal(given.parts["username"], given.parts["password"])
    except Unreachable as error:
        return view.seen(question, Reply(None, str(error), started=started, ended=now()), must_be=must_be, detail={})
    said = why or (reply.error if must_be_refused else "")
    told = msgspec.structs.replace(reply, error=said, started=started, ended=now())
    return view.seen(question, told, must_be=must_be, detail={}, answer=_answer(why))


def _answer(why: str) -> database.LetIn:
    return "refused" if why else "granted"
