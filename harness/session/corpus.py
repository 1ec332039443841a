"""The corpus of known breakages: its files become entries, and what was last seen of each is kept.

A file's head says what it is: lines of comment, `# key: value`, which no other reader of the file sees.

    # id: c02a
    # rows: corpus:2 breaker:frozen-token-dies-with-its-pod     (ROW@VERSION: it comes into force there, on the path)
    # what: what happens, in a sentence
    # since: 1.5.0
    # remedy: step 2
    # shows: words that must stand among what else changed      (any number of these)
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Final

import msgspec

from harness import settings
from harness.analysis import track_record
from harness.analysis.track_record import Absent, Entry, Result
from harness.errors import HarnessError
from harness.host import pki
from harness.scenario import loading, plan, topology

_RESULT_FILE: Final = "results.json"
_ONCE: Final = ("id", "rows", "what", "since", "remedy")


class NoCorpus(HarnessError):
    """A directory holds no corpus, or a file of it is none of an entry; the message says which and why."""


def entries(directory: Path) -> list[Entry]:
    """Return the entries of every file in *directory*, by their names.

    Raises NoCorpus where there is none or a head is not whole, ScenarioError where a file is no scenario.
    """
    files = sorted(directory.glob("*.yaml"))
    if not files:
        raise NoCorpus(
            f"{directory}: there is no corpus. It is in scenarios/corpus of this project's sources; name its place "
            "with --directory"
        )
    found = [_entry(file) for file in files]
    twice = {one.id for one in found if sum(other.id == one.id for other in found) > 1}
    if twice:
        raise NoCorpus(f"{directory}: {', '.join(sorted(twice))} stands in several files; every entry has an id")
    return found


def absent(directory: Path) -> list[Absent]:
    """Return the rows of which there is no entry, with why. Raises NoCorpus where the file is damaged."""
    file = directory / track_record.ABSENT
    try:
        return list(msgspec.toml.decode(file.read_bytes(), type=dict[str, tuple[Absent, ...]])["row"])
    except (OSError, msgspec.DecodeError, KeyError) as error:
        raise NoCorpus(f"{file}: the rows that were not run cannot be read: {error}") from error


def _entry(file: Path) -> Entry:
    head = _head(file)
    loaded = loading.load(file)
    planned = plan.make(loaded.scenario, loaded.name, "local")
    words = head["rows"][0].split()
    asked = topology.asked_of(loaded.scenario.model_dump(mode="json", by_alias=True))
    return Entry(
        id=head["id"][0],
        name=file.stem,
        file=str(file),
        rows=tuple(word.partition("@")[0] for word in words),
        crosses={row: at for row, _, at in (word.partition("@") for word in words) if at},
        what=head["what"][0],
        since=head["since"][0],
        remedy=head["remedy"][0],
        shows=tuple(head.get("shows", ())),
        versions=tuple(version for version, _ in groupby(moment.version for moment in planned.moments)),
        artifacts=tuple(f"{product}:{version}" for product, version in planned.artifacts),
        clusters=str(loaded.scenario.clusters),
        expected=track_record.of_expected(asked.expect or ()),
    )


def _head(file: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        if said := re.fullmatch(r"# (id|rows|what|since|remedy|shows): (.+)", line):
            found.setdefault(said[1], []).append(said[2].strip())
    wrong = [key for key in _ONCE if len(found.get(key, ())) != 1]
    if wrong or not file.stem.startswith(f"{found['id'][0]}-"):
        which = ", ".join(wrong) or "id (the name of the file begins with it)"
        raise NoCorpus(f"{file}: its head must say each of {', '.join(_ONCE)} once; look at: {which}")
    return found


def record_directory(state: Path, entry: Entry) -> Path:
    """Return the directory for a new record of *entry*; what the last one left there is removed."""
    directory = settings.private(place(state) / "records") / entry.id
    if directory.exists():
        shutil.rmtree(directory)
    return directory


def place(state: Path) -> Path:
    """Return the directory in which the last results are kept; it is made if missing."""
    return settings.private_state(state, "corpus")


def kept(state: Path) -> dict[str, Result]:
    """Return the last result of each entry, by its id; nothing where none was kept, or it cannot be read any more."""
    try:
        found = msgspec.json.decode((place(state) / _RESULT_FILE).read_bytes(), type=tuple[Result, ...])
    except (OSError, msgspec.DecodeError):
        return {}
    return {one.id: one for one in found}


def keep(state: Path, results: Iterable[Result]) -> None:
    """Keep *results* in place of what was kept of the same entries, whole or not at all."""
    found = kept(state) | {one.id: one for one in results}
    file = place(state) / _RESULT_FILE
    fresh = file.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    pki.write_private(fresh, msgspec.json.encode(tuple(found.values())))
    fresh.replace(file)
