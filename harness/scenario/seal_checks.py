"""What a scenario says of the Vault that unseals another one that cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from harness.knowledge import versions
from harness.scenario import topology
from harness.scenario.course_checks import verb_of
from harness.scenario.field_checks import Complaint
from harness.scenario.yaml_document import Document, Trail

_VAULT: Final[Trail] = (topology.SEAL,)
OF_SEAL_VAULT: Final = ("upgrade", "restart")
"""The verbs that may concern it, beside the one that is its own."""

_OUT: Final = {"seal": "sealed", "stop": "stopped"}
_BACK: Final = {"unseal": "sealed", "start": "stopped"}


def complaints(document: Document) -> Iterator[Complaint]:
    """Yield what is wrong with `seal`, `seal-vault` and the steps that concern it."""
    there, sealed = document.given(*_VAULT), document.get("vault", "seal", default="shamir")
    steps = range(len(document.get("course", default=()) or ()))
    migrations: list[Trail] = [("course", index) for index in steps if document.given("course", index, "seal")]
    yield from _migrations(document, sealed, there=there)
    if sealed == topology.TRANSIT and not there:
        message = "nothing unseals this Vault: a transit seal is of another Vault"
        yield ("vault", "seal"), message, "seal-vault: with its source version, or seal: shamir"
    elif there and sealed == "shamir" and not migrations:
        yield _VAULT, "a Vault with Shamir keys has no use for another one", "seal: transit in vault, or leave it out"
    if sealed == topology.TRANSIT or migrations:
        yield from _not_here(document)
    if there:
        yield from _path(document)
    yield from _course(document, there=there)


_MIGRATES: Final = ("upgrade", "restart")


def _migrations(document: Document, seal: str | None, *, there: bool) -> Iterator[Complaint]:
    """Walk the seals of the other Vault: to which it migrates, and what is forgotten of it."""
    for index in range(len(document.get("course", default=()) or ())):
        trail: Trail = ("course", index)
        left_out, to = document.get(*trail, "left-out"), document.get(*trail, "seal")
        if not document.given(*trail, "seal"):
            if document.given(*trail, "left-out"):
                message = "nothing is left out where no seal is migrated"
                yield (*trail, "left-out"), message, "seal beside it, or no left-out"
            continue
        verb = verb_of(document, index)
        if verb and verb not in _MIGRATES:
            message = f"`seal` is of no use to {verb}, which starts no Vault anew with another configuration"
            yield (*trail, "seal"), message, f"it belongs to {', '.join(_MIGRATES)}"
        elif document.get(*trail, "vault") == topology.SEAL:
            yield (*trail, "seal"), "the Vault that unseals has Shamir keys, and keeps them", "leave `vault` out"
        elif not there:
            yield (*trail, "seal"), "there is no Vault that unseals this one, or has", "seal-vault: with its version"
        elif to is not None and to == seal:
            yield (*trail, "seal"), f"its seal is {to} already", "the other one, or leave it out"
        elif left_out == "disabled" and to == topology.TRANSIT:
            message = "no seal is left on the way to transit that could be disabled"
            yield (*trail, "left-out"), message, "left-out: migrate, or leave it out"
        seal = to


def _not_here(document: Document) -> Iterator[Complaint]:
    """Yield what is not rehearsed with a transit seal."""
    if document.get("vault", "nodes", default=1) != 1:
        yield ("vault", "nodes"), "several nodes with a transit seal are not rehearsed", "nodes: 1, or seal: shamir"
    for index in range(len(document.get("course", default=()) or ())):
        trail: Trail = ("course", index)
        for verb in ("snapshot", "restore", "roll-back", "move"):
            if document.given(*trail, verb) and document.get(*trail, verb) != "binary":
                message = f"{verb} is not rehearsed with a transit seal"
                yield (*trail, verb), message, "roll-back: binary, or seal: shamir"


def _path(document: Document) -> Iterator[Complaint]:
    length = len(document.get(*_VAULT, "via", default=()) or ())
    trails: list[Trail] = [(*_VAULT, "source"), *((*_VAULT, "via", n) for n in range(length)), (*_VAULT, "target")]
    said = [(trail, version) for trail in trails if (version := document.get(*trail)) is not None]
    for trail, version in said:
        if versions.product(version) != "vault":
            yield trail, f"{versions.called(version)} as the one that unseals is not rehearsed", "a version of Vault"
        elif why := versions.never_released(version):
            yield trail, f"{versions.called(version)} was never released", why
    for (_, old), (trail, new) in pairwise(said):
        if versions.parse(new) < versions.parse(old):
            yield trail, f"{versions.called(new)} is older than {old}, from which it is reached", "oldest first"
    if not document.left_out("course"):
        for key in ("target", "via"):
            if document.given(*_VAULT, key):
                message = f"`{key}` and `course` exclude each other: a course names every version itself"
                yield (*_VAULT, key), message, "upgrade, with vault: seal-vault, in the course"


def _course(document: Document, *, there: bool) -> Iterator[Complaint]:
    """Walk the course of the Vault that unseals: what it runs, and whether it is there."""
    out, version = "", document.get(*_VAULT, "source") if there else None
    for index in range(len(document.get("course", default=()) or ())):
        trail, verb = ("course", index), verb_of(document, index)
        if verb == topology.SEAL:
            what = document.get(*trail, verb)
            wrong, remedy = _done_to_it(what, out) if there else ("there is none", "seal-vault, and seal: transit")
            if wrong:
                yield (*trail, verb), f"nothing can be done so to the Vault that unseals: {wrong}", remedy
            out = _OUT.get(str(what), "" if what in _BACK else out)
        elif document.get(*trail, "vault") == topology.SEAL:
            yield from _step(document, trail, verb, version, out)
            version = (document.get(*trail, "upgrade") if verb == "upgrade" else None) or version


def _done_to_it(what: str | None, out: str) -> tuple[str, str]:
    """Return why *what* cannot be done to it while it is *out* of service, and what would be right; "" if it can."""
    if what in _OUT and out:
        return f"it is {out} already", "leave it out"
    if what in _BACK and out != _BACK[what]:
        return f"it is not {_BACK[what]}", "leave it out"
    if what in ("end-token", "new-token") and out:
        return f"it is {out}, and gives no token then and ends none", "unseal or start before it"
    return "", ""


def _step(document: Document, trail: Trail, verb: str, version: str | None, out: str) -> Iterator[Complaint]:
    """Yield what is wrong with a step that takes it on, from the *version* that it runs."""
    if verb and verb not in OF_SEAL_VAULT:
        message = f"{verb} is of no use to a Vault that only unseals another one"
        yield (*trail, "vault"), message, f"it takes {', '.join(OF_SEAL_VAULT)}"
    elif out:
        yield trail, f"it is {out}: nobody starts anew what is not there", "unseal or start before it"
    new = document.get(*trail, "upgrade") if verb == "upgrade" else None
    if new is not None and version is not None and versions.parse(new) <= versions.parse(version):
        yield (*trail, "upgrade"), f"the Vault that unseals runs {version} already", "a newer version, or restart: {}"
