"""The command `new`: five questions, or their options, become a scenario of one's own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from harness.cli.output import fail, say, tell

_PLACES = ("same", "other", "outside")
_REVIEWERS = ("nobody", "local", "client-jwt", "secret", "pod-token", "requested")


_DEFAULTS = {
    "place": "same",
    "reviewer": "nobody",
    "service_account": "apps/web",
    "mount": "kubernetes",
    "role": "web",
}

_QUESTIONS: Sequence[tuple[str, tuple[str, ...]]] = (
    ("Which Vault runs today, and which is it to be (two versions, such as 1.7.0 1.11.0)?", ("source", "target")),
    (f"Where does Vault run: cluster of the apps, another, or outside any ({', '.join(_PLACES)})?", ("place",)),
    (
        "Which Vault wrote the config last, and was a pod's token there (yes or no)?",
        ("written_by", "token_file"),
    ),
    (f"Whose token does the config name as reviewer ({', '.join(_REVIEWERS)})?", ("reviewer",)),
    ("Who logs in, at which mount, with which role?", ("service_account", "mount", "role")),
)
"""The five questions, each with the options that answer it as well."""


@click.command(name="new")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--source", help="The Vault version in use today, such as 1.7.0.")
@click.option("--target", help="The version to go to.")
@click.option("--place", type=click.Choice(_PLACES), help="Where Vault runs: cluster of the apps, another, or outside.")
@click.option("--written-by", help="The version that last wrote the mount's config.")
@click.option("--token-file/--no-token-file", default=None, help="Was a pod's token readable for Vault then?")
@click.option("--reviewer", type=click.Choice(_REVIEWERS), help="Whose token the config says reviews logins.")
@click.option("--service-account", help="The app's, as namespace/name.")
@click.option("--mount", help="The path of the auth mount.")
@click.option("--role", help="The role with which the app logs in.")
@click.option("--force", is_flag=True, help="Write over FILE if it is there.")
def new(*, file: Path, force: bool, **said: str | bool | None) -> None:
    """Write a scenario of one's own into FILE: the nearest shipped one, with your names.

    What no option says is asked, one question after the other; an empty answer is the one in brackets. Without a
    terminal nothing is asked: --source and --target have to be there, and the rest is what stands in brackets.
    """
    from harness.errors import ScenarioError
    from harness.scenario import drafting, loading

    if file.exists() and not force:
        fail(2, f"{file} is there already: another name, or --force")
    terminal = asks()
    missing = [f"--{name}" for name in ("source", "target") if said[name] is None]
    if missing and not terminal:
        fail(2, f"there is no terminal to ask at: say {' and '.join(missing)} as well")
    try:
        answers = drafting.Answers(**_answered(said, asks=terminal))
        text = drafting.draft(answers)
        loading.loads(text, str(file))
    except ScenarioError as error:
        say(error)
        fail(2, "these answers are no scenario; nothing was written")
    except ValueError as error:
        fail(2, f"these answers are no scenario: {error}; nothing was written")
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        fail(3, f"{file} could not be written: {error}")
    tell(f"{file}: like {drafting.nearest(answers)}\nrehearse plan {file}    # what would be done\nrehearse run {file}")


def asks() -> bool:
    """Is there a terminal at which somebody can be asked?"""
    return sys.stdin.isatty()


def _answered(said: dict[str, Any], *, asks: bool) -> dict[str, Any]:
    """Return every answer: what the options say, what is asked for, and else what is usual."""
    found = {name: value for name, value in said.items() if value is not None}
    for text, names in _QUESTIONS:
        usual = [_usual(name, found) for name in names]
        if asks and not all(name in found for name in names):
            given = click.prompt(text, default=" ".join(usual).strip() or None, value_proc=_parts(names))
            found |= {name: value for name, value in zip(names, given, strict=True) if name not in found}
        found |= {name: value for name, value in zip(names, usual, strict=True) if name not in found}
    found["with_token_file"] = found.pop("token_file") in (True, "yes")
    return found


def _usual(name: str, found: dict[str, Any]) -> str:
    """Return the answer in brackets."""
    if name in found:
        return {True: "yes", False: "no"}.get(found[name], found[name]) if name == "token_file" else str(found[name])
    if name == "written_by":
        return str(found.get("source", ""))
    if name == "token_file":
        return "no" if found.get("place") == "outside" else "yes"
    return _DEFAULTS.get(name, "")


def _parts(names: tuple[str, ...]) -> Callable[[str], list[str]]:
    """Return what takes an answer apart into one word for each of *names*, or has it asked for again."""

    def apart(answer: str) -> list[str]:
        words = answer.split()
        choices = {"place": _PLACES, "reviewer": _REVIEWERS, "token_file": ("yes", "no")}
        if len(words) != len(names):
            raise click.UsageError(f"{len(names)} words are asked for: {', '.join(names)}")
        for name, word in zip(names, words, strict=True):
            if name in choices and word not in choices[name]:
                raise click.UsageError(f"{word} is none of {', '.join(choices[name])}")
        return words

    return apart
