"""Scenarios as tests: what is collected, what a failure shows, what a report keeps, what other tests notice of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from harness.record.journal import RECORD_FILE
from harness.session import one_rehearsal
from tests.runs import OUTAGE, SCENARIOS

pytest_plugins = ["pytester"]

PLUGIN = "vault_upgrade_rehearsal_pytest"
ROOT = SCENARIOS.parent
# an environment may be older than the plugin
LOADED = () if any(one.value == PLUGIN for one in metadata.entry_points(group="pytest11")) else ("-p", PLUGIN)
REGRESSION = "login refused: web, at Vault 1.11.0"
UNEXPECTING = OUTAGE.read_text(encoding="utf-8").partition("\nexpect:")[0] + "\n"


@pytest.fixture
def here(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project of somebody else, whose rehearsals are on paper unless a test says otherwise."""
    monkeypatch.setenv("REHEARSE_DRIVER", "paper")
    return pytester


def run(here: pytest.Pytester, *words: str | Path) -> pytest.RunResult:
    # a pytest within this one finds the package imported, which no user's does
    quiet = ("-W", "ignore:Module already imported so cannot be rewritten")
    return here.runpytest_inprocess(*LOADED, *words, *quiet, no_reraise_ctrlc=True)


def alone(here: pytest.Pytester, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run pytest as a process of its own, in which this project is installed and not the current directory."""
    code = f"import sys, pytest; sys.path.append({str(ROOT)!r}); sys.exit(pytest.main(sys.argv[1:]))"
    command = [sys.executable, "-P", "-c", code, *LOADED, "-p", "no:cacheprovider", *words]
    environment: Mapping[str, str] = {**os.environ, **variables}
    return subprocess.run(
        command, cwd=here.path, env=environment, capture_output=True, text=True, check=False, timeout=300
    )


def outage(here: pytest.Pytester, name: str = "outage") -> Path:
    return here.makefile(".yaml", **{name: OUTAGE.read_text(encoding="utf-8")})


def regression(here: pytest.Pytester, name: str = "worse") -> Path:
    """Write a scenario that expects nothing to get worse, which it does."""
    return here.makefile(".yaml", **{name: UNEXPECTING})


def inconclusive(here: pytest.Pytester, name: str = "unsure") -> Path:
    """Write a scenario whose app is refused from the start, so that nothing is learned of it."""
    assert "may-review-tokens: true" in UNEXPECTING
    return here.makefile(".yaml", **{name: UNEXPECTING.replace("may-review-tokens: true", "may-review-tokens: false")})


MATRIX = """
matrix:
  axes:
    vault.target: [1.9.2, 1.11.0]
    auth.kubernetes.reviewer: [~, secret]
  exclude:
    - {where: {target: 1.9.2, reviewer: secret}, because: nobody does that}
"""


def names(done: pytest.RunResult) -> list[str]:
    return [line for line in done.outlines if "::" in line and " " not in line]


# --- what is collected ---


def test_the_plugin_is_installed_with_the_package() -> None:
    """Where this fails the environment is older than the plugin: install the package again."""
    assert [one.name for one in metadata.entry_points(group="pytest11") if one.value == PLUGIN] == ["rehearse"]


def test_a_named_scenario_is_a_test(here: pytest.Pytester) -> None:
    done = run(here, outage(here), "-v")
    assert done.ret == pytest.ExitCode.OK
    done.stdout.fnmatch_lines(["outage.yaml::rehearsal PASSED*"])


def test_nothing_is_collected_where_no_scenario_is_named_or_configured(here: pytest.Pytester) -> None:
    """Not from a directory, and not from a file that is none."""
    outage(here)
    here.makefile(".yaml", compose="services:\n  vault: {image: vault}\n")
    here.makepyfile(test_own="def test_own(): pass")
    run(here).assert_outcomes(passed=1)
    assert run(here, "compose.yaml").ret == pytest.ExitCode.USAGE_ERROR


@pytest.mark.processes
def test_other_tests_notice_nothing_of_the_package(here: pytest.Pytester) -> None:
    """A project may have a `harness` of its own: where no scenario is a test, its tests get that one."""
    (here.path / "harness.py").write_text("OWN = True\n")
    here.makepyfile(test_own="import harness\ndef test_own():\n    assert harness.OWN")
    done = alone(here)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.processes
def test_another_harness_in_the_way_is_named(here: pytest.Pytester) -> None:
    (here.path / "harness.py").write_text("OWN = True\n")
    outage(here)
    done = alone(here, "outage.yaml", PYTHONPATH=str(here.path))
    assert done.returncode not in (0, 1)
    assert f"another `harness` is found before its own, {here.path}/harness.py" in done.stdout + done.stderr


@pytest.mark.processes
def test_the_package_works_without_pytest(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['pytest'] = sys.modules['_pytest'] = None; sys.path.insert(0, sys.argv.pop(1)); "
        "from harness.__main__ import main; main()"
    )
    words = [sys.executable, "-c", code, str(ROOT), "run", str(OUTAGE), "--driver", "paper", "--run-dir", "run"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


def test_configured_scenarios_are_tests_beside_the_others(here: pytest.Pytester) -> None:
    """With `testpaths` too, which do not name them; but not where the command line names something else."""
    (here.path / "scenarios").mkdir()
    for name in ("b", "a"):
        outage(here, name).rename(here.path / "scenarios" / f"{name}.yaml")
    (here.path / "tests").mkdir()
    here.makepyfile(**{"tests/test_own": "def test_own(): pass"})
    here.makeini("[pytest]\ntestpaths = tests\nrehearse_scenarios = scenarios/*.yaml\n")
    found = ["scenarios/a.yaml::rehearsal", "scenarios/b.yaml::rehearsal"]
    assert names(run(here, "--collect-only", "-q")) == ["tests/test_own.py::test_own", *found]
    assert names(run(here, "--collect-only", "-q", "scenarios")) == found
    assert names(run(here, "--collect-only", "-q", "tests")) == ["tests/test_own.py::test_own"]


@pytest.mark.parametrize("pattern", ["scenarios/*.yaml", "/etc/*.yaml", "test_own.py"])
def test_a_pattern_that_no_scenario_fits_is_a_mistake(here: pytest.Pytester, pattern: str) -> None:
    """A suite of rehearsals must not become empty without a word."""
    here.makepyfile(test_own="def test_own(): pass")
    here.makeini(f"[pytest]\nrehearse_scenarios = {pattern}\n")
    done = run(here)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines([f"*rehearse_scenarios: *{pattern.replace('*', '[*]')}*"])


def test_an_invalid_scenario_is_an_error_of_its_line_and_column(here: pytest.Pytester) -> None:
    """As `rehearse validate` says it, without a traceback; the others are not run."""
    here.makefile(".yaml", wrong=UNEXPECTING.replace("target: 1.11.0", "target: 1.11"))
    done = run(here, "wrong.yaml", outage(here))
    assert done.ret == pytest.ExitCode.INTERRUPTED
    done.assert_outcomes(errors=1)
    number = next(n for n, line in enumerate(UNEXPECTING.splitlines(), 1) if "target: 1.11.0" in line)
    done.stdout.fnmatch_lines([f"wrong.yaml:{number}:*: *target*", "*right: *1.11.0*"])
    done.stdout.no_fnmatch_line("*Traceback*")


def test_markers_and_keywords_choose_among_them(here: pytest.Pytester) -> None:
    """By driver, by what it needs, by versions, and by what is expected."""
    outage(here)
    regression(here)
    here.makepyfile(test_own="def test_own(): pass")

    def chosen(*words: str) -> list[str]:
        done = run(here, "--strict-markers", "--collect-only", "-q", "outage.yaml", "worse.yaml", "test_own.py", *words)
        return [name.partition("::")[0] for name in names(done)]

    both = ["outage.yaml", "worse.yaml"]
    assert chosen("-m", "rehearsal") == both
    assert chosen("-m", "driver_paper and not needs_servers") == both
    assert chosen("-m", "needs_servers and not needs_docker", "--rehearse-driver", "local") == both
    assert chosen("-m", "needs_servers and needs_docker and driver_kind", "--rehearse-driver", "kind") == both
    assert chosen("-m", "not rehearsal") == ["test_own.py"]
    assert chosen("-k", "vault-1.11.0 and kube-apiserver-1.32.0", "--rehearse-driver", "local") == both
    assert chosen("-k", "vault-1.11.0", "--rehearse-driver", "paper") == both
    assert chosen("-k", "vault-1.12.0") == []
    assert chosen("-k", "reviewer-fallback-local") == ["outage.yaml"]


def test_every_cell_of_a_matrix_is_a_test(here: pytest.Pytester) -> None:
    """By the name that it has everywhere, on its own driver, and with the expectation that is its own."""
    file = here.makefile(".yaml", outage=OUTAGE.read_text(encoding="utf-8") + MATRIX)
    ids = ["target=1.9.2,reviewer=unset", "target=1.11.0,reviewer=unset", "target=1.11.0,reviewer=secret"]
    done = run(here, file, "-v", "--junit-xml", "junit.xml", "--rehearse-run-dir", "kept")
    done.assert_outcomes(passed=3)
    done.stdout.fnmatch_lines([f"outage.yaml::{one} PASSED*" for one in ids])
    cases = {case.get("name"): case for case in ET.parse(here.path / "junit.xml").iter("testcase")}
    assert list(cases) == ids
    kept = {one.get("name"): one.get("value") for one in cases[ids[0]].iter("property")}
    assert (kept["outcome"], kept["vault.target"]) == ("PASS", "1.9.2")
    assert kept["run_directory"] == str(here.path / "kept" / f"outage-{ids[0]}")
    assert names(run(here, "--co", "-q", file, "-k", "1.11.0 and not secret")) == [f"outage.yaml::{ids[1]}"]
    run(here, f"outage.yaml::{ids[2]}").assert_outcomes(passed=1)


def test_a_driver_can_be_an_axis(here: pytest.Pytester) -> None:
    matrix = "\nmatrix: {axes: {driver: [paper, local]}}\n"
    file = here.makefile(".yaml", outage=OUTAGE.read_text(encoding="utf-8") + matrix)
    assert names(run(here, "--co", "-q", file)) == ["outage.yaml::driver=paper", "outage.yaml::driver=local"]
    assert names(run(here, "--co", "-q", file, "-m", "needs_servers")) == ["outage.yaml::driver=local"]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{vault.target: [1.9.2, 1.3]}", "outage.yaml:*: *vault.target*"),
        ("{vault.target: 7.1..7.3}", "outage.yaml:*: *7.1..7.3*"),
        ("{vault.target: [1.11.0, 1.5.0]}", "outage.yaml[[]target=1.5.0[]]:*: *1.5.0*"),
    ],
)
def test_a_matrix_that_cannot_be_is_an_error_of_collection(here: pytest.Pytester, written: str, said: str) -> None:
    text = OUTAGE.read_text(encoding="utf-8") + f"\nmatrix: {{axes: {written}}}\n"
    done = run(here, here.makefile(".yaml", outage=text))
    assert done.ret == pytest.ExitCode.INTERRUPTED
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines([said])
    done.stdout.no_fnmatch_line("*Traceback*")


def test_showing_the_plan_starts_nothing(here: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_rehearsal, "rehearse_one", lambda *_words, **_more: pytest.fail("it was rehearsed"))
    assert run(here, outage(here), "--setup-plan").ret == pytest.ExitCode.OK


# --- how it comes out ---


def test_a_regression_prints_the_judgement_and_no_traceback(here: pytest.Pytester) -> None:
    done = run(here, regression(here), outage(here))
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    done.assert_outcomes(passed=1, failed=1)
    done.stdout.fnmatch_lines(
        [
            "*= FAILURES =*",
            "_* worse.yaml _*",
            "FAIL  worse   Vault 1.7.0 -> 1.11.0, driver paper",
            f"regression  {REGRESSION}   cause: reviewer-fallback-local (strong)",
            "*mend  Before the upgrade*",
            "repeat  rehearse run worse.yaml --driver paper",
            f"FAILED worse.yaml::rehearsal - {REGRESSION}*",
        ]
    )
    done.stdout.no_fnmatch_line("*Traceback*")
    done.stdout.no_fnmatch_line("*.py:*")


def test_what_is_inconclusive_fails_under_its_own_heading(here: pytest.Pytester) -> None:
    """It says nothing about the upgrade, so it's no failure of it; the session is red all the same."""
    done = run(here, inconclusive(here), "-v")
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    done.stdout.fnmatch_lines(
        [
            "unsure.yaml::rehearsal INCONCLUSIVE*",
            "*= INCONCLUSIVE =*",
            "_* unsure.yaml _*",
            "INCONCLUSIVE  unsure *",
            "INCONCLUSIVE unsure.yaml::rehearsal - nothing was learned of web*",
            "*= 1 inconclusive in *",
        ]
    )
    done.stdout.no_fnmatch_line("*= FAILURES =*")
    done.stdout.no_fnmatch_line("*= ERRORS =*")


@pytest.mark.processes
def test_an_environment_that_cannot_be_built_is_an_error(
    here: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REHEARSE_CACHE", str(here.path / "empty"))
    done = run(here, outage(here), "--rehearse-driver", "local", "--rehearse-offline")
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*= ERRORS =*", "*ERROR at setup of outage.yaml*", "*is not available*"])
    done.stdout.no_fnmatch_line("*Traceback*")


def test_a_fault_of_the_tool_is_shown_with_its_traceback(
    here: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_words: Any, **_more: Any) -> None:
        raise ZeroDivisionError("broken")

    monkeypatch.setattr(one_rehearsal, "rehearse_one", broken)
    done = run(here, outage(here))
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*one_rehearsal.rehearse_one(*", "E *ZeroDivisionError: broken"])


def test_an_interruption_says_where_the_record_is(here: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_words: Any, opened: Any, **_more: Any) -> None:
        opened(Path("/records/this"))
        raise KeyboardInterrupt

    monkeypatch.setattr(one_rehearsal, "rehearse_one", interrupted)
    done = run(here, outage(here))
    assert done.ret == pytest.ExitCode.INTERRUPTED
    done.stdout.fnmatch_lines(["*what was seen until then: /records/this*"])


def test_strict_and_rollback_are_as_on_the_command_line(here: pytest.Pytester) -> None:
    name = "one-cluster-staging-stays-green-while-the-reviewer-changes.yaml"
    text = (SCENARIOS / name).read_text(encoding="utf-8").partition("\nexpect:")[0] + "\n"
    file = here.makefile(".yaml", latent=text)
    run(here, file).assert_outcomes(passed=1)
    done = run(here, file, "--rehearse-strict", "--rehearse-rollback")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["repeat  rehearse run latent.yaml --driver paper --strict --rollback"])


def test_an_environment_that_names_no_driver_is_a_usage_error(
    here: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REHEARSE_DRIVER", "docker")
    done = run(here, outage(here))
    assert done.ret != pytest.ExitCode.OK
    assert "'docker' is not one of" in done.stdout.str() + done.stderr.str()


def test_a_failed_one_is_run_again_alone(here: pytest.Pytester) -> None:
    """`--lf`, for what is inconclusive as well."""
    files = [outage(here), regression(here), inconclusive(here)]
    assert run(here, *files).ret == pytest.ExitCode.TESTS_FAILED
    found = names(run(here, "--lf", "--collect-only", "-q", *files))
    assert found == ["worse.yaml::rehearsal", "unsure.yaml::rehearsal"]


@pytest.mark.processes
def test_warnings_of_libraries_are_no_failures_of_rehearsals(here: pytest.Pytester) -> None:
    run(here, outage(here), "-W", "error").assert_outcomes(passed=1)


# --- what a report keeps ---


def test_junit_has_versions_evidence_and_the_right_word(here: pytest.Pytester) -> None:
    """A regression is a failure, and what says nothing about the upgrade an error."""
    here.makeini("[pytest]\njunit_family = xunit1\n")
    run(
        here,
        regression(here),
        inconclusive(here),
        outage(here),
        "--junit-xml",
        "junit.xml",
        "--rehearse-run-dir",
        "kept",
    )
    worse, unsure, good = ET.parse(here.path / "junit.xml").iter("testcase")

    failure = worse.find("failure")
    assert failure is not None
    assert failure.get("message", "").startswith(REGRESSION)
    assert (failure.text or "").startswith("FAIL  worse")
    assert unsure.find("error") is not None
    assert (good.find("failure"), good.find("error")) == (None, None)

    kept = {(one.get("name"), one.get("value")) for one in worse.iter("property")}
    record = here.path / "kept" / "worse" / RECORD_FILE
    assert record.is_file()
    assert {("vault.source", "1.7.0"), ("vault.target", "1.11.0"), ("outcome", "FAIL")} <= kept
    assert ("run_directory", str(record.parent)) in kept
    evidence = [value or "" for name, value in kept if name == "evidence"]
    assert evidence
    assert all(value.startswith(f"{record}:") for value in evidence)
    line = next(n for n, text in enumerate(UNEXPECTING.splitlines(), 1) if text.startswith("vault:"))
    assert (worse.get("file"), worse.get("line")) == ("worse.yaml", str(line - 1))


def test_every_rehearsal_has_a_record_of_its_own(here: pytest.Pytester) -> None:
    """A second session does not write into what the first one kept."""
    for _ in range(2):
        run(here, outage(here), "--rehearse-run-dir", "kept").assert_outcomes(passed=1)
    assert sorted(path.parent.name for path in (here.path / "kept").rglob(RECORD_FILE)) == ["outage", "outage-2"]


# --- with xdist ---


@pytest.mark.processes
def test_workers_share_the_scenarios_and_say_the_same(here: pytest.Pytester) -> None:
    for number in range(3):
        outage(here, f"outage{number}")
    regression(here)
    inconclusive(here)
    files = sorted(path.name for path in here.path.glob("*.yaml"))
    done = alone(here, "-n", "2", "-v", "--rehearse-run-dir", "kept", *files)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "= 1 failed, 3 passed, 1 inconclusive in" in done.stdout
    assert "= INCONCLUSIVE =" in done.stdout
    assert f"FAILED worse.yaml::rehearsal - {REGRESSION}" in done.stdout
    assert "Traceback" not in done.stdout
    kept = {path.parent.name for path in (here.path / "kept").rglob(RECORD_FILE)}
    assert kept == {Path(file).stem for file in files}


# --- the fixture ---


def test_the_fixture_returns_the_judgement(here: pytest.Pytester) -> None:
    outage(here)
    here.makepyfile(
        test_own="""
        import pytest
        from harness.analysis.verdict import Judgement
        from harness.scenario.matrix import MatrixError

        def test_as_written(rehearsal):
            judgement = rehearsal("outage.yaml")
            assert isinstance(judgement, Judgement)
            assert (judgement.verdict, judgement.exit_code, judgement.driver) == ("fail", 0, "paper")

        def test_other_versions(rehearsal):
            assert rehearsal("outage.yaml", target="1.9.2").verdict == "pass"
            judgement = rehearsal("outage.yaml", target="1.13.0", via=["1.9.2", "1.10.0"])
            assert judgement.verdict == "fail"
            assert judgement.versions.vault[-3:] == ("1.9.2", "1.10.0", "1.13.0")
            assert {finding.rule for finding in judgement.findings} >= {"reviewer-fallback-local"}

        def test_other_fields(rehearsal):
            assert rehearsal("outage.yaml", {"auth.kubernetes.reviewer": "secret"}).verdict == "pass"
            with pytest.raises(MatrixError, match="reviewers"):
                rehearsal("outage.yaml", {"auth.kubernetes.reviewers": "secret"})
            with pytest.raises(MatrixError, match="one version"):
                rehearsal("outage.yaml", target="1.9..1.11")
        """
    )
    run(here).assert_outcomes(passed=3)


def test_a_file_is_found_beside_the_test_and_in_the_root(here: pytest.Pytester) -> None:
    outage(here, "in-root")
    (here.path / "below").mkdir()
    outage(here, "beside").rename(here.path / "below" / "beside.yaml")
    here.makepyfile(
        **{
            "below/test_own": """
            import pytest
            from harness.errors import ScenarioError

            @pytest.fixture(scope="module")
            def judgement(rehearsal):
                return rehearsal("in-root.yaml")

            def test_own(judgement, rehearsal):
                assert judgement.as_expected
                assert rehearsal("beside.yaml").as_expected

            def test_missing(rehearsal):
                with pytest.raises(ScenarioError, match="nowhere.yaml"):
                    rehearsal("nowhere.yaml")

            def test_invalid(rehearsal):
                with pytest.raises(ScenarioError, match="in-root.yaml.*1.5.0"):
                    rehearsal("in-root.yaml", target="1.5.0")
            """
        }
    )
    run(here).assert_outcomes(passed=3)


def test_a_failed_test_shows_the_judgement_that_it_got(here: pytest.Pytester) -> None:
    outage(here)
    here.makepyfile(test_own='def test_own(rehearsal):\n    assert rehearsal("outage.yaml").verdict == "pass"')
    done = run(here, "--junit-xml", "junit.xml")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["*Captured rehearsal call*", "XFAIL (expected)  outage *"])
    assert 'name="vault.target" value="1.11.0"' in (here.path / "junit.xml").read_text()


def test_the_example_on_the_page_is_as_it_says(here: pytest.Pytester) -> None:
    """Of its two upgrades the first is refused for everybody, and the second is fine."""
    page = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
    (here.path / "scenarios").mkdir()
    outage(here).rename(here.path / "scenarios" / "outage.yaml")
    example, _ = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    here.makepyfile(test_own=example)
    run(here).assert_outcomes(passed=1, failed=1)
