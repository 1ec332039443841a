"""The command line: results on stdout, progress on stderr, and an exit code for every outcome."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click.testing
import pytest
from click.testing import CliRunner, Result

from harness import __main__, __version__
from harness.artifacts import store as artifacts
from harness.cli import commands
from harness.drivers.paper.driver import PaperDriver, PaperRig
from harness.errors import LeftBehind, MissingPrerequisite, NotReady
from harness.record import events, journal
from harness.record.journal import RECORD_FILE, Journal
from harness.rig.rig import Rig
from harness.scenario import loading
from harness.scenario.plan import Plan
from tests.runs import OUTAGE, SCENARIOS, on_paper
from tests.test_rules import changed

LONG_LIVED = SCENARIOS / "a-long-lived-reviewer-survives-the-upgrade.yaml"
STAGING = SCENARIOS / "one-cluster-staging-stays-green-while-the-reviewer-changes.yaml"
INVALID = Path(__file__).parent / "data" / "invalid-target-older.yaml"
ESCAPE = "\x1b["


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    """Give SIGTERM back to the test run: `rehearse run` takes it over."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def rehearse(*words: str | Path, **invocation: Any) -> Result:
    """Return what `rehearse` with *words* gives."""
    return CliRunner().invoke(commands.main, [str(word) for word in words], **invocation)


def run(scenario: Path, directory: Path, *more: str, **invocation: Any) -> Result:
    """Return what a run on paper with its record in *directory* gives."""
    return rehearse("run", scenario, "--driver", "paper", "--run-dir", directory, *more, **invocation)


def expecting(scenario: Path, directory: Path, expect: str = "") -> Path:
    """Return a copy of *scenario* in *directory* that ends with *expect* instead of what it expects."""
    text, key, _ = scenario.read_text().partition("expect:")
    assert key
    file = directory / scenario.name
    file.write_text(text + expect)
    return file


def raising(error: BaseException) -> Callable[..., None]:
    """Return a function that raises *error*, whatever it is called with."""

    def raise_it(*_args: object, **_options: object) -> None:
        raise error

    return raise_it


def breaking(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Have the paper driver raise *error* while it comes up."""

    @contextmanager
    def up(_self: PaperDriver, _plan: Plan, _run_id: str, _journal: Journal) -> Iterator[Rig]:
        raise error
        yield

    monkeypatch.setattr(PaperDriver, "up", up)


# --- exit codes ---


def test_what_is_expected_is_exit_0(tmp_path: Path) -> None:
    """A regression that the scenario expects is what was to be shown."""
    result = run(OUTAGE, tmp_path / "run")
    assert result.exit_code == 0
    assert result.stdout.startswith("XFAIL (expected)  the-outage-apps-in-another-cluster")


@pytest.mark.parametrize(
    "expect",
    ["", "expect: []", "expect: [{change: login refused, cause: reviewer-frozen}]"],
    ids=["unsaid", "none", "other"],
)
def test_a_regression_that_nobody_expects_is_exit_1(expect: str, tmp_path: Path) -> None:
    """Without an `expect`, with an empty one, or with one that names another cause, a refused login fails."""
    assert run(expecting(OUTAGE, tmp_path, expect), tmp_path / "run").exit_code == 1


README_EXAMPLE = """\
schema: 1
description: What does the upgrade to 1.11.0 do to them?
clusters:
  platform: {kubernetes: 1.32.0}
  apps: {kubernetes: 1.32.0}
vault: {cluster: platform, service-account: vault/vault, source: 1.7.0, via: [1.9.2], target: 1.11.0}
auth:
  kubernetes:
    cluster: apps
    configured: {by: 1.4.0, with-token-file: true}
    roles:
      web: {service-accounts: [web], namespaces: [apps], policies: [web]}
apps:
  web: {cluster: apps, service-account: apps/web, role: web, may-review-tokens: true, reads: [secret/web]}
"""
NO_PROVENANCE = ("    configured: {by: 1.4.0, with-token-file: true}\n", "")
NO_RIGHT = (", may-review-tokens: true", "")
OPTED_OUT = "    reviewer: client-jwt\n    config: {disable_local_ca_jwt: true, issuer: cluster}\n"
BY_CLIENT = "auth.kubernetes.reviewer (client-jwt)"
WRITTEN_BY = "auth.kubernetes.configured.by (1.4.0)"
ASSUMED_BY = "auth.kubernetes.configured.by (1.7.0, assumed)"
ASSUMED_FILE = "auth.kubernetes.configured.with-token-file (true, assumed)"
ASSUMED_RIGHT = "apps.web.may-review-tokens (false, assumed)"
MORE_APPS = "".join(
    f"  app-{n}: {{cluster: apps, service-account: apps/app-{n}, role: web, may-review-tokens: {may}}}\n"
    for n, may in enumerate(["true", "true", "true", "false"])
)


@pytest.mark.parametrize(
    ("changes", "who", "keys"),
    [
        pytest.param(
            [NO_PROVENANCE, NO_RIGHT], "web", [ASSUMED_BY, ASSUMED_FILE, ASSUMED_RIGHT], id="both keys left out"
        ),
        pytest.param([NO_PROVENANCE], "web", [ASSUMED_BY, ASSUMED_FILE], id="configured left out"),
        pytest.param([NO_RIGHT], "web", [WRITTEN_BY, ASSUMED_RIGHT], id="a right left out"),
        pytest.param(
            [NO_RIGHT, ("by: 1.4.0", "by: 1.7.0"), ("    roles:\n", f"{OPTED_OUT}    roles:\n")],
            "web",
            [BY_CLIENT, "auth.kubernetes.config.disable_local_ca_jwt (true)", ASSUMED_RIGHT],
            id="nothing of a pod is read, whoever wrote it",
        ),
        pytest.param(
            [("    roles:\n", "    reviewer: long-lived\n    reviewer-may-review-tokens: false\n    roles:\n")],
            "web",
            ["auth.kubernetes.reviewer-may-review-tokens (false)"],
            id="a reviewer without the right",
        ),
        pytest.param(
            [("namespaces: [apps]", "namespaces: [aps]")],
            "web",
            ["auth.kubernetes.roles.web.namespaces (aps)", "apps.web.service-account (apps/web)"],
            id="a typo in a namespace",
        ),
        pytest.param(
            [NO_RIGHT, ("apps:\n  web", f"apps:\n{MORE_APPS}  web"), ("-accounts: [web]", '-accounts: ["*"]')],
            "app-3, web",
            [WRITTEN_BY, "apps.app-3.may-review-tokens (false)", ASSUMED_RIGHT],
            id="two of five apps",
        ),
    ],
)  # fmt: skip
def test_an_app_that_never_gets_in_is_exit_4_where_nobody_said_so(
    changes: list[tuple[str, str]], who: str, keys: list[str], tmp_path: Path
) -> None:
    """Refused before the upgrade and after it: no green, but the question whether production is so, with its keys."""
    text = README_EXAMPLE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    # the outage is another matter: stop before it
    text = text.replace(", via: [1.9.2], target: 1.11.0", ", target: 1.9.2")
    (tmp_path / "it.yaml").write_text(text)
    judged = json.loads(run(tmp_path / "it.yaml", tmp_path / "run", "-o", "json").stdout)
    assert (judged["verdict"], judged["outcome"], judged["exit_code"]) == ("inconclusive", "inconclusive", 4)
    assert judged["reasons"][0].startswith(f"Is the login of {who} refused in production, too?")
    assert {app for doubt in judged["doubts"] for app in doubt["apps"]} == set(who.split(", "))
    for words in ([], ["-q"]):
        result = rehearse("judge", tmp_path / "run", *words)
        assert result.exit_code == 4
        screen = " ".join(" ".join(result.stdout.splitlines()[:24]).split())
        for key in keys:
            assert key in screen
    names = who.split(", ")
    said = "expect:\n" + "".join(f"  - {{change: refused from the start, app: {name}}}\n" for name in names)
    (tmp_path / "said.yaml").write_text(text + said)
    assert run(tmp_path / "said.yaml", tmp_path / "said").exit_code == 0


def test_an_app_that_never_gets_in_hides_no_regression_of_another(tmp_path: Path) -> None:
    """Worst wins; what is not known of the one app is said beside what is known of the other."""
    blind = "  blind: {cluster: apps, service-account: apps/blind, role: other}\n"
    role = "      other: {service-accounts: [nobody], namespaces: [apps]}\n"
    (tmp_path / "it.yaml").write_text(README_EXAMPLE.replace("apps:\n  web", f"apps:\n{blind}  web").replace(
        "    roles:\n", f"    roles:\n{role}"
    ))  # fmt: skip
    judged = json.loads(run(tmp_path / "it.yaml", tmp_path / "run", "-o", "json").stdout)
    assert (judged["verdict"], judged["exit_code"]) == ("fail", 1)
    assert judged["reasons"][0].startswith("regression: login refused of web")
    assert "Is the login of blind refused in production, too?" in judged["reasons"][-1]


def test_strict_is_exit_1_where_the_reviewer_changes(tmp_path: Path) -> None:
    """--strict fails the run, by option or environment; that it was strict is in the record and in the repeat line."""
    scenario = expecting(STAGING, tmp_path)
    assert run(scenario, tmp_path / "mild").exit_code == 0
    strict = run(scenario, tmp_path / "strict", "--strict")
    assert strict.exit_code == 1
    (repeat,) = [line for line in strict.stdout.splitlines() if line.startswith("repeat")]
    assert "--strict" in repeat
    assert rehearse("judge", tmp_path / "strict").exit_code == 1
    assert rehearse("judge", tmp_path / "mild").exit_code == 0
    assert rehearse("judge", tmp_path / "mild", env={"REHEARSE_STRICT": "1"}).exit_code == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(["run", "no-such-file.yaml", "--driver", "paper"], "cannot be read", id="no such scenario"),
        pytest.param(["run", INVALID, "--driver", "paper"], "invalid-target-older.yaml:", id="an invalid scenario"),
        pytest.param(["plan", INVALID], "invalid-target-older.yaml:", id="a plan of an invalid scenario"),
        pytest.param(["judge", "no-such-directory"], "cannot be read", id="no such record"),
        pytest.param(["run", OUTAGE, "--driver", "kind-of"], "Invalid value", id="no such driver"),
        pytest.param(["run", OUTAGE, "--no-such-option"], "No such option", id="no such option"),
        pytest.param(["run"], "Missing argument", id="no scenario"),
        pytest.param(["run", OUTAGE, "--driver", "paper", "--keep"], "no servers to leave up", id="nothing to keep"),
        pytest.param(["clean", "no-such-run"], "no run no-such-run is known here", id="no such run"),
        pytest.param(["sing"], "No such command", id="no such command"),
    ],
)
def test_usage_is_exit_2(words: list[Any], said: str) -> None:
    """What the author or the operator wrote wrongly is said on stderr, and nothing is printed as a result."""
    result = rehearse(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr


def test_a_directory_that_holds_a_record_is_exit_2(tmp_path: Path) -> None:
    """A record is never written over, nor added to."""
    run(OUTAGE, tmp_path / "run")
    before = (tmp_path / "run" / RECORD_FILE).read_bytes()
    result = run(LONG_LIVED, tmp_path / "run")
    assert result.exit_code == 2
    assert "already holds a record" in result.stderr
    assert (tmp_path / "run" / RECORD_FILE).read_bytes() == before


def test_a_missing_prerequisite_is_exit_3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What this machine lacks is said on stderr, and there is no result to print."""
    breaking(monkeypatch, MissingPrerequisite("no go compiler: install one"))
    result = run(OUTAGE, tmp_path / "run")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "no go compiler: install one" in result.stderr


def test_a_machine_that_would_not_do_it_is_exit_3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is trouble with the machine, and nothing is said about Vault."""
    breaking(monkeypatch, OSError(28, "No space left on device"))
    result = run(OUTAGE, tmp_path / "run")
    assert result.exit_code == 3
    assert result.stdout.startswith("INCONCLUSIVE")
    assert "No space left on device" in result.stderr + result.stdout


def test_servers_that_do_not_come_up_are_exit_3_with_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The report says what broke; that nothing is known of Vault is no verdict on Vault."""
    breaking(monkeypatch, NotReady("the API server of apps did not answer", ["etcdserver: no space"]))
    result = run(OUTAGE, tmp_path / "run")
    assert result.exit_code == 3
    assert result.stdout.startswith("INCONCLUSIVE")
    assert "the API server of apps did not answer" in result.stdout


def test_silence_is_exit_4(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that never came is neither a pass nor a regression."""
    up = PaperDriver.up
    script: Any = {("lookup", "", "1.11.0"): "silent"}
    monkeypatch.setattr(PaperDriver, "up", lambda _self, *rest: up(PaperDriver(script=script), *rest))
    result = run(LONG_LIVED, tmp_path / "run")
    assert result.exit_code == 4
    assert "could not be known" in result.stdout


def test_what_is_left_behind_is_exit_5(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A way down that did not end everything is said by the exit code, and the report is there all the same."""

    @contextmanager
    def up(_self: PaperDriver, made: Plan, _run_id: str, journal: Journal) -> Iterator[Rig]:
        yield PaperRig(made, journal, {}, "")
        raise LeftBehind("process 4711 is still there")

    monkeypatch.setattr(PaperDriver, "up", up)
    result = run(LONG_LIVED, tmp_path / "run", "-o", "json")
    assert result.exit_code == 5
    assert json.loads(result.stdout)["left_behind"] == "process 4711 is still there"


def test_an_interrupted_run_is_exit_130_and_its_record_is_inconclusive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C leaves what was seen until then, and that says by itself that it does not end."""

    def interrupted(_self: PaperRig, _moment: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(PaperRig, "gather", interrupted)
    result = run(OUTAGE, tmp_path / "run")
    assert (result.exit_code, result.stdout) == (130, "")
    assert str(tmp_path / "run") in result.stderr
    judged = rehearse("judge", tmp_path / "run")
    assert judged.exit_code == 4
    assert "cut off" in judged.stdout


def test_sigterm_is_an_interruption(tmp_path: Path) -> None:
    """SIGTERM takes the same way out as Ctrl-C, so that everything is ended."""
    run(LONG_LIVED, tmp_path / "run")
    handler = signal.getsignal(signal.SIGTERM)
    assert callable(handler)
    with pytest.raises(KeyboardInterrupt):
        handler(signal.SIGTERM, None)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KeyboardInterrupt(), 130),
        (MissingPrerequisite("no disk at all: mount one"), 3),
        (LeftBehind("a directory stays: remove it"), 5),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_every_command_ends_with_a_documented_code(
    error: BaseException, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever stops a command that starts no server, it is never a 1, which would mean a regression."""
    monkeypatch.setattr(artifacts, "remove", raising(error))
    result = rehearse("artifacts", "prune", env={"REHEARSE_CACHE": str(tmp_path)})
    assert result.exit_code == code
    assert (str(error) or "interrupted") in result.stderr


def test_a_fault_of_the_tool_is_exit_3(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Its traceback is shown, and it is not mistaken for a regression."""
    monkeypatch.setattr(commands, "main", raising(RuntimeError("nobody thought of this")))
    with pytest.raises(SystemExit) as ended:
        __main__.main()
    assert ended.value.code == 3
    stderr = capsys.readouterr().err
    assert "nobody thought of this" in stderr
    assert "says nothing about Vault" in stderr


@pytest.mark.processes
@pytest.mark.parametrize(("output", "code"), [("full", 3), ("closed", 0)])
def test_a_result_that_nobody_can_read_is_not_a_regression(output: str, code: int, tmp_path: Path) -> None:
    """A full disk behind stdout is exit 3 and says how to read the result; a reader that is gone changes nothing."""
    run(OUTAGE, tmp_path / "run")
    command = [sys.executable, "-m", "harness", "judge", str(tmp_path / "run")]
    reader, writer = os.pipe()
    os.close(reader)
    with Path("/dev/full").open("wb") as full, os.fdopen(writer, "wb") as closed:
        ended = subprocess.run(
            command, stdout=full if output == "full" else closed, stderr=subprocess.PIPE, text=True, check=False
        )
    assert ended.returncode == code
    assert "Traceback" not in ended.stderr
    assert (f"`rehearse judge {tmp_path / 'run'}` says it again" in ended.stderr) == (output == "full")


@pytest.mark.parametrize("option", ["--markdown", "--junit", "--html"])
def test_a_report_that_cannot_be_written_costs_no_result(option: str, tmp_path: Path) -> None:
    """It is exit 3 after the result was printed; the message says which file it was, and how to write it elsewhere."""
    result = run(OUTAGE, tmp_path / "run", option, "/dev/full")
    assert result.exit_code == 3
    assert "the report could not be written to /dev/full: No space left on device" in result.stderr
    assert result.stdout.startswith("XFAIL (expected)  the-outage")
    assert f"`rehearse judge {tmp_path / 'run'}` with the same options" in result.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--driver", "kind", "--reuse", "--keep"), "--reuse: its clusters belong to the run that was kept"),
        (("--driver", "kind", "--registry", "https://me:hunter2@registry.example.com"), "`docker login` is for those"),
        (("--driver", "local", "--keep", "nan"), "--keep: that is no number of hours"),
    ],
)
def test_options_that_cannot_be_meant_are_refused_before_anything_runs(
    words: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    result = rehearse("run", str(OUTAGE), "--run-dir", str(tmp_path / "run"), *words)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "hunter2" not in result.output
    assert not (tmp_path / "run").exists()


def test_the_name_of_a_run_can_be_a_part_of_any_other_name(tmp_path: Path) -> None:
    """Whatever its directory is called: a colon would end a path in PATH, and a volume of an engine's."""
    directory = tmp_path / "2026-11-21T10:00:00+01:00 {a,b}"
    run(OUTAGE, directory)
    assert re.fullmatch(r"[A-Za-z0-9_.-]+", journal.load(directory).started.run_id)


@pytest.mark.parametrize("option", ["--markdown", "--junit", "--html"])
def test_a_report_for_a_folder_that_is_not_there_is_refused_before_anything_runs(option: str, tmp_path: Path) -> None:
    """A run takes minutes; a typo is told at once, and no record is begun."""
    result = run(OUTAGE, tmp_path / "run", option, str(tmp_path / "nowhere" / "report"))
    assert result.exit_code == 2
    assert f"{option}: there is no folder {tmp_path / 'nowhere'}; make it first" in result.stderr
    assert not (tmp_path / "run").exists()


def test_every_exit_code_is_in_the_help() -> None:
    """`rehearse --help` and `rehearse run --help` list what the exit codes mean."""
    for words in (["--help"], ["run", "--help"], ["judge", "--help"]):
        help_text = rehearse(*words).stdout
        for code in ("0", "1", "2", "3", "4", "5", "130"):
            assert any(line.split()[:1] == [code] for line in help_text.splitlines()), code


# --- what goes where ---


def test_stdout_alone_is_the_json(tmp_path: Path) -> None:
    """A program reads stdout and gets one document; a person reads the progress on stderr."""
    result = run(OUTAGE, tmp_path / "run", "-o", "json")
    assert json.loads(result.stdout)["verdict"] == "fail"
    assert "rehearsing the-outage" in result.stderr
    assert "asking after 1.11.0, Vault 1.11.0" in result.stderr
    assert "login web: 403 permission denied" in result.stderr
    assert "rehearsing" not in result.stdout


def test_quiet_is_the_summary_alone(tmp_path: Path) -> None:
    """-q: nothing on stderr, no details on stdout, the same exit code."""
    loud, quiet = run(OUTAGE, tmp_path / "loud", "-v"), run(OUTAGE, tmp_path / "quiet", "-q")
    assert quiet.stderr == ""
    assert len(quiet.stdout.splitlines()) <= 40 < len(loud.stdout.splitlines())
    assert quiet.exit_code == loud.exit_code
    judged = [rehearse("judge", tmp_path / "loud", *words) for words in ((), ("-v",))]
    assert len(judged[0].stdout.splitlines()) <= 40 < len(judged[1].stdout.splitlines())


def test_a_green_job_does_not_say_fail(tmp_path: Path) -> None:
    """A failure that is expected is said as pytest says xfail, in every form; so is a latent one in a strict run."""
    forms = ("--markdown", str(tmp_path / "page"), "--junit", str(tmp_path / "suite"), "--github")
    for scenario, words in ((OUTAGE, ()), (STAGING, ("--strict",))):
        result = run(scenario, tmp_path / scenario.stem, *words, *forms)
        assert result.exit_code == 0
        assert result.stdout.startswith("XFAIL (expected)  ")
        assert result.stdout.splitlines()[-1].startswith("XFAIL (expected)  ")
        assert (tmp_path / "page").read_text().startswith("## \u2705 XFAIL (expected): ")
        suite = (tmp_path / "suite").read_text()
        assert '<property name="outcome" value="XFAIL (expected)" />' in suite
        assert ", as expected  " in suite
        for text in (result.output, (tmp_path / "page").read_text(), suite):
            assert not re.search(r"\bFAIL\b", text)


def test_verbose_shows_every_answer(tmp_path: Path) -> None:
    """-v: every answer is a line of the progress, not only the logins."""
    assert "token-lookup web: 200" in run(OUTAGE, tmp_path / "verbose", "-v").stderr
    assert "token-lookup" not in run(OUTAGE, tmp_path / "usual").stderr


def test_progress_cannot_steer_the_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What servers say reaches the terminal as text, while the run goes on as well as at its end."""
    breaking(monkeypatch, NotReady("etcd said \x1b[2Jgone"))
    result = run(OUTAGE, tmp_path / "run", color=True)
    assert "etcd said \\x1b[2Jgone" in result.stderr
    assert ESCAPE not in result.stderr + result.stdout


@pytest.mark.parametrize(
    ("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True)]
)
def test_no_color_is_obeyed(
    environment: dict[str, str], coloured: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal there is colour, unless NO_COLOR is set and not empty, as no-color.org has it."""
    monkeypatch.setattr(click.testing._NamedTextIOWrapper, "isatty", lambda _self: True)
    result = run(LONG_LIVED, tmp_path / "run", "-q", env=environment, color=True)
    assert (ESCAPE in result.stdout) == coloured


def test_without_a_terminal_there_is_no_colour(tmp_path: Path) -> None:
    """Into a file or a pipe goes text without escape codes."""
    assert ESCAPE not in run(OUTAGE, tmp_path / "run", color=True).stdout


@pytest.mark.parametrize("words", [["--width", "60"], []])
def test_the_width_is_the_option_or_the_environments(words: list[str], tmp_path: Path) -> None:
    """--width decides; left out, COLUMNS does."""
    result = run(OUTAGE, tmp_path / "run", *words, env={"COLUMNS": "70"})
    lines = [line for line in result.stdout.splitlines() if not line.startswith(("record", "repeat", "      "))]
    assert max(map(len, lines)) in (range(50, 61) if words else range(61, 71))


@pytest.mark.parametrize("columns", ["0", "20", "9999", "wide", ""])
def test_a_strange_terminal_stops_no_run(columns: str, tmp_path: Path) -> None:
    """COLUMNS is the terminal's word, and not an option that somebody chose wrongly."""
    assert run(OUTAGE, tmp_path / "run", env={"COLUMNS": columns}).exit_code == 0


# --- the run's directory ---


def test_a_run_is_kept_where_latest_points(tmp_path: Path) -> None:
    """Without --run-dir every run gets a directory of its own, readable by its owner alone, and `latest` follows."""
    environment = {"REHEARSE_STATE": str(tmp_path / "state")}
    first = rehearse("run", OUTAGE, "--driver", "paper", "-o", "json", env=environment)
    second = rehearse("run", OUTAGE, "--driver", "paper", "-o", "json", env=environment)
    directories = [Path(json.loads(result.stdout)["run_directory"]) for result in (first, second)]
    assert directories[0] != directories[1]
    latest = directories[1].with_name("latest")
    assert latest.resolve() == directories[1].resolve()
    assert latest.is_relative_to(tmp_path / "state")
    assert directories[1].stat().st_mode & 0o077 == 0
    assert (directories[1] / RECORD_FILE).stat().st_mode & 0o077 == 0


def test_a_record_is_judged_again_as_it_was(tmp_path: Path) -> None:
    """`judge` prints the very judgement that `run` printed, with the same exit code and without a server."""
    for scenario in (OUTAGE, LONG_LIVED, STAGING):
        directory = tmp_path / scenario.stem
        first, again = run(scenario, directory, "-o", "json"), rehearse("judge", directory, "-o", "json")
        assert json.loads(again.stdout) == json.loads(first.stdout)
        assert again.exit_code == first.exit_code
        assert rehearse("judge", directory / RECORD_FILE).exit_code == first.exit_code


def test_judging_changes_nothing(tmp_path: Path) -> None:
    """The record and its directory are the same after it was judged."""
    run(OUTAGE, tmp_path / "run")
    before = {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir()}
    rehearse("judge", tmp_path / "run")
    assert {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir()} == before


def test_a_record_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    """An old release does not guess what a newer one wrote."""
    record, _ = on_paper(changed(), tmp_path)
    file = tmp_path / RECORD_FILE
    number = f'"record_version":{events.RECORD_VERSION}'
    file.write_text(file.read_text().replace(number, '"record_version":999', 1))
    result = rehearse("judge", tmp_path)
    assert result.exit_code == 2
    assert "record format 999" in result.stderr
    assert record.ended


def test_a_torn_line_costs_only_what_comes_after_it(tmp_path: Path) -> None:
    """A record that was damaged in its middle is judged up to there, and the hole is named: it is never a pass."""
    on_paper(changed(), tmp_path)
    file = tmp_path / RECORD_FILE
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:4], lines[4][:20], *lines[5:]]) + "\n")
    result = rehearse("judge", tmp_path)
    assert result.exit_code == 4
    assert "line 5 of the record is torn" in " ".join(result.stdout.split())


def test_a_line_that_no_run_writes_is_named_by_its_number(tmp_path: Path) -> None:
    """A whole line with something else in it is no damage: the record is refused."""
    on_paper(changed(), tmp_path)
    file = tmp_path / RECORD_FILE
    lines = file.read_text().splitlines()
    lines[4] = re.sub(r'"event":"[a-z-]+"', '"event":"never-heard-of"', lines[4])
    file.write_text("\n".join(lines) + "\n")
    result = rehearse("judge", tmp_path)
    assert result.exit_code == 2
    assert f"{RECORD_FILE}:5:" in result.stderr


# --- validate, plan, version ---


def test_a_release_that_nobody_knows_yet_is_fine_and_has_a_word(tmp_path: Path) -> None:
    """By validate, by plan, and before a run begins: it may be newer than the table, or mistyped."""
    said = "Vault 3.0.0 is none of the releases that are known, as of "
    file = tmp_path / "newer.yaml"
    file.write_text(OUTAGE.read_text().replace("1.11.0", "3.0.0"))
    told = {
        "validate": rehearse("validate", file),
        "plan": rehearse("plan", file),
        "run": rehearse("run", file, "--driver", "paper", "--run-dir", tmp_path / "run"),
    }
    assert (told["validate"].exit_code, told["plan"].exit_code) == (0, 0)
    assert [(name, (one.stdout + one.stderr).count(said)) for name, one in told.items()] == [
        ("validate", 1),
        ("plan", 1),
        ("run", 1),
    ]
    file.write_text(OUTAGE.read_text().replace("1.11.0", "1.99.0"))
    refused = rehearse("validate", file)
    assert refused.exit_code == 2
    assert "Vault 1.99.0 was never released" in refused.stdout + refused.stderr


def test_an_enterprise_release_is_fine_and_has_a_word_on_licences(tmp_path: Path) -> None:
    """Before anything is fetched: whoever has no licence finds out here, and not after the first hop."""
    scenario = tmp_path / "enterprise.yaml"
    scenario.write_text(OUTAGE.read_text().replace("1.11.0", "1.11.0+ent"))
    result = rehearse("validate", scenario)
    assert result.exit_code == 0
    assert result.stdout.count("licence") == 1
    assert "Vault 1.11.0+ent is Vault Enterprise" in result.stdout
    assert "licence" not in rehearse("validate", OUTAGE).stdout


def test_validate_reports_every_file() -> None:
    """One wrong file hides neither the other wrong ones nor the good ones; good ones alone are exit 0."""
    other = INVALID.parent / "invalid-empty.yaml"
    result = rehearse("validate", OUTAGE, INVALID, LONG_LIVED, other)
    assert result.exit_code == 2
    assert result.stdout.splitlines() == [f"{OUTAGE}: fine", f"{LONG_LIVED}: fine"]
    assert str(INVALID) in result.stderr
    assert str(other) in result.stderr
    assert "2 of 4 scenarios" in result.stderr
    assert rehearse("validate", *sorted(SCENARIOS.glob("*.yaml"))).exit_code == 0


@pytest.mark.parametrize("name", ["::error::gone.yaml", "a\x1b[2Jb.yaml", "##[error]gone.yaml", "a\n::error::b.yaml"])
def test_the_name_of_a_file_steers_nobody(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever names a file in a pull request says nothing to the terminal, nor to the job that validates it."""
    monkeypatch.chdir(tmp_path)
    Path(name).write_text(LONG_LIVED.read_text())
    Path(f"{name}2").write_text("schema: 1")
    for words in (["validate", name, f"{name}2", f"{name}3"], ["run", f"{name}2"], ["plan", f"{name}3"]):
        output = rehearse(*words).output
        assert ESCAPE not in output
        assert not re.search(r"(?m)^\s*::", output)
        assert "##[" not in output


def test_a_plan_is_the_same_every_time() -> None:
    """The same scenario gives the same plan, as text and as JSON, and JSON has its stages, questions and binaries."""
    for words in ([], ["-o", "json"]):
        first, second = rehearse("plan", OUTAGE, *words), rehearse("plan", OUTAGE, *words)
        assert (first.exit_code, first.stderr) == (0, "")
        assert first.stdout == second.stdout
    made = json.loads(rehearse("plan", OUTAGE, "-o", "json").stdout)
    assert [step["version"] for step in made["steps"] if "version" in step] == ["1.4.0", "1.7.0", "1.11.0"]
    assert ["vault", "1.11.0"] in made["artifacts"]
    assert {question["probe"] for question in made["questions"]} >= {"login", "read", "old-token-read"}


def test_what_cannot_be_pruned_is_named(tmp_path: Path) -> None:
    """A typo is told, and that nothing is there any more is no failure: scripts prune twice."""
    result = rehearse("artifacts", "prune", "valt", env={"REHEARSE_CACHE": str(tmp_path)})
    assert result.exit_code == 0
    assert "nothing called valt is here" in result.stderr


def test_version_names_every_format() -> None:
    """The release, and the formats it reads and writes, as text and as JSON."""
    assert f"rehearse {__version__}" in rehearse("version").stdout
    facts = json.loads(rehearse("version", "-o", "json").stdout)
    assert facts == {"rehearse": __version__, "scenario schema": 1, "record format": 2, "judgement": 1}


def test_the_driver_can_come_from_the_environment(tmp_path: Path) -> None:
    """REHEARSE_DRIVER stands in for --driver; the option wins."""
    result = rehearse("run", OUTAGE, "--run-dir", tmp_path / "run", "-o", "json", env={"REHEARSE_DRIVER": "paper"})
    assert json.loads(result.stdout)["driver"] == "paper"
    assert run(OUTAGE, tmp_path / "option", env={"REHEARSE_DRIVER": "local"}).exit_code == 0


def test_the_command_that_repeats_a_run_repeats_it(tmp_path: Path) -> None:
    """The repeat line names the scenario and the driver, quoted where a shell needs it."""
    folder = tmp_path / "with blanks"
    folder.mkdir()
    scenario = expecting(OUTAGE, folder)
    document = json.loads(run(scenario, tmp_path / "run", "-o", "json").stdout)
    assert document["repeat"] == f"rehearse run '{scenario}' --driver paper"
    assert loading.load(scenario).scenario.vault.target == document["versions"]["target"]


@pytest.mark.processes
def test_the_help_is_there_at_once() -> None:
    """The command line itself imports none of the large libraries: whoever only asks what there is does not wait."""
    words = "import sys, harness.cli.commands; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    large = {"docker", "hvac", "kubernetes", "psutil", "pydantic", "pysequoia", "requests", "rich", "yaml"}
    assert large & set(done.stdout.split()) == set()


@pytest.mark.processes
def test_who_rehearses_on_paper_waits_for_no_client_of_a_server(tmp_path: Path) -> None:
    """Nor do real servers: theirs are imported while those start."""
    words = (
        "import sys; from harness.cli import commands\n"
        f"words = ['run', {str(OUTAGE)!r}, '--driver', 'paper', '-q', '--run-dir', {str(tmp_path / 'run')!r}]\n"
        "try: commands.main(words)\n"
        "finally: print('modules', *sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert "pydantic" in done.stdout
    assert {"docker", "hvac", "kubernetes", "pysequoia"} & set(done.stdout.split()) == set()
