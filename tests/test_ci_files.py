"""The files that users copy into their CI are valid, their commands exist, and what they run does what they say."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from harness.cli.commands import main
from tests.runs import OUTAGE, SCENARIOS

ROOT = SCENARIOS.parent
GITHUB = ROOT / "docs" / "ci" / "github-actions.yml"
GITLAB = ROOT / "docs" / "ci" / "gitlab-ci.yml"
HOOKS = ROOT / ".pre-commit-hooks.yaml"
PAGE = ROOT / "docs" / "ci.md"
GREEN = SCENARIOS / "disable-local-ca-jwt-keeps-apps-in-another-cluster-logged-in.yaml"


def read(file: Path) -> dict[str, Any]:
    # on is a word, and no truth value
    return dict(yaml.load(file.read_text(encoding="utf-8"), yaml.BaseLoader))


def github_jobs() -> dict[str, dict[str, Any]]:
    return dict(read(GITHUB)["jobs"])


def gitlab_jobs() -> dict[str, dict[str, Any]]:
    words = {"stages", "variables", "default", "workflow", "include"}
    return {name: job for name, job in read(GITLAB).items() if name not in words}


def scripts() -> Iterator[str]:
    """Yield every line that either file runs."""
    for job in github_jobs().values():
        for step in job["steps"]:
            yield from str(step.get("run", "")).splitlines()
    for job in gitlab_jobs().values():
        yield from job["script"]


def tool(*words: str | Path, where: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a tool that is installed beside this Python."""
    command = [str(Path(sys.executable).with_name(str(words[0]))), *map(str, words[1:])]
    return subprocess.run(command, cwd=where, capture_output=True, text=True, check=False, timeout=300)


# --- they are valid ---


@pytest.mark.processes
@pytest.mark.parametrize(
    ("file", "schema"), [(GITHUB, "vendor.github-workflows"), (GITLAB, "vendor.gitlab-ci")], ids=["github", "gitlab"]
)
def test_a_ci_file_fits_the_schema_of_its_ci(file: Path, schema: str, tmp_path: Path) -> None:
    done = tool("check-jsonschema", "--builtin-schema", schema, file)
    assert done.returncode == 0, done.stdout + done.stderr
    wrong = tmp_path / file.name
    wrong.write_text(file.read_text(encoding="utf-8").replace("script:", "scripts:").replace("runs-on:", "runs-in:"))
    assert tool("check-jsonschema", "--builtin-schema", schema, wrong).returncode == 1


@pytest.mark.processes
def test_nothing_in_the_github_workflow_can_be_used_against_its_users(tmp_path: Path) -> None:
    """Actions are pinned by digest, nothing of a pull request reaches a shell, rights are as few as can be."""
    place = tmp_path / ".github" / "workflows"
    place.mkdir(parents=True)
    copy = place / "rehearse.yml"
    copy.write_text(GITHUB.read_text(encoding="utf-8"))
    done = tool("zizmor", "--offline", "--persona", "auditor", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    copy.write_text(re.sub(r"checkout@\w+", "checkout@v4", GITHUB.read_text(encoding="utf-8")))
    assert tool("zizmor", "--offline", tmp_path).returncode != 0


def test_every_command_of_a_ci_file_is_one() -> None:
    found = [line for script in scripts() for line in re.findall(r"rehearse [a-z][^|)]*", script)]
    assert len(found) > 10
    for line in found:
        insist_on_command(shlex.split(line)[1:])


def insist_on_command(words: list[str]) -> None:
    command: click.Command = main
    while isinstance(command, click.Group):
        inner = command.commands.get(words[0])
        assert inner is not None, words
        command, words = inner, words[1:]
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    assert [word for word in words if word.startswith("-") and word not in options] == [], words


def test_every_github_job_has_its_time_and_every_record_is_kept() -> None:
    for name, job in github_jobs().items():
        assert int(job["timeout-minutes"]) > 0, name
        runs = " ".join(str(step.get("run", "")) for step in job["steps"])
        if "--run-dir" in runs:
            kept = [step for step in job["steps"] if "upload-artifact" in str(step.get("uses", ""))]
            assert [step["if"] for step in kept] == ["${{ !cancelled() }}"], name
    for name, job in gitlab_jobs().items():
        assert job["timeout"], name
        if "--run-dir" in " ".join(job["script"]):
            assert job["artifacts"]["when"] == "always", name
            # of a shard it's the table that has the cases
            assert job["artifacts"].get("reports", {}).get("junit") or "parallel" in job, name


# --- they do what they say ---


MATRIX = """
matrix:
  axes:
    vault.target: [1.9.2, 1.9.3, 1.11.0]
    reviewer:
      nobody-chose: {}
      client-jwt: {auth.kubernetes.reviewer: client-jwt, auth.kubernetes.configured: ~}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Somebody's repository, in which a CI job begins."""
    (tmp_path / "scenarios").mkdir()
    for file in (OUTAGE, GREEN):
        (tmp_path / "scenarios" / file.name).write_text(file.read_text(encoding="utf-8"))
    return tmp_path


def run_lines(lines: list[str], where: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run lines of a script as a CI would, on paper: what installs, and what fetches servers, is left out."""
    wanted = [line for line in lines if "rehearse " in line and not line.startswith("rehearse artifacts")]
    assert wanted
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", "\n".join(wanted)],
        cwd=where,
        env={**os.environ, "PATH": path, "REHEARSE_DRIVER": "paper", **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def run_job(job: Mapping[str, Any], where: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the steps of a GitHub job in order."""
    lines = [line for step in job["steps"] for line in str(step.get("run", "")).splitlines()]
    return run_lines(lines, where, **variables)


@pytest.mark.processes
def test_the_github_jobs_leave_a_summary_annotations_junit_and_records(project: Path) -> None:
    jobs, summary = github_jobs(), project / "summary.md"
    done = run_job(jobs["rehearse"], project, GITHUB_STEP_SUMMARY=str(summary))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASS  2 scenarios" in summary.read_text(encoding="utf-8")
    assert f"::notice file=scenarios/{OUTAGE.name}" in done.stderr
    assert ET.parse(project / "records.xml").getroot().get("failures") == "0"
    kept = {path.parent.name for path in (project / "records").rglob("record.jsonl")}
    assert kept == {OUTAGE.stem, GREEN.stem}


@pytest.mark.processes
def test_a_github_job_is_red_where_something_is(project: Path) -> None:
    text = OUTAGE.read_text(encoding="utf-8").partition("\nexpect:")[0] + "\n"
    (project / "scenarios" / "worse.yaml").write_text(text)
    assert run_job(github_jobs()["rehearse"], project).returncode == 1
    (project / "scenarios" / "worse.yaml").write_text(text.replace("target: 1.11.0", "target: 1.11"))
    assert run_job(github_jobs()["validate"], project, GITHUB_OUTPUT=os.devnull).returncode == 2


@pytest.mark.processes
def test_the_gitlab_jobs_leave_junit_and_records(project: Path) -> None:
    jobs = gitlab_jobs()
    assert run_lines(jobs["validate"]["script"], project).returncode == 0
    done = run_lines(jobs["rehearse"]["script"], project)
    assert done.returncode == 0, done.stdout + done.stderr
    for place in (*jobs["rehearse"]["artifacts"]["paths"], jobs["rehearse"]["artifacts"]["reports"]["junit"]):
        assert (project / place).exists(), place


@pytest.fixture
def matrix(project: Path) -> dict[str, str]:
    """Variables of a CI whose scenario with a matrix has six cells, two of them red."""
    text = OUTAGE.read_text(encoding="utf-8").partition("\nexpect:")[0] + "\n" + MATRIX
    (project / "scenarios" / "matrix.yaml").write_text(text)
    return {"MATRIX": "scenarios/matrix.yaml", "SHARDS": "4"}


@pytest.mark.processes
def test_the_github_shards_become_one_table(project: Path, matrix: dict[str, str]) -> None:
    """As the jobs pass it on: shards out of one job's output, a directory each, one table that is red."""
    jobs, summary, output = github_jobs(), project / "summary.md", project / "output"
    assert {name: read(GITHUB)["env"][name] for name in matrix} == matrix
    done = run_job(jobs["validate"], project, GITHUB_OUTPUT=str(output), **matrix)
    assert done.returncode == 0, done.stderr
    name, _, value = output.read_text().strip().partition("=")
    assert (name, jobs["matrix"]["strategy"]["matrix"]) == ("shards", "${{ fromJSON(needs.validate.outputs.shards) }}")
    shares = [one["shard"] for one in json.loads(value)["include"]]
    assert shares == ["1/4", "2/4", "3/4", "4/4"]
    (project / "shards").mkdir()
    for number, share in enumerate(shares):
        done = run_job(jobs["matrix"], project, SHARD=share, **matrix)
        assert done.returncode == 0, done.stdout + done.stderr
        (project / "cells").rename(project / "shards" / f"cells-{number}")
    done = run_job(jobs["table"], project, GITHUB_STEP_SUMMARY=str(summary))
    assert done.returncode == 1, done.stdout + done.stderr
    assert summary.read_text(encoding="utf-8").startswith("# FAIL  6 cells: 4 pass, 2 fail; exit 1")
    assert len(list((project / "whole").rglob("record.jsonl"))) == 6
    assert (project / "whole.xml").exists()


@pytest.mark.processes
def test_the_gitlab_shards_become_one_table(project: Path, matrix: dict[str, str]) -> None:
    jobs = gitlab_jobs()
    number = int(jobs["matrix"]["parallel"])
    for index in range(1, number + 1):
        named = {"MATRIX": matrix["MATRIX"], "CI_NODE_INDEX": str(index), "CI_NODE_TOTAL": str(number)}
        done = run_lines(jobs["matrix"]["script"], project, **named)
        assert done.returncode == 0, done.stdout + done.stderr
    done = run_lines(jobs["table"]["script"], project)
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout.rstrip().endswith("FAIL  6 cells: 4 pass, 2 fail; exit 1")
    for place in (*jobs["table"]["artifacts"]["paths"], jobs["table"]["artifacts"]["reports"]["junit"]):
        assert (project / place).exists(), place


# --- the hook, and other noxfiles ---


@pytest.mark.processes
def test_the_hook_names_every_problem_of_a_scenario_and_leaves_other_files_alone(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As pre-commit runs it, but for the environment that it would make: this one stands for that."""
    assert tool("pre-commit", "validate-manifest", HOOKS).returncode == 0
    hooks = [{**hook, "language": "system"} for hook in yaml.safe_load(HOOKS.read_text(encoding="utf-8"))]
    config = {"repos": [{"repo": "local", "hooks": hooks}]}
    (project / ".pre-commit-config.yaml").write_text(yaml.safe_dump(config))
    (project / "compose.yaml").write_text("services: {}\n")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PRE_COMMIT_HOME", str(project / ".home"))
    for words in (["init", "-q"], ["add", "."]):
        subprocess.run(["git", *words], cwd=project, check=True)
    done = tool("pre-commit", "run", "--all-files", "--verbose", where=project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"scenarios/{OUTAGE.name}: fine" in done.stdout
    assert "compose.yaml" not in done.stdout

    wrong = OUTAGE.read_text(encoding="utf-8").replace("target: 1.11.0", "target: 1.11")
    (project / "scenarios" / "wrong.yaml").write_text(wrong)
    subprocess.run(["git", "add", "."], cwd=project, check=True)
    done = tool("pre-commit", "run", where=project)
    assert done.returncode == 1
    assert re.search(r"scenarios/wrong\.yaml:\d+:\d+: vault\.target", done.stdout)


def test_the_examples_of_the_page_are_whole() -> None:
    """Its Python is Python, its YAML is YAML, and the commands in a noxfile's session exist."""
    page = PAGE.read_text(encoding="utf-8")
    for kind, text in re.findall(r"```(python|yaml)\n(.*?)```", page, re.DOTALL):
        if kind == "yaml":
            assert yaml.safe_load(text)
            continue
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.Call) or ast.unparse(node.func) != "session.run":
                continue
            words = [word.value for word in node.args if isinstance(word, ast.Constant)]
            assert words[0] in ("rehearse", "pytest")
            if words[0] == "rehearse":
                insist_on_command([str(word) for word in words[1:]])
    (hook,) = yaml.safe_load(HOOKS.read_text(encoding="utf-8"))
    assert f"id: {hook['id']}" in page
