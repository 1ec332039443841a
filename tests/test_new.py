"""`rehearse new`: the nearest shipped scenario with one's own names, by questions at a terminal or by options."""

from __future__ import annotations

import os
import pty
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from harness.cli import new as command
from harness.cli.commands import main
from harness.scenario import drafting, loading, topology
from tests.runs import SCENARIOS

ANSWERS = drafting.Answers(
    source="1.7.0",
    target="1.11.0",
    place="other",
    written_by="1.4.0",
    with_token_file=True,
    reviewer="nobody",
    service_account="apps/web",
    mount="kubernetes",
    role="web",
)
OUTAGE = "the-outage-apps-in-another-cluster-are-refused-after-the-upgrade"


def made(**changes: Any) -> loading.Loaded:
    return loading.loads(drafting.draft(msgspec.structs.replace(ANSWERS, **changes)))


def answers_of(name: str) -> drafting.Answers:
    """Return the answers that describe a shipped scenario."""
    wanted = topology.of(loading.load(SCENARIOS / f"{name}.yaml").scenario)
    ((path, mount),), (app,) = wanted.mounts.items(), wanted.apps.values()
    scenario = loading.load(SCENARIOS / f"{name}.yaml").scenario
    place: drafting.Place = (
        "outside" if not wanted.vault.cluster else "same" if wanted.vault.cluster == mount.cluster else "other"
    )
    return drafting.Answers(
        source=wanted.vault.source,
        target=scenario.vault.target or "",
        place=place,
        written_by=mount.written_by,
        with_token_file=mount.with_token_file,
        reviewer={"long-lived": "secret", "": "nobody"}.get(mount.reviewer, mount.reviewer),
        service_account=app.service_account,
        mount=path,
        role=app.role,
    )


@pytest.mark.parametrize("name", [name for name, _ in drafting._SHIPPED])
def test_who_describes_a_shipped_scenario_gets_that_one(name: str) -> None:
    """Its Vault, its clusters, its mount and its app, and no `expect`, which would be its answer."""
    answers = answers_of(name)
    assert drafting.nearest(answers) == name
    drawn = loading.loads(drafting.draft(answers)).scenario
    shipped = loading.load(SCENARIOS / f"{name}.yaml").scenario
    got, there = topology.of(drawn), topology.of(shipped)
    assert drawn.expect is None
    for mount, other in zip(got.mounts.values(), there.mounts.values(), strict=True):
        for part in ("written_by", "with_token_file", "reviewer"):
            assert getattr(mount, part) == getattr(other, part)
        assert set(mount.roles) == set(other.roles)
    assert (got.vault.source, bool(got.vault.cluster)) == (there.vault.source, bool(there.vault.cluster))
    assert len(got.clusters) == len(there.clusters) or not there.vault.cluster
    assert [(app.subject, app.may_review_tokens, app.reads) for app in got.apps.values()] == [
        (app.subject, app.may_review_tokens, app.reads) for app in there.apps.values()
    ]


def test_ones_own_names_stand_in_it() -> None:
    scenario = made(service_account="team-a/billing", mount="k8s/prod", role="Billing_Role").scenario
    assert list(scenario.auth) == ["k8s/prod"]
    assert list(scenario.auth["k8s/prod"].roles) == ["Billing_Role"]
    assert scenario.apps["billing"].service_account == "team-a/billing"


def test_the_nearest_of_what_is_not_shipped_has_the_same_reviewer_or_place() -> None:
    near = drafting.nearest(msgspec.structs.replace(ANSWERS, reviewer="client-jwt", place="same", written_by="1.7.0"))
    assert near == "disable-local-ca-jwt-keeps-apps-in-another-cluster-logged-in"


def options(file: Path, *more: str) -> list[str]:
    return ["new", str(file), "--source", "1.7.0", "--target", "1.11.0", *more]


def test_without_a_terminal_options_will_do(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    more = [
        "--place",
        "other",
        "--written-by",
        "1.4.0",
        "--service-account",
        "team/app",
        "--mount",
        "k8s",
        "--role",
        "R",
    ]
    done = CliRunner().invoke(main, options(file, *more))
    assert done.exit_code == 0, done.output
    assert OUTAGE in done.output
    scenario = loading.load(file).scenario
    assert scenario.auth["k8s"].configured is not None
    assert scenario.auth["k8s"].configured.with_token_file is True
    checked = CliRunner().invoke(main, ["validate", str(file)])
    assert checked.exit_code == 0


@pytest.mark.parametrize("given", [[], ["--source", "1.7.0"]])
def test_without_a_terminal_what_must_be_said_is_named(given: list[str], tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["new", str(tmp_path / "x.yaml"), *given])
    assert done.exit_code == 2
    assert "--target" in done.output
    assert not (tmp_path / "x.yaml").exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--place", "outside", "--reviewer", "local"], "no token of its own to review with"),
        (["--written-by", "1.12.0"], "the source is 1.7.0, which is older"),
        (["--service-account", "web"], "these answers are no scenario"),
        (["--written-by", "soon"], "these answers are no scenario"),
        (["--place", "moon"], "moon"),
    ],
)
def test_answers_that_are_no_scenario_write_nothing(more: list[str], words: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    done = CliRunner().invoke(main, options(file, *more))
    assert done.exit_code == 2
    assert words in done.output
    assert not file.exists()


def test_a_file_that_is_there_stays_unless_it_is_said(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("mine")
    assert CliRunner().invoke(main, options(file)).exit_code == 2
    assert file.read_text() == "mine"
    assert CliRunner().invoke(main, options(file, "--force")).exit_code == 0
    assert loading.load(file)


def test_a_directory_that_is_not_there_is_said(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, options(tmp_path / "no" / "mine.yaml"))
    assert done.exit_code == 3
    assert "could not be written" in done.output


def test_five_questions_at_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong answer is asked for again, an empty one is what stands in brackets."""
    file = tmp_path / "mine.yaml"
    monkeypatch.setattr(command, "asks", lambda: True)
    lines = ["1.7.0", "1.7.0 1.11.0", "moon", "other", "1.4.0 yes", "", "team/app k8s web"]
    done = CliRunner().invoke(main, ["new", str(file)], input="\n".join(lines) + "\n")
    assert done.exit_code == 0, done.output
    assert done.output.count("?") >= 5
    assert OUTAGE in done.output
    assert list(loading.load(file).scenario.auth) == ["k8s"]


@pytest.mark.processes
def test_a_real_terminal_is_asked_at(tmp_path: Path) -> None:
    import subprocess
    import sys

    ours, theirs = pty.openpty()
    words = [sys.executable, "-m", "harness", "new", str(tmp_path / "mine.yaml")]
    with subprocess.Popen(words, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as asked:
        os.write(ours, b"1.7.0 1.11.0\nother\n1.4.0 yes\n\n\n")
        said, _ = asked.communicate(timeout=120)
    os.close(ours)
    os.close(theirs)
    assert asked.returncode == 0, said
    assert OUTAGE in said.decode()
