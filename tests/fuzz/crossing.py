"""Shipped scenarios, changed where the format says they can be: by what it allows, and by what others of them say.

It knows nothing of Vault and nothing of what goes together, so it draws what nobody would write: a second look at the
model, beside the scenarios that `generator` draws on purpose.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

import yaml

from harness.errors import ScenarioError
from harness.knowledge.versions import at_least
from harness.scenario import fields, values
from harness.scenario.loading import Loaded
from harness.scenario.schema import Scenario
from tests.fuzz import generator
from tests.fuzz.generator import Document

PARENTS: Final = Path(__file__).parent.parent.parent / "scenarios"
_TRIES: Final = 2000
_NO_PART: Final = ("expect", "matrix", "probes", "strict", "seal-vault", "schema", "description")
"""What says nothing of an installation, or needs servers beside it that most scenarios have not."""
_TOO_LONG: Final = (
    "wait",
    "seal-vault",
    "seal",
    "nodes",
    "node",
    "through",
    "order",
    "step-down",
    "leases",
    "revoke-leases",
)
_TOO_LONG_STEPS: Final = (
    "stop-node",
    "start-node",
    "remove-node",
    "join-node",
    "reachable",
    "storage",
    "database",
    "meanwhile",
)
_REFERENCES: Final = {"cluster": "clusters", "mount": "auth", "reviewer": "auth", "app": "apps", "role": ""}
_SECONDS: Final = 600
"""A span that is shorter may end within the run, which paper does not wait for."""

Trail = tuple[str | int, ...]


def scenario(seed: int, number: int, versions: Sequence[str]) -> Loaded:
    """Return scenario *number* of a *seed* over some of these Vault *versions*: they and what is shipped decide it."""
    for attempt in range(_TRIES):
        chance = random.Random(f"crossing/{seed}/{number}/{attempt}")
        document = _changed(chance, versions)
        try:
            return generator.loaded(document, f"crossed-{seed}-{number}")
        except ScenarioError:
            continue
    raise AssertionError(f"seed {seed}, number {number}: none of {_TRIES} documents can be a scenario")


@cache
def _parents() -> tuple[Document, ...]:
    """Return what is shipped, as documents: of one Vault of one node, with no database and nothing that takes long."""
    found = []
    for file in sorted([*PARENTS.glob("*.yaml"), *PARENTS.glob("corpus/*.yaml")]):
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
        if not isinstance(document, dict) or "vault" not in document or document.get("seal-vault"):
            continue
        if {"nodes", "leases", "seal"} & {*document["vault"]} or "database" in str(document.get("secrets", "")):
            continue
        if document["vault"].get("leases") or document.get("also-mounted"):  # they keep a Vault sealed on purpose
            continue
        if any("storm" in app for app in document["apps"].values()):  # of thousands of Pods
            continue
        document["course"] = [step for step in document.get("course") or _path(document) if not _long(step)]
        for key in ("via", "target"):
            document["vault"].pop(key, None)
        found.append({key: part for key, part in document.items() if key not in _NO_PART})
    return tuple(found)


def _path(document: Document) -> list[Document]:
    """Return the upgrades of a scenario that says them without a course."""
    vault = document["vault"]
    return [{"upgrade": version} for version in (*vault.get("via", ()), vault["target"])]


def _long(step: Document) -> bool:
    return any(key in step for key in (*_TOO_LONG, *_TOO_LONG_STEPS))


def _parts(value: Any, shape: Any = Scenario, trail: Trail = ()) -> Iterator[tuple[Trail, type, Document]]:
    """Yield each part of a document that has fields: where it is, its model and itself."""
    if fields.is_model(shape):
        yield trail, shape, value
        known = fields.fields(shape)
        below = [(key, one, known[key][0]) for key, one in value.items() if key in known]
    elif get_origin(shape) in (dict, tuple) and isinstance(value, (dict, list)):
        entries: Any = value.items() if isinstance(value, dict) else enumerate(value)
        below = [(key, one, fields.below(shape, key)) for key, one in entries]
    else:
        return
    for key, one, beneath in below:
        yield from _parts(one, beneath, (*trail, key))


@cache
def _pool() -> dict[tuple[str, str], tuple[Any, ...]]:
    """Return every value that is said in a shipped scenario, by the model and the key."""
    pool: dict[tuple[str, str], list[Any]] = {}
    for document in _parents():
        for _, model, part in _parts(document):
            for key, value in part.items():
                held = pool.setdefault((model.__name__, key), [])
                if value not in held:
                    held.append(value)
    return {key: tuple(held) for key, held in pool.items()}


def _changed(chance: random.Random, versions: Sequence[str]) -> Document:
    document = copy.deepcopy(chance.choice(_parents()))
    for _ in range(chance.choice((1, 2, 3, 4, 6, 8, 10))):
        chance.choices((_set, _leave_out, _add, _step), (8, 2, 2, 3))[0](document, chance)
    _of_versions(document, chance, versions)
    _short_spans(document)
    _references(document, chance)
    document = {"schema": 1, "description": "A shipped scenario, changed.", **document}
    if not document.get("course"):
        document["course"] = [{"restart": {}}]
    return document


def _set(document: Document, chance: random.Random) -> None:
    """Have a part say something that it did not say, or say otherwise."""
    _, model, part = chance.choice([one for one in _parts(document) if one[0] and "course" not in one[0]])
    key = chance.choice(sorted(set(fields.fields(model)) - {*_NO_PART, *_TOO_LONG, "via", "target", "kubernetes"}))
    choices = [*_of_shape(fields.fields(model)[key][0]), *_pool().get((model.__name__, key), ())]
    if choices and (key not in ("roles", "config") or chance.random() < 0.3):
        part[key] = copy.deepcopy(chance.choice(choices))


def _of_shape(shape: Any) -> Sequence[Any]:
    """Return what a value of this type can be, where the type says all of it."""
    if get_origin(shape) is Literal:
        return get_args(shape)
    if shape is bool:
        return (True, False)
    return [[], *([one] for one in get_args(get_args(shape)[0]))] if shape == tuple[values.Readable, ...] else ()


def _leave_out(document: Document, chance: random.Random) -> None:
    """Have a part say less."""
    there = [(part, key) for trail, _, part in _parts(document) if trail for key in part if key != "source"]
    part, key = chance.choice(there)
    del part[key]


def _add(document: Document, chance: random.Random) -> None:
    """Take a mount, a role, an app or a cluster from another scenario."""
    section = chance.choice(("auth", "apps", "apps", "clusters", "roles"))
    other = chance.choice(_parents())
    if section == "roles":
        mine = [mount for mount in document["auth"].values() if mount.get("roles")]
        theirs = [mount for mount in other["auth"].values() if mount.get("roles")]
        if mine and theirs:
            into, taken = chance.choice(mine)["roles"], chance.choice(theirs)["roles"]
            into[chance.choice(sorted(into))] = copy.deepcopy(chance.choice(list(taken.values())))
        return
    if other.get(section):
        name = chance.choice(sorted(other[section]))
        free = name if name not in document.setdefault(section, {}) else f"{name}-2"
        document[section][free] = copy.deepcopy(other[section][name])


def _step(document: Document, chance: random.Random) -> None:
    """Have a step more, of another scenario, or one less, or two in another order."""
    course = document["course"]
    what = chance.choice(("more", "more", "less", "order"))
    if what == "more":
        step = chance.choice(chance.choice([one for one in _parents() if one["course"]])["course"])
        course.insert(chance.randrange(len(course) + 1), copy.deepcopy(step))
    elif course and what == "less":
        course.pop(chance.randrange(len(course)))
    elif course:
        chance.shuffle(course)


def _of_versions(document: Document, chance: random.Random, versions: Sequence[str]) -> None:
    """Have Vault be other versions, in the order in which they were released, and everybody else any of them."""
    ordered = sorted(versions, key=lambda version: [int(part) for part in version.split(".")])
    steps = [step.get("move") or step for step in document["course"]]
    upgrades = [step for step in steps if isinstance(step, dict) and "upgrade" in step]
    drawn = sorted(chance.sample(ordered, min(len(ordered), len(upgrades) + 1)), key=ordered.index)
    for step, version in zip(upgrades, drawn[1:], strict=False):
        step["upgrade"] = version
    document["vault"]["source"] = drawn[0]
    if document["vault"].get("storage", "raft") != "raft" and at_least(drawn[-1], "1.18.0"):
        del document["vault"]["storage"]
    for mount in document["auth"].values():
        if isinstance(mount.get("configured"), dict):
            mount["configured"]["by"] = chance.choice(ordered[: ordered.index(drawn[0]) + 1])
    for app in document["apps"].values():
        if "agent" in app:
            app["agent"] = chance.choice(ordered)


def _short_spans(document: Document) -> None:
    """Leave out what would end while nobody waits for it."""
    for _, model, part in list(_parts(document)):
        for key, value in list(part.items()):
            shape = fields.fields(model).get(key, (None, ""))[0]
            if shape in (values.Duration, values.TokenLife) and _ends(value):
                del part[key]


def _ends(value: object) -> bool:
    return isinstance(value, str) and value[:-1].isdigit() and values.seconds(value) < _SECONDS


def _references(document: Document, chance: random.Random) -> None:
    """Have what is named be there."""
    for trail, model, part in list(_parts(document)):
        for key, section in _REFERENCES.items():
            names = isinstance(part.get(key), str) and (key != "reviewer" or model.__name__ == "SecretOf")
            if not names:
                continue
            there = sorted(document.get(section) or {}) if section else _roles(document, part)
            if there and part[key] not in there:
                part[key] = chance.choice(there)
        if model.__name__ == "App" and "mount" not in part and len(document["auth"]) > 1:
            part["mount"] = chance.choice(sorted(document["auth"]))
        if trail and trail[0] == "course":
            _of_clusters(document, part, chance)


def _roles(document: Document, part: Document) -> list[str]:
    mounts = document["auth"]
    mount = mounts.get(part.get("mount") or next(iter(mounts)), {})
    return sorted(mount.get("roles") or {})


def _of_clusters(document: Document, step: Document, chance: random.Random) -> None:
    """Have the verbs that name clusters as keys name some that are there."""
    there = sorted(document.get("clusters") or {})
    for verb, said in step.items():
        if there and verb in ("set-issuers", "rotate-keys", "publish-keys", "upgrade-kubernetes"):
            step[verb] = {
                one if one in (*there, "provider") else chance.choice(there): value for one, value in said.items()
            }
        if there and verb == "move" and isinstance(said, dict) and said.get("to") not in (*there, "outside"):
            said["to"] = chance.choice(there)
