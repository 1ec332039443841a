"""Whatever stands at whatever key of a scenario, it is understood or told with its line: `validate` never breaks."""

from __future__ import annotations

import copy
import datetime as dt
import itertools
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, get_origin

import pytest
import yaml

from harness.errors import ScenarioError
from harness.scenario import fields, loading
from harness.scenario.schema import Scenario
from harness.scenario.yaml_document import Trail
from harness.session import prediction
from tests import bare_vault
from tests.runs import SCENARIOS

WRONG: Final[dict[str, Any]] = {
    "a fraction": 1.5,
    "a date": dt.date(2026, 1, 1),
    "a star": "*",
    "a list": ["x", "x"],
    "a list of mappings": [{}],
    "a mapping": {"x": {}},
    "a mapping of lists": {"x": []},
    "numbers for keys": {1: 2},
}

BASE: Final[dict[str, Any]] = yaml.safe_load("""
schema: 1
description: One cluster and one app.
clusters: {main: {kubernetes: 1.32.0}}
vault: {cluster: main, source: 1.7.0, target: 1.11.0}
auth: {kubernetes: {cluster: main, roles: {web: {service-accounts: [web], namespaces: [apps], policies: [web]}}}}
apps: {web: {cluster: main, service-account: apps/web, role: web}}
""")
PATH: Final = ("source", "via", "target")
NAMES: Final = {"clusters": "main", "auth": "kubernetes", "roles": "web", "apps": "web"}


def places(shape: Any = Scenario, trail: Trail = (), within: tuple[Any, ...] = ()) -> Iterator[Trail]:
    """Yield where a value can stand."""
    if trail:
        yield trail
    if fields.is_model(shape):
        for key in fields.fields(shape) if within.count(shape) < 2 else ():
            yield from places(fields.below(shape, key), (*trail, key), (*within, shape))
    elif shape in fields.WORDS:
        return
    elif get_origin(shape) is dict:
        name = NAMES.get(str(trail[-1]), "x")
        yield from places(fields.below(shape, name), (*trail, name), within)
    elif get_origin(shape) in (list, tuple):
        yield from places(fields.below(shape, 0), (*trail, 0), within)


def with_value(trail: Trail, value: Any) -> str:
    """Return the scenario with *value* at *trail*, and all that it has to stand in."""
    whole: Any = copy.deepcopy(BASE)
    here = whole
    for step, following in itertools.pairwise(trail):
        kind: type[Any] = list if isinstance(following, int) else dict
        if isinstance(here, list):
            if not here or not isinstance(here[0], kind):
                here[:] = [kind()]
        elif not isinstance(here.get(step), kind):
            here[step] = kind()
        here = here[step]
    if isinstance(here, list):
        here[:] = [value]
    else:
        here[trail[-1]] = value
    return str(yaml.safe_dump(whole))


@pytest.mark.parametrize("kind", WRONG)
def test_no_value_at_any_key_breaks_what_reads_it(kind: str) -> None:
    found = 0
    for trail in places():
        found += 1
        try:
            loading.loads(with_value(trail, WRONG[kind]), "wrong.yaml")
        except ScenarioError as error:
            assert str(error).startswith("wrong.yaml:"), trail  # noqa: PT017
        except Exception as error:
            raise AssertionError(f"{kind} at {'.'.join(map(str, trail))} breaks it: {error!r}") from error
    assert found > 250


@pytest.mark.parametrize(
    ("trail", "value", "told"),
    [
        (("vault", "audit", "a"), {"type": "file", "mode": "9999"}, "vault.audit.a.mode is not mode bits"),
        (("course",), [{"revoke-leases": 1.5}], "course[0].revoke-leases is not so many, or all"),
        (("probes",), [{}], "probes[0] is a mapping, and must be one of the choices"),
    ],
)
def test_what_broke_it_once_is_told(trail: Trail, value: Any, told: str) -> None:
    with pytest.raises(ScenarioError) as refused:
        loading.loads(with_value(trail, value), "wrong.yaml")
    assert told in str(refused.value)


SPANS: Final = {"2562047h": True, "2562048h": False, "153722867m": True, "153722868m": False}
ROLE: Final[Trail] = ("auth", "approle", "roles", "web")


@pytest.mark.parametrize(
    ("key", "value", "taken"),
    [
        *(("ttl", span, taken) for span, taken in SPANS.items()),
        *(("explicit-max-ttl", span, taken) for span, taken in SPANS.items()),
        *(("secret-id-ttl", span, taken) for span, taken in SPANS.items()),
        *((key, 2**63 - 1, True) for key in ("num-uses", "secret-id-num-uses")),
        *((key, 2**63, False) for key in ("num-uses", "secret-id-num-uses")),
    ],
)
def test_what_64_bits_do_not_hold_is_told(key: str, value: Any, taken: bool) -> None:
    """As every Vault does."""
    whole = yaml.safe_load(with_value((*ROLE, key), value))
    whole["auth"]["approle"]["type"] = "approle"
    whole["auth"]["approle"]["roles"]["web"]["policies"] = ["web"]
    whole["apps"]["job"] = {"mount": "approle", "role": "web"}
    whole["apps"]["web"]["mount"] = "kubernetes"
    if taken:
        loading.loads(yaml.safe_dump(whole))
        return
    with pytest.raises(ScenarioError) as refused:
        loading.loads(yaml.safe_dump(whole))
    (problem,) = refused.value.problems
    assert problem.message.startswith(f"auth.approle.roles.web.{key} is ")


@pytest.mark.real
@pytest.mark.parametrize("version", ["1.4.0", "1.11.0"])
def test_real_vaults_refuse_just_what_64_bits_do_not_hold(version: str, tmp_path: Path) -> None:
    with bare_vault.running(version, tmp_path) as vault:
        assert vault.ask("POST", "sys/auth/approle", {"type": "approle"})[0] == 204
        for field in ("token_ttl", "token_explicit_max_ttl", "secret_id_ttl"):
            for span, taken in SPANS.items():
                status, said = vault.ask("POST", "auth/approle/role/web", {field: span})
                assert (status < 300) == taken, (field, span, said)
                vault.ask("DELETE", "auth/approle/role/web")
        for field in ("token_num_uses", "secret_id_num_uses"):
            assert vault.ask("POST", "auth/approle/role/web", {field: 2**63 - 1})[0] < 300
            assert vault.ask("POST", "auth/approle/role/web", {field: 2**63})[0] == 400


def put_together(chance: random.Random, others: list[dict[str, Any]]) -> str:
    """Return a scenario with parts of *others*, which nobody has put together before."""
    whole = copy.deepcopy(chance.choice(others))
    steps = [step for one in others for step in one.get("course", [])]
    for _ in range(chance.randint(1, 3)):
        other, kind = copy.deepcopy(chance.choice(others)), chance.random()
        if kind < 0.5:
            course = whole.setdefault("course", [])
            if "target" in whole["vault"]:
                course.append({"upgrade": whole["vault"].pop("target")})
                whole["vault"].pop("via", None)
            course.insert(chance.randint(0, len(course)), copy.deepcopy(chance.choice(steps)))
        elif kind < 0.75:
            whole["vault"] |= {key: other["vault"][key] for key in other["vault"] if key not in PATH}
            whole |= {key: other[key] for key in ("seal-vault",) if key in other}
        else:
            for section in ("auth", "apps", "clusters", "policies", "secrets", "also-mounted"):
                for name, one in (other.get(section) or {}).items():
                    whole.setdefault(section, {}).setdefault(name, one)
    return str(yaml.safe_dump({key: whole[key] for key in whole if key not in ("expect", "matrix")}))


@pytest.mark.parametrize("seed", range(4))
def test_parts_that_nobody_put_together_break_nothing(seed: int) -> None:
    """What they come to is told, planned and foretold, whatever it is."""
    chance, understood = random.Random(seed), 0
    others = [yaml.safe_load(file.read_text()) for file in sorted(SCENARIOS.rglob("*.yaml"))]
    for _ in range(60):
        text = put_together(chance, others)
        try:
            loaded = loading.loads(text)
            told = prediction.predict(loaded)
        except ScenarioError:
            continue
        except Exception as error:
            raise AssertionError(f"it breaks ({error!r}):\n{text}") from error
        understood += 1
        assert "the harness itself failed" not in told.why_not, text
    assert understood > 5


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("seal: transit}\nseal-vault: {source: 1.8.0}", "step-down is of a Vault of several nodes, and there is one"),
        ("storage: raft}", "auth/approle is of type approle, which has no config to write"),
    ],
)
def test_steps_for_another_kind_of_vault_or_mount_are_told(text: str, told: str) -> None:
    """Beside a Vault that unseals it, and where no API server is asked."""
    with pytest.raises(ScenarioError) as refused:
        loading.loads(
            f"schema: 1\ndescription: Steps.\nvault: {{source: 1.9.2, {text}\n"
            "auth: {approle: {type: approle, roles: {web: {policies: [web]}}}}\n"
            "apps: {web: {role: web}}\ncourse:\n  - step-down: {}\n  - write: {reviewer: secret}\n"
        )
    assert told in [one.message for one in refused.value.problems]


def test_a_reviewer_is_chosen_where_somebody_reviews() -> None:
    with pytest.raises(ScenarioError) as refused:
        loading.loads(
            "schema: 1\ndescription: A CI.\nclusters: {apps: {kubernetes: 1.32.0}}\nvault: {source: 1.13.0}\n"
            "auth: {ci: {type: jwt, roles: {web: {bound-subject: web, bound-audiences: [vault], policies: [web]}}}}\n"
            "apps: {web: {role: web, token: minted, audience: vault}}\ncourse:\n  - write: {reviewer: secret}\n"
        )
    assert [one.message for one in refused.value.problems] == ["auth/ci is of type jwt, and nobody reviews its logins"]
