"""What differs where no version is another one: the noise floor of a run, as its record tells it."""

from __future__ import annotations

import msgspec


class Noisy(msgspec.Struct, frozen=True, kw_only=True):
    """A field of an answer that is another one though nothing was changed."""

    probe: str
    field: str
    times: int
    """how often it was another one than at the look before"""


class NoiseFloor(msgspec.Struct, frozen=True, kw_only=True):
    """What an A -> A rehearsal saw: the same topology, its source version restarted, and no upgrade."""

    key: str
    """a digest of all that decides it: topology, questions, source version, driver, binaries, and this program"""
    version: str
    """the source version"""
    run_id: str
    """of the A -> A rehearsal, which may have been made for an earlier run"""
    made: float
    """when it began, in seconds since the epoch"""
    restarts: int
    compared: int
    """how many answers were held against those of the look before"""
    differs: tuple[Noisy, ...] = ()
    """what is left out of the changes of this run; nothing where it is not silent"""
    findings: tuple[str, ...] = ()
    """what it found, in words, where the scenario expects that: then it is not the version that does it"""
    unsound: tuple[str, ...] = ()
    """why it is no floor: what it found that nobody expects, or could not ask"""
