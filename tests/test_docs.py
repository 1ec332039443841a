"""What README and docs/ say is so: every link, every example, every command and every table."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from pydantic import BaseModel

from harness.analysis import verdict
from harness.cli.commands import main
from harness.record import journal
from harness.record.events import RECORD_VERSION
from harness.reports import text
from harness.scenario import loading
from harness.scenario.schema import Scenario
from tests import pages
from tests.runs import OUTAGE, SCENARIOS, on_paper

ROOT = SCENARIOS.parent
README = ROOT / "README.md"
PAGES = [README, *sorted(pages.DOCS.glob("*.md"))]
RESULTS = sorted(pages.DOCS.glob("results/*.md"))
LONGEST_README = 150


def named(page: Path) -> str:
    return page.name


def blocks(page: Path, kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def test_readme_is_read_in_one_sitting() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= LONGEST_README


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 _-]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", [*PAGES, *RESULTS], ids=named)
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    for link in links:
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.is_file(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_named_in_readme() -> None:
    text = README.read_text(encoding="utf-8")
    assert [page.name for page in PAGES[1:] if f"docs/{page.name}" not in text] == []


@pytest.mark.parametrize("page", [*PAGES[1:], *RESULTS], ids=named)
def test_what_the_code_says_is_on_the_page(page: Path) -> None:
    """Of scenarios, events and judgements no page tells another story than the code."""
    text = page.read_text(encoding="utf-8")
    assert text == pages.brought_up_to_date(text), "bring it up to date: python3 noxfile.py -s docs"


def test_every_part_that_could_be_on_a_page_is_on_one() -> None:
    everything = "".join(page.read_text(encoding="utf-8") for page in [*PAGES, *RESULTS])
    assert [part for part in pages.PARTS if f"<!-- from the code: {part} -->" not in everything] == []


def test_the_record_page_says_who_writes_and_who_reads_every_event() -> None:
    page = (pages.DOCS / "record.md").read_text(encoding="utf-8")
    rows = "\n".join(re.findall(r"^\| `[a-z].*$", page, re.MULTILINE))
    kinds = re.findall(r"^### ([a-z-]+)$", page.partition("## Events")[2].partition("\n## ")[0], re.MULTILINE)
    assert len(kinds) >= 20
    assert [kind for kind in kinds if f"`{kind}`" not in rows] == []


def test_the_record_page_has_every_format_that_is_read() -> None:
    formats = (pages.DOCS / "record.md").read_text(encoding="utf-8").partition("## Formats")[2].partition("\n## ")[0]
    numbers = re.findall(r"^- \*\*(\d+)\*\*: ", formats, re.MULTILINE)
    assert numbers == [str(number) for number in range(1, RECORD_VERSION + 1)]


# --- scenarios ---


def examples() -> Iterator[Scenario]:
    """Yield every example of the page on scenarios: each is README's, with whole parts replaced."""
    (whole,) = blocks(README, "yaml")
    base = {key: value for key, value in yaml.safe_load(whole).items() if key != "expect"}
    for part in blocks(pages.DOCS / "scenario.md", "yaml"):
        text = yaml.safe_dump({**base, **yaml.safe_load(part)}, sort_keys=False)
        yield loading.loads(text).scenario


def test_an_example_with_an_expectation_gives_just_that(tmp_path: Path) -> None:
    told = [example for example in examples() if example.expect is not None]
    assert len(told) > 1
    for number, example in enumerate(told):
        judgement = on_paper(example, tmp_path / str(number))[1]
        assert (judgement.missed, judgement.unexpected) == ((), ())


def said(part: BaseModel) -> Iterator[tuple[str, str]]:
    """Yield every key that a scenario says, with the part that it is of."""
    for name in part.model_fields_set:
        yield type(part).__name__, name
        yield from _said_below(getattr(part, name))


def _said_below(value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, BaseModel):
        yield from said(value)
    for below in value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else ():
        yield from _said_below(below)


def models(part: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """Return all parts of a scenario by name."""
    found = {part.__name__: part}
    waiting = [field.annotation for field in part.model_fields.values()]
    while waiting:
        hint = waiting.pop()
        waiting += getattr(hint, "__args__", ())
        if isinstance(hint, type) and issubclass(hint, BaseModel):
            found |= models(hint)
    return found


def test_every_key_of_a_scenario_has_an_example_that_loads() -> None:
    shown = {key for example in examples() for key in said(example)}
    known = {(name, field) for name, model in models(Scenario).items() for field in model.model_fields}
    assert len(known) > 60
    assert known - shown == set()


def test_the_page_of_shipped_scenarios_has_their_answers() -> None:
    """Each has a row, which names the cause and the version of everything that the file expects."""
    rows = dict(re.findall(r"^\| `(.+)\.yaml` \| (.+) \|$", (pages.DOCS / "scenarios.md").read_text(), re.MULTILINE))
    assert set(rows) == {file.stem for file in SCENARIOS.glob("*.yaml")}
    for name, answer in rows.items():
        for one in loading.load(SCENARIOS / f"{name}.yaml").scenario.expect or ():
            assert (one.cause or "") in answer
            assert (one.at or "") in answer


# --- commands ---


def commands(page: Path) -> Iterator[list[str]]:
    for block in blocks(page, "console"):
        # beside commands may stand what they print
        lines = [line for line in block.splitlines() if line.startswith("$ ")] or block.splitlines()
        for line in lines:
            words = shlex.split(line.removeprefix("$ "), comments=True)
            if words[:1] == ["rehearse"]:
                yield words[1:]


@pytest.mark.parametrize("page", [*PAGES, *RESULTS], ids=named)
def test_every_command_on_a_page_can_be_called_so(page: Path) -> None:
    """Its name and its options are there."""
    for words in commands(page):
        command: click.Command = main
        while isinstance(command, click.Group):
            found = command.commands.get(words[0])
            assert found is not None, words
            command, words = found, words[1:]  # noqa: PLW2901  # the rest of the line
        options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        assert [word for word in words if word.startswith("-") and word != "-" and word not in options] == [], words


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_nox_session_on_a_page_is_there(page: Path) -> None:
    sessions = set(
        re.findall(r"^def ([a-z]+)\(session: nox\.Session\)", (ROOT / "noxfile.py").read_text(), re.MULTILINE)
    )
    assert set(re.findall(r"nox(?:file\.py)? -s ([a-z]+)", page.read_text(encoding="utf-8"))) - sessions == set()


def test_every_variable_that_a_user_may_set_is_on_the_page() -> None:
    code = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "harness").rglob("*.py"))
    variables = set(re.findall(r"\bREHEARSE_[A-Z_]+\b", code))
    page = (pages.DOCS / "machine.md").read_text(encoding="utf-8")
    assert len(variables) > 8
    assert sorted(variable for variable in variables if f"`{variable}`" not in page) == []


# --- output ---


def test_the_output_in_readme_is_what_is_printed(tmp_path: Path) -> None:
    """Line by line, of the record of a real run; where a line ends in dots, as far as it goes."""
    record = journal.load(ROOT / "tests" / "records" / f"{OUTAGE.stem}.jsonl")
    printed = text.render(verdict.judge(record), width=120, colour=False).splitlines()
    (shown,) = blocks(README, "text")
    for line in shown.splitlines():
        whole, dots, _ = line.partition(" ...")
        assert any(one == line or (dots and one.startswith(whole)) for one in printed) or line == "...", line
