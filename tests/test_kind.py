"""The shipped scenarios on kind clusters: they are judged as on paper and on processes, and nothing is left behind."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pytest

from harness.clients import container_engine
from harness.clients.container_engine import Engine
from harness.clients.engine_things import Thing
from harness.record import journal
from harness.record.events import VaultAuditLine
from harness.scenario import loading, plan
from tests.runs import SCENARIOS, fits_kind
from tests.test_real import SECRET_SHAPES, ours, rehearse, work_directories
from tests.test_scenarios import PROMISED

pytestmark = pytest.mark.kind

MADE_UP = re.compile(
    r"https://[\d.]+:\d+|sha256:\w+ \(\d+ characters\)|\d{4}-\d\d-\d\d[ T][\d:.]+(?:Z| UTC)?"
    r"|token mac for .*? is incorrect|\b\d{1,3}(?:,\d{3})+\b|\(\d+ vs\. \d+\)"
)
"""What differs from run to run: addresses, certificates, dates, the inside of a token that Vault declines, and how
large a list of leases is.
"""


Shape = tuple[tuple[tuple[str, str, int], ...], str]
"""The clusters that a scenario wants, each with its version and its nodes, and the one of Vault's Pod."""


def shape_of(name: str) -> Shape:
    """Return the clusters of a shipped scenario: where two have the same, one may borrow them from the other."""
    made = plan.make(loading.load(SCENARIOS / f"{name}.yaml").scenario, name, "kind").resolved
    return tuple((one, spec.kubernetes, spec.nodes) for one, spec in made.clusters.items()), made.vault.cluster


ELSEWHERE: Final = (
    "a-client-certificate-is-trusted-by-its-number-alone",
    "another-version-of-the-agent-would-not-help",
    "a-half-done-upgrade-of-three-nodes-lets-leadership-go-back",
    "three-nodes-are-upgraded-standbys-first-and-the-leader-last",
    "three-nodes-with-the-leader-first-move-leadership-in-vain",
)
"""What is had on kind all at once, in clusters that are there (tests/test_kind_courses.py); and what tells of several
nodes for how long nobody answered: one scenario with both orders stands for them there.
"""


ALIKE: Final[dict[Shape, list[str]]] = {
    shape: list(names)
    for shape, names in itertools.groupby(
        sorted(filter(fits_kind, {*PROMISED} - {*ELSEWHERE}), key=lambda each: (shape_of(each), each)), shape_of
    )
}


class Lent:
    """The clusters of the first rehearsal of a shape, which it leaves up for the others of that shape."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._shape: Shape | None = None
        self._first: Path | None = None

    @property
    def state(self) -> Path:
        """Return where those look that want to borrow."""
        return self._base / "state"

    def how(self, shape: Shape, directory: Path) -> list[str]:
        """Return the option with which the run in *directory* leaves clusters up, or borrows them; none for one alone.

        The clusters of another shape are ended.
        """
        if shape == self._shape and self._first is not None:
            return ["--reuse"]
        self.end()
        if len(ALIKE[shape]) == 1:
            return []
        self._shape, self._first = shape, directory
        return ["--keep"]

    def end(self) -> None:
        """End the clusters, if there are any; nothing of the run that made them may be left."""
        first, self._shape, self._first = self._first, None, None
        if first is None:
            return
        for entry in (self.state / "live").glob("*.json"):
            done = rehearse("clean", entry.stem)
            assert done.returncode == 0, done.stderr
        assert things(container_engine.reach(os.environ), first) == []
        assert not ours(first)
        assert not work_directories(first)


@pytest.fixture(scope="module")
def lent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lent]:
    """Clusters that are lent from scenario to scenario, and gone in the end."""
    one = Lent(tmp_path_factory.mktemp("lent"))
    yield one
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REHEARSE_STATE", str(one.state))
        one.end()


@pytest.fixture(scope="module")
def machine() -> Engine:
    """The engine of this machine."""
    return container_engine.reach(os.environ)


def things(machine: Engine, directory: Path) -> list[Thing]:
    """Return every container, network and volume of the run in *directory*."""
    return [thing for thing in machine.leftovers() if thing.run.startswith(directory.name[:40])]


def essence(judgement: dict[str, Any]) -> dict[str, Any]:
    """Return what a judgement says of Vault, without what differs from run to run and from driver to driver."""
    findings = [
        {key: finding[key] for key in ("kind", "effect", "rule", "confidence", "app", "mount", "hop", "sentence")}
        for finding in judgement["findings"]
    ]
    answers = [
        [seen[key] for key in ("moment", "probe", "app", "mount", "item", "answer", "status", "error")]
        for seen in judgement["observations"]
    ]
    reviewing = [
        {key: row[key] for key in ("app", "moment", "status", "should_present", "reviewer", "user", "review_status")}
        for row in judgement["reviewing"]
    ]
    picked = {
        "verdict": judgement["verdict"],
        "as_expected": judgement["as_expected"],
        "findings": findings,
        "answers": answers,
        "reviewing": reviewing,
        "not checked": judgement["not_checked"],
    }
    text = MADE_UP.sub("...", json.dumps(picked))
    plain: dict[str, Any] = json.loads(text)
    return plain


def heard(directory: Path) -> list[tuple[str, str, str]]:
    """Return every request that Vault's audit log has of a run's moments: evidence, wherever Vault writes it."""
    lines: list[VaultAuditLine] = journal.load(directory).of(VaultAuditLine)
    return sorted((line.moment, line.entry["request"]["operation"], line.entry["request"]["path"]) for line in lines)


AT_NIGHT: Final = {
    "a-config-written-in-a-pod-by-1.7-never-worked-for-another-cluster",
    "a-config-written-outside-a-pod-breaks-once-vault-has-one",
    "a-copied-pod-token-as-the-reviewer-dies-with-the-pod",
    "a-long-lived-reviewer-survives-the-upgrade",
    "a-morning-of-1500-pods-is-refused-after-the-upgrade",
    "a-new-issuer-of-the-cluster-refuses-every-login-of-a-vault-that-stays",
    "a-projected-token-for-vault-needs-a-reviewer-beside-it",
    "a-reviewer-without-auth-delegator-refuses-everyone",
    "a-standby-that-was-removed-forwards-nothing-once-another-node-leads",
    "disable-local-ca-jwt-keeps-apps-in-another-cluster-logged-in",
    "logins-go-through-the-leader-a-standby-and-a-load-balancer",
    "running-apps-renew-on-while-new-logins-are-refused",
    "the-hop-that-breaks-is-found-on-a-path-of-many",
}
"""Scenarios whose parts others have on kind by day: Pods, reviewers and roles of their kind, and in
test_kind_courses a storm, nodes that are asked through each other, and an issuer that changes.
"""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.nightly] * (name in AT_NIGHT))
        for names in ALIKE.values()
        for name in names
    ],
)
def test_a_scenario_is_judged_alike_by_every_driver(
    name: str, tmp_path: Path, machine: Engine, lent: Lent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kind, processes and paper give one judgement; of the run on kind nothing is left, and no secret is written.

    The first of those that want the same clusters makes them, and the others borrow them.
    """
    monkeypatch.setenv("REHEARSE_STATE", str(lent.state))
    directory = tmp_path / f"{os.getpid()}-{name}"
    file, how = f"scenarios/{name}.yaml", lent.how(shape_of(name), directory)
    with ThreadPoolExecutor() as pool:
        # most of the run on kind is waiting
        local = pool.submit(rehearse, "run", file, "--driver", "local", "-o", "json", "--run-dir", tmp_path / "local")
        done = rehearse("run", file, "--driver", "kind", *how, "-o", "json", "--run-dir", directory)
    assert done.returncode == 0, done.stderr
    on_kind = json.loads(done.stdout)
    verdict, findings = PROMISED[name]
    assert on_kind["verdict"] == verdict
    assert [(f["kind"], f["effect"], f["rule"], f["hop"]) for f in on_kind["findings"]] == list(findings)
    assert all(len(artifact["sha256"]) == 64 and artifact["source"] for artifact in on_kind["artifacts"])

    if how != ["--keep"]:
        assert things(machine, directory) == []
        assert not ours(directory)
        assert not work_directories(directory)
    for path in directory.rglob("*"):
        if path.is_file():
            assert not SECRET_SHAPES.search(path.read_bytes()), path
            assert path.stat().st_mode & 0o077 == 0, path

    assert essence(on_kind) == essence(json.loads(local.result().stdout))
    assert heard(directory) == heard(tmp_path / "local")
    paper = rehearse("run", file, "--driver", "paper", "-o", "json", "--run-dir", tmp_path / "paper")
    on_paper = json.loads(paper.stdout)
    for part in ("verdict", "as_expected"):
        assert on_paper[part] == on_kind[part]
