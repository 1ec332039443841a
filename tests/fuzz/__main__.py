"""Rehearse random scenarios on paper and for real; ends with 1 where they differ in what nobody knows the reason of."""

from __future__ import annotations

import argparse
import itertools
import shlex
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from harness import settings
from harness.cli import maintenance
from harness.scenario.loading import Loaded
from harness.wait import Stopwatch
from tests import versions_at_hand
from tests.fuzz import crossing, generator, known, same_version, shrinking
from tests.fuzz.comparison import Difference
from tests.fuzz.running import NotRehearsed, Rehearsals

FOUND, ENVIRONMENT = 1, 3
_DRAWN_BY: Final[dict[str, Callable[[int, int, Sequence[str]], Loaded]]] = {
    "chance": generator.scenario,
    "crossing": crossing.scenario,
}


def main(words: Sequence[str] | None = None) -> int:
    """Return the exit code: 0 no difference, 1 some, 3 where fewer scenarios were rehearsed than were asked for."""
    asked = _options().parse_args(words)
    versions = _versions(asked.versions)
    out: Path = asked.out
    _say(f"seed {asked.seed}, from {asked.first}: {asked.count} scenarios over Vault {', '.join(versions)}")
    watch, done, broken, found, passing = Stopwatch(), 0, 0, 0, 0
    with Rehearsals(maintenance.places(), asked.driver, out / "records" if asked.keep else None) as rehearsals:
        for number, loaded in _drawn(asked, versions):
            if asked.seconds and watch.seconds > asked.seconds:
                _say(f"stopped after {asked.seconds} s, before number {number}")
                break
            try:
                if asked.same_version:
                    surprises = same_version.surprises(loaded, rehearsals)
                    done, found = done + 1, found + bool(surprises)
                    _keep_surprises(out, loaded, surprises)
                    continue
                differences = rehearsals.differences(loaded)
                for one in rehearsals.passing:
                    _say(f"{number}: once and not again: {one.sentence}")
                passing += bool(rehearsals.passing)
                rehearsals.passing.clear()
            except NotRehearsed as error:
                broken += 1
                _say(f"{number}: not rehearsed: {error}")
                continue
            except Exception as error:  # noqa: BLE001  # whatever fell over, it did so at a scenario that is valid
                found += 1
                _say(f"{number}: fell over: {type(error).__name__}: {error}")
                _write(out, loaded, traceback.format_exc().splitlines())
                continue
            done += 1
            for one in differences:
                row = known.row_of(one)
                _say(f"{number}: {one.sentence}" + (f" (known: {row.id})" if row else ""))
            if not differences:
                _say(f"{number}: alike")
            elif new := known.unknown(differences):
                found += 1
                _keep(out, loaded, new, rehearsals, asked.shrink, _again(asked, versions, number, 1))
    rate = done / watch.seconds * 60 if watch.seconds else 0
    _say(
        f"{done} scenarios rehearsed, {found} with a difference, {passing} with one that did not come again, "
        f"{broken} not rehearsed; {rate:.1f} a minute; again: {_again(asked, versions, asked.first, asked.count)}"
        + (f" --having {shlex.quote(asked.having)}" if asked.having else "")
    )
    return FOUND if found else ENVIRONMENT if broken else 0


def _drawn(asked: argparse.Namespace, versions: Sequence[str]) -> Iterator[tuple[int, Loaded]]:
    """Yield as many scenarios as are asked for, with their numbers: those that have the text that is asked for."""
    numbers = itertools.count(asked.first)
    drawn = ((number, _DRAWN_BY[asked.by](asked.seed, number, versions)) for number in numbers)
    return itertools.islice((one for one in drawn if asked.having in one[1].text), asked.count)


def _options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="nox -s fuzz --", description=__doc__)
    options.add_argument("--seed", type=int, default=1, help="decides every scenario, with its number and the versions")
    options.add_argument("--count", type=int, default=20, help="how many scenarios")
    options.add_argument("--first", type=int, default=0, help="the number of the first one")
    options.add_argument("--having", default="", help="only scenarios in whose text this stands")
    options.add_argument("--by", choices=[*_DRAWN_BY], default="chance", help="drawn, or shipped scenarios changed")
    options.add_argument("--versions", default="core", help="core, here (what is cached), or versions with commas")
    options.add_argument("--driver", choices=["local", "kind"], default="local", help="who makes the real rehearsals")
    options.add_argument("--seconds", type=float, default=0, help="begin none after so many seconds; 0: all are made")
    options.add_argument("--shrink", type=int, default=12, help="at most so many rehearsals to make one find smaller")
    options.add_argument("--out", type=Path, default=Path(".rehearse/fuzz"), help="where finds are written")
    options.add_argument("--same-version", action="store_true", help="restart instead of upgrading: nothing may change")
    options.add_argument("--keep", action="store_true", help="keep the records of all real rehearsals there")
    return options


def _versions(wanted: str) -> list[str]:
    if wanted == "here":
        return versions_at_hand.vaults_at_hand(settings.cache())
    return [*generator.CORE] if wanted == "core" else wanted.split(",")


def _again(asked: argparse.Namespace, versions: Sequence[str], first: int, count: int) -> str:
    """Return the options that draw *count* scenarios from *first* on again, as they were drawn."""
    return f"--seed {asked.seed} --first {first} --count {count} --versions {','.join(versions)} --by {asked.by}"


def _keep(out: Path, loaded: Loaded, new: Sequence[Difference], rehearsals: Rehearsals, most: int, again: str) -> None:
    """Write a find, made as small as it can be, with what was foretold and what was seen.

    *again* draws it as it was before.
    """
    small, there, asked = shrinking.shrunk(loaded, new, rehearsals.differences, most)
    if most:
        _say(f"  made smaller by {asked} rehearsals")
    lines = head(there, new if small is not loaded else (), again)
    file = _write(out, small, lines)
    _say(f"  {there[0].sentence}\n  written to {file}")


def head(there: Sequence[Difference], before: Sequence[Difference], again: str) -> list[str]:
    """Return what stands above a scenario: what differs there, and one of each sort that did *before* it was smaller.

    *again* draws that larger one.
    """
    gone = {one.sort: one for one in reversed(before)}
    for one in there:
        gone.pop(one.sort, None)
    lines = [one.sentence for one in there]
    if before:
        lines.append(f"made smaller; the whole one: {again}")
    return [*lines, *(f"and there, among others: {one.sentence}" for one in reversed(gone.values()))]


def _keep_surprises(out: Path, loaded: Loaded, surprises: Sequence[str]) -> None:
    """Write a topology that is not silent, with what was told of it."""
    for line in surprises:
        _say(f"{loaded.name}, without any upgrade: {line}")
    if surprises:
        _write(out, loaded, surprises)


def _write(out: Path, loaded: Loaded, lines: Sequence[str]) -> Path:
    """Write a scenario with what there is to say of it above."""
    out.mkdir(parents=True, exist_ok=True)
    file = out / f"{loaded.name}.yaml"
    head = "".join(f"# {line}\n" for line in lines)
    file.write_text(f"{head}{loaded.text}", encoding="utf-8")
    return file


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    # whoever is asked to end leaves nothing behind, as after Ctrl-C
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.exit(main())
