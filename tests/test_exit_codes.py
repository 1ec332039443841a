"""However the program ends, 1 is a regression or an unmet expectation, and nothing else is."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import harness
from harness import __main__
from harness.cli import output
from harness.errors import naming
from harness.host import pki
from tests.runs import OUTAGE, SCENARIOS

pytestmark = pytest.mark.processes

ROOT = SCENARIOS.parent
COMMAND = [sys.executable, str(ROOT / "vault_upgrade_rehearsal.py")]


def ended(command: Sequence[str | Path], **options: Any) -> subprocess.CompletedProcess[str]:
    """Return how a program of its own ended."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.run(command, check=False, **{"text": True, "timeout": 60, **streams, **options})


def rehearse(*words: str | Path, path: Path | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
    """Return how the command ended, with *path* on PYTHONPATH."""
    return ended([*COMMAND, *words], env={**os.environ, "PYTHONPATH": str(path or "")}, **options)


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("click", "raise RuntimeError('broken')"),
        ("click", "import sys; sys.exit(1)"),
        ("yaml", "raise RuntimeError('broken')"),
        ("yaml", "def"),
        ("yaml", "mine = True"),
        ("pydantic", "import no_such_module"),
        ("rich", "raise KeyError"),
    ],
)
def test_a_broken_dependency_is_exit_3_in_one_sentence(module: str, text: str, tmp_path: Path) -> None:
    """Whatever a module on PYTHONPATH does instead of being the library: it says nothing about Vault."""
    broken = tmp_path / "path"
    broken.mkdir()
    (broken / f"{module}.py").write_text(text)
    done = rehearse("run", OUTAGE, "--driver", "paper", "--run-dir", tmp_path / "run", "-q", path=broken)
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert f"{module}.py" in done.stderr
    assert done.stderr.startswith("rehearse cannot start: ")


def test_the_traceback_of_a_fault_is_there_for_those_who_ask(tmp_path: Path) -> None:
    (tmp_path / "yaml.py").write_text("raise RuntimeError('broken')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "REHEARSE_DEBUG": "1"}
    done = ended([*COMMAND, "validate", str(OUTAGE)], env=environment)
    assert done.returncode == 3
    assert "Traceback" in done.stderr


@pytest.mark.parametrize(
    "text", ["", "raise ValueError('not yours')", "__version__ = '9'", "import sys; sys.exit(1)"], ids=range(4)
)
def test_another_package_of_the_same_name_is_named(text: str, tmp_path: Path) -> None:
    """`harness` is a name that others have too: the command says which one is in the place of its own."""
    other = tmp_path / "path" / "harness"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text(text)
    # as an installed command finds it: the other one first
    program = (
        f"import sys; sys.path[:0] = [{str(other.parent)!r}, {str(ROOT)!r}]; import vault_upgrade_rehearsal as v; "
    )
    done = ended([sys.executable, "-c", program + "v.main()"])
    assert done.returncode == 3
    assert f"another `harness` is found before its own, {other / '__init__.py'}" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_command_knows_its_own_package() -> None:
    import vault_upgrade_rehearsal

    assert vault_upgrade_rehearsal.DISTRIBUTION == harness.DISTRIBUTION
    assert f'name = "{harness.DISTRIBUTION}"' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize("code", [0, 1])
def test_a_reader_who_leaves_changes_no_exit_code(code: int, tmp_path: Path) -> None:
    """`2>&1 | head -1`: neither a closed stdout nor a closed stderr turns a pass into a regression, or the reverse."""
    file = tmp_path / OUTAGE.name
    file.write_text(OUTAGE.read_text() if code == 0 else OUTAGE.read_text().partition("expect:")[0])
    for closed in ({"stdout"}, {"stderr"}, {"stdout", "stderr"}):
        reader, writer = os.pipe()
        os.close(reader)
        streams: dict[str, Any] = {
            name: writer if name in closed else subprocess.DEVNULL for name in ("stdout", "stderr")
        }
        words = ("run", file, "--driver", "paper", "--run-dir", tmp_path / "-".join(sorted(closed)))
        done = rehearse(*words, **streams)
        os.close(writer)
        assert done.returncode == code, closed


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["schema"], ["plan", str(OUTAGE)], ["--version"]])
def test_a_reader_of_help_may_leave_too(words: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = rehearse(*words, stdout=writer, stderr=subprocess.DEVNULL)
    os.close(writer)
    assert done.returncode == 0


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["schema"], ["plan", str(OUTAGE)]])
def test_a_full_disk_is_exit_3(words: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = rehearse(*words, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 3
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_write_to_a_full_disk_names_the_file(tmp_path: Path) -> None:
    """The system names none: `No space left on device` alone leaves open on which of several disks."""
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
        pki.write_private(Path("/dev/full"), b"key")
    with pytest.raises(OSError, match="its own"), naming(tmp_path):
        raise FileNotFoundError(errno.ENOENT, "gone", "its own")


def test_no_library_says_1_for_us(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A 1 that is not meant by this program is a fault; one that is meant passes."""
    from harness.cli import commands

    for meant, code in ((output.Ended(1), 1), (SystemExit(1), 3), (SystemExit("gone"), 3), (MemoryError(), 3)):

        def end(*_words: object, meant: BaseException = meant, **_options: object) -> None:
            raise meant

        monkeypatch.setattr(commands, "main", end)
        with pytest.raises(SystemExit) as ended:
            __main__.main()
        assert ended.value.code == code, meant
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("session", "code"), [("rehearse", 1), ("rehearse", 3), ("rehearse", 130), ("matrix", 4), ("bisect", 4)]
)
def test_nox_passes_the_exit_code_on(session: str, code: int, tmp_path: Path) -> None:
    """`noxfile.py -s rehearse` ends as `rehearse` ends: of every failed session nox itself makes a 1."""
    noxfile = tmp_path / "noxfile.py"
    shutil.copy(ROOT / "noxfile.py", noxfile)
    text = noxfile.read_text().replace("session.run(*words, ", 'session.run("python", "-c", CODE, ')
    text = text.replace(f"@nox.session\ndef {session}(", f'@nox.session(venv_backend="none")\ndef {session}(')
    text = text.replace(
        "        _install(session)\n    except CommandFailed:", "        pass\n    except CommandFailed:"
    )
    noxfile.write_text(
        f"CODE = 'import sys; sys.exit({code})'\n" + text.replace("from __future__", "# from __future__")
    )
    assert "CODE, " in text
    done = ended([sys.executable, str(noxfile), "-s", session], cwd=tmp_path)
    assert done.returncode == code, done.stderr


def test_what_nox_cannot_prepare_is_no_regression(tmp_path: Path) -> None:
    """Where the environment itself cannot be made, nobody knows anything of Vault."""
    noxfile = tmp_path / "noxfile.py"
    shutil.copy(ROOT / "noxfile.py", noxfile)  # with nothing beside it that could be installed
    done = ended([sys.executable, str(noxfile), "-s", "rehearse"], cwd=tmp_path)
    assert done.returncode == 3, done.stderr
