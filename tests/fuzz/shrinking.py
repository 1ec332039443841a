"""A scenario that shows a difference becomes one that is as small as it can be made, and still shows it."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any, Final

import yaml

from harness.errors import ScenarioError
from harness.scenario.loading import Loaded
from tests.fuzz import generator
from tests.fuzz.comparison import Difference
from tests.fuzz.generator import Document
from tests.fuzz.running import Differ, NotRehearsed

_PLAIN: Final = ({"shares": 1, "threshold": 1}, {"storage": "file"})
"""What a Vault is given in a small scenario: it starts sooner."""


def shrunk(
    loaded: Loaded, there: Sequence[Difference], differ: Differ, most: int
) -> tuple[Loaded, list[Difference], int]:
    """Return a smaller scenario with a difference of the same sort as the first that is *there*, all that are there
    then, this one first, and how often *differ* was asked.

    *differ* rehearses a scenario, and is asked at most *most* times.
    """
    document, asked, found = yaml.safe_load(loaded.text), 0, list(there)
    progress = True
    while progress and asked < most:
        progress = False
        for smaller in _smaller(document, found[0]):
            if asked >= most:
                break
            try:
                candidate = generator.loaded(smaller, loaded.name)
            except ScenarioError:
                continue
            asked += 1
            try:
                seen = sorted(differ(candidate), key=lambda one: one.sort != found[0].sort)
            except NotRehearsed:
                continue
            if seen and seen[0].sort == found[0].sort:
                loaded, found, document, progress = candidate, seen, smaller, True
                break
    return loaded, found, asked


def _smaller(document: Document, found: Difference) -> Iterator[Document]:
    """Yield smaller documents: first those that lack much, then those that lack a single thing."""
    yield from _told(document, _alone(document, found))
    for trail in _parts(document):
        yield from _told(document, _without(document, trail))


def _told(before: Document, after: Document) -> Iterator[Document]:
    if after != before:
        yield after


def _alone(document: Document, found: Difference) -> Document:
    """Return the document with nobody in it but whom the difference is about."""
    after = copy.deepcopy(document)
    if found.app in after["apps"]:
        after["apps"] = {found.app: after["apps"][found.app]}
        mount = after["apps"][found.app].get("mount", found.mount)
        after["auth"] = {name: one for name, one in after["auth"].items() if name == mount}
        for one in after["auth"].values():
            if "roles" in one:
                role = after["apps"][found.app]["role"]
                one["roles"] = {name: spec for name, spec in one["roles"].items() if name == role}
    for plain in _PLAIN:
        after["vault"] |= plain
    return after


def _parts(document: Document) -> Iterator[tuple[Any, ...]]:
    """Yield where there is something that might be left out, the largest first."""
    for section in ("apps", "auth", "course", "clusters"):
        there = document.get(section) or ()
        if len(there) > 1:
            keys: list[Any] = list(there) if isinstance(there, dict) else list(range(len(there)))
            yield from ((section, key) for key in reversed(keys))
    yield from (
        ("vault", key) for key in ("via", "may-read", "tls", "token-file", "service-account", "may-review-tokens")
    )
    yield from ((key,) for key in ("secrets", "policies"))
    for name, mount in document["auth"].items():
        yield from (("auth", name, "config", key) for key in mount.get("config", {}))
        yield from (("auth", name, key) for key in mount if key not in ("type", "cluster", "roles"))
        for role, spec in mount.get("roles", {}).items():
            yield from (("auth", name, "roles", role, key) for key in spec)
            if len(mount["roles"]) > 1:
                yield ("auth", name, "roles", role)
    for name, app in document["apps"].items():
        yield from (("apps", name, key) for key in app if key not in ("mount", "role", "cluster", "service-account"))
    for index, step in enumerate(document.get("course") or ()):
        verb = next(iter(step))
        if isinstance(step[verb], dict):
            yield from (("course", index, verb, key) for key in step[verb] if key not in ("mount", "role", "cluster"))
    yield from (
        ("clusters", name, key) for name, one in document["clusters"].items() for key in one if key != "kubernetes"
    )


def _without(document: Document, trail: tuple[Any, ...]) -> Document:
    after = copy.deepcopy(document)
    part: Any = after
    for key in trail[:-1]:
        if not isinstance(part, (dict, list)) or (isinstance(part, dict) and key not in part):
            return document
        part = part[key]
    if isinstance(part, dict) and trail[-1] not in part:
        return document
    del part[trail[-1]]
    return after
