"""Two rehearsals beside each other, seen or foretold: what one shows and the other would not have shown, and why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from harness.knowledge import versions
from harness.record.foretold import ForetoldAnswer
from harness.scenario.topology import Topology

Key = tuple[str, str, str, str, str]


_OWN_TOKEN: Final = ("reviewer-fallback-local", "reviewer-frozen", "stored-reviewer-refused")
"""The causes for which it decides whether the reviewing cluster is Vault's own."""


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two."""

    name: str
    """as it stands in a sentence"""
    foretold: bool
    """was no server asked?"""
    path: tuple[str, ...]
    """the versions that serve at its looks, in order"""
    answers: tuple[ForetoldAnswer, ...]
    topology: Topology


class Apart(msgspec.Struct, frozen=True, kw_only=True):
    """A question that both ask at the same moment, with another answer or another reviewer."""

    probe: str
    app: str
    item: str
    moment: str
    one: str
    """how the first answers it, in words"""
    other: str
    only: str
    """the name of the one that shows a refusal which the other does not; empty where both refuse or grant"""
    cause: str
    """of that refusal"""


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """What two rehearsals have to say beside each other. `rehearse compare -o json` prints it."""

    sentence: str
    """the one to read first"""
    names: tuple[str, str]
    """the first and the second, as they stand in sentences"""
    paths: tuple[tuple[str, ...], tuple[str, ...]]
    """the versions that serve at the looks of each"""
    foretold: bool
    """was no server asked for one of them? Then it is foretold, and no pass"""
    apart: tuple[Apart, ...]
    """what is answered otherwise, in the order of the first"""
    otherwise: tuple[str, ...]
    """what is otherwise in the two installations, in words"""


def compared(one: Side, other: Side) -> Compared:
    """Return what two rehearsals have to say beside each other: of the questions that both ask at the same moments."""
    apart, otherwise = tuple(_apart(one, other)), tuple(_otherwise(one, other))
    return Compared(
        sentence=_sentence(one, other, apart, otherwise),
        names=(one.name, other.name),
        paths=(one.path, other.path),
        foretold=one.foretold or other.foretold,
        apart=apart,
        otherwise=otherwise,
    )


def _apart(one: Side, other: Side) -> Iterator[Apart]:
    there = {_key(answer): answer for answer in other.answers}
    for mine in one.answers:
        theirs = there.get(_key(mine))
        if theirs is None or "unknown" in (mine.answer, theirs.answer):
            continue
        if (mine.answer, mine.reviewer) == (theirs.answer, theirs.reviewer):
            continue
        refuses = {"refused": one.name}.get(mine.answer, other.name) if mine.answer != theirs.answer else ""
        yield Apart(
            probe=mine.probe,
            app=mine.app,
            item=mine.item,
            moment=mine.moment,
            one=_words(mine),
            other=_words(theirs),
            only=refuses,
            cause=mine.cause or theirs.cause,
        )


def _sentence(one: Side, other: Side, apart: tuple[Apart, ...], otherwise: tuple[str, ...]) -> str:
    shown = next((found for found in apart if found.only and found.app and found.cause), None)
    if shown is not None:
        blind = other if shown.only == one.name else one
        sees = one if blind is other else other
        where = f" {shown.item}" if shown.item else ""
        what = f"the {shown.probe} of {shown.app}{where} is refused in {sees.name} ({shown.moment}, {shown.cause})"
        return f"{_begun(blind.name)} would not have shown this: {what}; {_why(shown.cause, sees, blind, otherwise)}."
    if reviewed := next((found for found in apart if not found.only and found.probe == "login"), None):
        what = f"the login of {reviewed.app} {reviewed.moment} is {reviewed.one} in {one.name}"
        return f"Both answer alike, and for different reasons: {what}, and {reviewed.other} in {other.name}."
    if apart:
        return f"They differ in {len(apart)} answers, none of which refuses an app."
    return f"Both answer alike: {other.name} shows what {one.name} shows."


def _why(cause: str, sees: Side, blind: Side, otherwise: tuple[str, ...]) -> str:
    """Return why one does not see what the other does."""
    for path, mount in sees.topology.mounts.items() if cause in _OWN_TOKEN else ():
        twin = blind.topology.mounts.get(path)
        if twin is None:
            continue
        here, there = sees.topology.vault_at(path).cluster, blind.topology.vault_at(path).cluster
        if here != mount.cluster and there == twin.cluster:
            place = f"is in {here}" if here else "is in no cluster"
            return (
                f"there Vault is in {twin.cluster} itself, whose API server reviews the logins of auth/{path} and "
                f"knows the token of Vault's own pod; in {sees.name} Vault {place}, and {mount.cluster} reviews"
            )
    return f"what is otherwise: {'; '.join(otherwise[:3])}" if otherwise else "their installations are the same"


def _otherwise(one: Side, other: Side) -> Iterator[str]:
    """Yield what is otherwise in the installations."""
    if one.path != other.path:
        yield f"{versions.path(one.path)} and {versions.path(other.path)}"
    if len(one.topology.clusters) != len(other.topology.clusters):
        yield f"{len(one.topology.clusters)} and {len(other.topology.clusters)} clusters"
    pairs = (
        ("Vault", one.topology.vaults, other.topology.vaults),
        ("auth mount", one.topology.mounts, other.topology.mounts),
        ("app", one.topology.apps, other.topology.apps),
    )
    for what, mine, theirs in pairs:
        for name in dict.fromkeys([*mine, *theirs]):
            if name not in mine or name not in theirs:
                yield f"{what} {name} is in {one.name if name in mine else other.name} alone"
                continue
            left, right = msgspec.to_builtins(mine[name]), msgspec.to_builtins(theirs[name])
            for field in left:
                if left[field] != right.get(field) and field not in ("roles", "fields"):
                    yield f"{field.replace('_', '-')} of {what} {name} is {left[field]} and {right.get(field)}"


def _key(answer: ForetoldAnswer) -> Key:
    return (answer.probe, answer.app, answer.mount, answer.item, answer.moment)


def _words(answer: ForetoldAnswer) -> str:
    said = f"{answer.answer} {answer.status or ''}".rstrip()
    said += f" by {answer.reviewer}" if answer.reviewer else ""
    return f"{said} ({answer.cause})" if answer.cause else said


def _begun(name: str) -> str:
    return name[0].upper() + name[1:]
