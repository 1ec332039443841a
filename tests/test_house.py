"""The house rules that no linter knows: a sentence over every door, every room on the map, and no room too large."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import harness
from harness.cli.commands import EXIT_CODES
from tests.runs import SCENARIOS

HOUSE = Path(harness.__file__).parent
ROOT = SCENARIOS.parent
MODULES = sorted(HOUSE.rglob("*.py"))
LARGEST_MODULE = 500
LONGEST_FUNCTION = 60
NAMES_THAT_SAY_NOTHING = {"util", "utils", "helper", "helpers", "manager", "managers", "base", "common", "misc"}


def named(file: Path) -> str:
    """Return a module as its place in the house."""
    return file.relative_to(HOUSE).as_posix()


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield every function of a module, wherever it stands."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize("file", MODULES, ids=named)
def test_over_every_door_stands_one_sentence(file: Path) -> None:
    """A module's docstring begins with one line that is one sentence; whatever more there is to say is set apart."""
    first, *more = (ast.get_docstring(ast.parse(file.read_text())) or "").splitlines()
    assert re.fullmatch(r"[A-Z`].*[.?]", first), first
    assert not re.search(r"[.?] [A-Z]", first), first
    assert more[:1] in ([], [""])


@pytest.mark.parametrize("file", MODULES, ids=named)
def test_no_room_is_too_large(file: Path) -> None:
    """A module stays under 500 lines and a function under 60, so that either is read in one sitting."""
    text = file.read_text()
    assert len(text.splitlines()) < LARGEST_MODULE
    lengths = {
        function.name: (function.end_lineno or 0) - function.lineno + 1 for function in functions(ast.parse(text))
    }
    assert {name: length for name, length in lengths.items() if length > LONGEST_FUNCTION} == {}


def test_every_room_is_on_the_map() -> None:
    """The docstring of the package names every folder and every module where it stands, and none that is not there."""
    rooms = {named(file) for file in MODULES} - {"__init__.py", "__main__.py"}
    places = {room.removesuffix("__init__.py") if room.endswith("__init__.py") else room for room in rooms}
    listed, folder = [], ""
    for line in (harness.__doc__ or "").splitlines():
        if entry := re.match(r"([a-z_/]+/) +\S", line):
            folder = entry[1]
            listed.append(folder)
        elif entry := re.match(r"(    )?([a-z_]+)   *\S", line):
            listed.append(f"{folder if entry[1] else ''}{entry[2]}.py")
    assert len(listed) > 20
    assert sorted(listed) == sorted(places)


def test_directories_are_made_for_their_user_alone_from_the_top_down() -> None:
    """`mkdir(parents=True)` gives the parents whatever the umask says: `settings.made` gives them none of it."""
    made = [named(file) for file in MODULES if re.search(r"mkdir\([^)]*parents=True|os\.makedirs\(", file.read_text())]
    # isolated from the package, under an umask of their own
    assert set(made) <= {"host/process_launch.py", "host/supervisor.py"}


def test_every_package_is_installed() -> None:
    """Each folder of modules is a package that is listed for installation: one that is not would be left out."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {".".join(("harness", *file.relative_to(HOUSE).parent.parts)) for file in MODULES}
    assert set(listed) == folders | {"harness.clusters"}
    assert [
        folder for folder in folders if not (HOUSE.parent / folder.replace(".", "/") / "__init__.py").exists()
    ] == []


def test_every_file_beside_the_modules_is_installed() -> None:
    """Tables, styles and templates lie beside the modules that read them, and are installed with them."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    beside = [file for file in HOUSE.rglob("*") if file.is_file() and file.suffix not in (".py", ".pyc")]

    def installed(file: Path) -> bool:
        package = ".".join(("harness", *file.relative_to(HOUSE).parent.parts))
        return any(file.match(pattern) for pattern in listed.get(package, ()))

    assert [str(file.relative_to(ROOT)) for file in beside if not installed(file)] == []


def test_every_room_has_a_name_that_says_something() -> None:
    """There is no module for what has no place: no util, helper, manager, base, common or misc."""
    words = {
        word for file in MODULES for part in file.relative_to(HOUSE).with_suffix("").parts for word in part.split("_")
    }
    assert words & NAMES_THAT_SAY_NOTHING == set()


def test_every_nox_session_says_what_it_does() -> None:
    """`nox --list` shows a sentence for every session."""
    tree = ast.parse((ROOT / "noxfile.py").read_text())
    sessions = {
        f.name: ast.get_docstring(f) for f in functions(tree) if "nox.session" in map(_decorator, f.decorator_list)
    }
    assert {"tests", "lint", "types"} <= set(sessions)
    assert [name for name, text in sessions.items() if not text] == []


def _decorator(node: ast.expr) -> str:
    return ast.unparse(node.func if isinstance(node, ast.Call) else node)


def test_the_readme_names_every_exit_code_and_leads_to_every_shipped_scenario() -> None:
    """Whoever reads README finds what every exit code means, and the page on which every scenario stands."""
    codes = re.findall(r"^ +(\d+) ", EXIT_CODES, re.MULTILINE)
    assert codes == ["0", "1", "2", "3", "4", "5", "130"]
    readme, page = (ROOT / "README.md").read_text(), (ROOT / "docs" / "scenarios.md").read_text()
    for text in (readme, (ROOT / "docs" / "output.md").read_text()):
        assert [code for code in codes if not re.search(rf"(?m)^\W*{code}\b", text)] == []
    assert "](docs/scenarios.md)" in readme
    assert [file.name for file in SCENARIOS.glob("*.yaml") if file.name not in page] == []
