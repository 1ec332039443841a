"""Which releases there are, as of a date, and what a range of versions stands for.

The table ships with this package, so that a range means the same without a network; `rehearse versions --update` adds
what a release server knows beyond it. Vault's are the community releases: what came later in a line (1.16.4 and the
like) is Enterprise alone. Dates are those of the release. Sources: the vendors' release pages and changelogs, as
collected by endoflife.date.

What a range stands for (`resolve`):

    1.11.0           this one, whether the table knows it or not
    1.11             the newest patch of 1.11
    1.8..1.13        the newest patch of each minor; an end that is a whole version is in it, and nothing beyond it
    1.8..   ..1.13   up to the newest that is known, or from the oldest
    all              every release that is known
    1.8..1.13:all    every patch
    1.8..1.13:here   of what can be had on this machine; also 1.8..1.13:all:here
    1.7.0,1.9..1.11  both
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from harness.knowledge import versions

AS_OF: Final = "2026-08-22"
"""The date up to which the table below is complete."""

# A minor, then the days on which its patches came out: .0, .1, .2 and so on.
_VAULT: Final = """\
1.3: 20191114 20191218 20200122 20200305 20200319 20200428 20200521 20200702 20200824 20200824 20200828
1.4: 20200407 20200430 20200521 20200702 20200824 20200824 20200828 20200925
1.5: 20200721 20200824 20200824 20200828 20200925 20201021 20201216 20210129 20210421 20210521
1.6: 20201111 20201216 20210129 20210225 20210421 20210521 20210826 20210929
1.7: 20210324 20210423 20210521 20210616 20210826 20210929 20211104 20211206 20211215 20220124 20220225
1.8: 20210728 20210805 20210826 20210929 20211006 20211104 20211206 20211215 20220124 20220228 20220419 20220426
  20220603
1.9: 20211116 20211209 20211217 20220124 20220228 20220419 20220426 20220606 20220719 20220826 20220915
1.10: 20220321 20220419 20220426 20220506 20220606 20220719 20220826 20220922 20221027 20221123 20230201 20230224
1.11: 20220617 20220719 20220729 20220826 20220923 20221027 20221123 20230201 20230224 20230323 20230425 20230607
  20230619
1.12: 20221010 20221027 20221123 20230202 20230228 20230323 20230425 20230606 20230619 20230721 20230824 20230911
1.13: 20230301 20230323 20230425 20230606 20230619 20230721 20230824 20230911 20230922 20231020 20231106 20231121
  20231204 20240129
1.14: 20230619 20230721 20230824 20230911 20230922 20231020 20231106 20231121 20231204 20240129 20240228
1.15: 20230922 20231020 20231106 20231122 20231204 20240126 20240228
1.16: 20240325 20240403 20240422 20240529
1.17: 20240610 20240625 20240705 20240806 20240829 20240830 20240924
1.18: 20241008 20241029 20241120 20241216 20250129 20250224
1.19: 20250304 20250402 20250417 20250429 20250514 20250529
1.20: 20250623 20250724 20250805 20250827 20250923
1.21: 20251021 20251118 20260106 20260203 20260304
2.0: 20260413 20260519 20260604 20260617 20260803
"""
_KUBERNETES: Final = """\
1.22: 20210804 20210819 20210915 20211027 20211117 20211216 20220119 20220216 20220316 20220413 20220524 20220616
  20220713 20220817 20220914 20220921 20221109 20221208
1.23: 20211207 20211216 20220119 20220125 20220216 20220316 20220414 20220524 20220616 20220713 20220817 20220914
  20220921 20221012 20221109 20221208 20230118 20230222
1.24: 20220503 20220524 20220615 20220713 20220817 20220914 20220921 20221012 20221109 20221208 20230118 20230222
  20230315 20230412 20230517 20230614 20230719 20230823
1.25: 20220823 20220914 20220921 20221012 20221109 20221208 20230118 20230222 20230315 20230412 20230517 20230614
  20230719 20230823 20230913 20231018 20231115
1.26: 20221208 20230118 20230222 20230315 20230412 20230517 20230614 20230719 20230824 20230913 20231018 20231115
  20231219 20240117 20240214 20240314
1.27: 20230411 20230414 20230517 20230614 20230719 20230824 20230913 20231018 20231115 20231219 20240117 20240214
  20240315 20240416 20240514 20240611 20240717
1.28: 20230815 20230824 20230913 20231018 20231115 20231219 20240117 20240214 20240315 20240416 20240514 20240611
  20240716 20240814 20240911 20241022
1.29: 20231213 20240117 20240214 20240314 20240416 20240514 20240611 20240716 20240814 20240911 20241022 20241120
  20241210 20250115 20250212 20250311
1.30: 20240417 20240514 20240611 20240716 20240814 20240912 20241022 20241119 20241210 20250115 20250212 20250311
  20250422 20250515 20250617
1.31: 20240813 20240911 20241022 20241119 20241210 20250115 20250212 20250311 20250422 20250515 20250617 20250715
  20250813 20250909 20251111
1.32: 20241211 20250115 20250212 20250311 20250422 20250515 20250617 20250715 20250813 20250909 20251111 20251216
  20260210 20260226
1.33: 20250423 20250515 20250617 20250715 20250813 20250909 20251111 20251209 20260210 20260226 20260318 20260415
  20260512 20260611
1.34: 20250827 20250909 20251111 20251209 20260210 20260226 20260318 20260415 20260512 20260611 20260722 20260820
1.35: 20251217 20260210 20260226 20260318 20260415 20260512 20260611 20260722 20260820
1.36: 20260422 20260512 20260611 20260722 20260820
"""

_SHIPPED: Final = {"vault": _VAULT, "kubernetes": _KUBERNETES}
_MINOR: Final = re.compile(r"(0|[1-9]\d{0,3})\.(0|[1-9]\d{0,3})")
_NAMES: Final = {"vault": "Vault", "kubernetes": "Kubernetes"}


class UnknownVersion(ValueError):
    """A range that stands for nothing; the message says what is known and what would be right."""


@dataclass(frozen=True, slots=True)
class Table:
    """The releases of one product, oldest first: *released* has the day of each, as 2024-01-29, "" if nobody knows."""

    product: str
    as_of: str
    source: str
    released: Mapping[str, str]

    def with_more(self, found: Iterable[str], as_of: str, source: str) -> Table:
        """Return this table with the releases *found* at *source*: plain ones of the lines that it reaches back to."""
        oldest = min(map(versions.release, self.released))
        more = {each for each in found if _plain(each) and versions.release(each) >= oldest}
        known = {each: self.released.get(each, "") for each in versions.ascending({*self.released, *more})}
        return Table(self.product, as_of, source, known)


@cache
def shipped(product: str) -> Table:
    """Return what ships with this package of *product*, which is vault or kubernetes."""
    released = {}
    for line in _SHIPPED[product].replace("\n ", "").splitlines():
        minor, _, days = line.partition(": ")
        for patch, day in enumerate(days.split()):
            released[f"{minor}.{patch}"] = f"{day[:4]}-{day[4:6]}-{day[6:]}"
    ordered = {each: released[each] for each in versions.ascending(released)}
    return Table(product, AS_OF, "shipped with rehearse", ordered)


def resolve(text: str, table: Table, here: Callable[[str], bool] | None = None) -> tuple[str, ...]:
    """Return the versions that *text* stands for, oldest first and each once; the module says how it is written.

    *here* says whether a version can be had on this machine, for ranges that ask for it. Raises UnknownVersion.
    """
    found: list[str] = []
    for part in text.split(","):
        found += _resolve(part.strip(), table, here)
    return tuple(versions.ascending(found))


def unheard(version: str, table: Table) -> str:
    """Return that *version* is none of the releases of *table*, and which comes nearest; nothing where it is one.

    That is no fault: there may be a newer release than any that is known. Nothing is known of the releases of OpenBao,
    nor of the patches that Vault Enterprise has beyond those of the community.
    """
    numbers = versions.release(version)
    plain = ".".join(str(number) for number in numbers[:3])
    if versions.product(version) != "vault" or plain in table.released:
        return ""
    line = [each for each in table.released if versions.release(each)[:2] == numbers[:2]]
    oldest, *_, newest = table.released
    if line and "+ent" in version:
        return ""
    minor = plain.rpartition(".")[0]
    if line and table.product == "vault" and line[-1] != newest:
        nearest = f"{minor} ended with {line[-1]}, and later patches of it are of Vault Enterprise alone ({plain}+ent)"
    elif line:
        nearest = f"the newest of {minor} is {line[-1]}"
    else:
        nearest = f"the newest is {newest}" if numbers > versions.release(newest) else f"the oldest is {oldest}"
    return (
        f"{_NAMES[table.product]} {version} is none of the releases that are known, as of {table.as_of}: {nearest}. A "
        "newer one can be rehearsed all the same; rehearse versions --update asks for those that there are by now"
    )


def within(text: str, version: str) -> bool:
    """Is *version* one of those that *text* spans, be it the newest of its minor or not?"""
    numbers = versions.release(version)
    for part in text.split(","):
        span = part.strip().partition(":")[0]
        if not is_range(span):
            if span == version:
                return True
            continue
        first, dots, last = ("", "..", "") if span == "all" else span.partition("..")
        low = _numbers(first) if first or not dots else ()
        high = _numbers(last) if dots else low
        if low <= numbers and numbers[: len(high)] <= high:
            return True
    return False


def is_range(text: str) -> bool:
    """Does *text* stand for something other than the one version that is written there?"""
    try:
        versions.parse(text)
    except ValueError:
        return True
    return False


def _resolve(text: str, table: Table, here: Callable[[str], bool] | None) -> list[str]:
    span, *words = text.split(":")
    if not is_range(text):
        return [text]
    if wrong := [word for word in words if word not in ("all", "here")]:
        raise UnknownVersion(f"{text!r}: after a range there is :all or :here, and not :{wrong[0]}")
    if span == "all":
        span, words = "..", [*words, "all"]
    chosen = _between(span, text, table)
    if "here" in words:
        if here is None:
            raise UnknownVersion(
                f"{text!r}: nobody knows in this place what can be had on this machine; leave :here out"
            )
        chosen = [each for each in chosen if here(each)]
    if "all" not in words:
        exact = {end for end in span.split("..") if not is_range(end)}
        newest = {versions.release(each)[:2]: each for each in chosen}
        chosen = [each for each in chosen if each in exact or each in newest.values()]
    if not chosen:
        raise UnknownVersion(f"{text!r}: none of these {_NAMES[table.product]} versions can be had on this machine")
    return chosen


def _between(span: str, text: str, table: Table) -> list[str]:
    """Return every release from one end of *span* to the other."""
    first, dots, last = span.partition("..")
    low = _end(first, text, table) if first or not dots else (0,)
    high = (_end(last, text, table) if last else (1 << 30,)) if dots else low
    if low[: len(high)] > high:
        raise UnknownVersion(f"{text!r}: {first} is newer than {last}; the older one comes first")
    return [
        each
        for each, numbers in ((each, versions.release(each)) for each in table.released)
        if numbers >= low and numbers[: len(high)] <= high
    ]


def _end(end: str, text: str, table: Table) -> tuple[int, ...]:
    """Return one end of a range as numbers: two of a minor, three of a release. It has to be known."""
    name = _NAMES[table.product]
    if found := _MINOR.fullmatch(end):
        minor = (int(found[1]), int(found[2]))
        minors = list(dict.fromkeys(versions.release(each)[:2] for each in table.released))
        if minor in minors:
            return minor
        oldest, newest = (f"{one[0]}.{one[1]}" for one in (minors[0], minors[-1]))
        raise UnknownVersion(f"{text!r}: there is no {name} {end} from {oldest} to {newest}, {_stand(table)}")
    if not _plain(end):
        raise UnknownVersion(f"{text!r}: {end!r} is no end of a range: those are written as 1.11 or 1.11.0")
    if end not in table.released:
        of = end.rpartition(".")[0]
        line = [each for each in table.released if each.startswith(f"{of}.")]
        near = f"{of} goes from {line[0]} to {line[-1]}" if line else f"there is no {name} {of}"
        raise UnknownVersion(f"{text!r}: there is no {name} {end}: {near}, {_stand(table)}")
    return versions.release(end)


def _numbers(end: str) -> tuple[int, ...]:
    """Return an end of a range as numbers, whether it is known or not; none where it is open, or is no end."""
    if found := _MINOR.fullmatch(end):
        return int(found[1]), int(found[2])
    return versions.release(end) if _plain(end) else ()


def _stand(table: Table) -> str:
    return f"as of {table.as_of} ({table.source}); `rehearse versions --update` asks for newer ones"


def _plain(text: str) -> bool:
    return not is_range(text) and not set(text) & set("+-")
