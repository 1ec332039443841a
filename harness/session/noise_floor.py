"""The A -> A rehearsal of a scenario: made once for all that agree on it, and kept in the state directory.

noise-floors/KEY/       its record, from which the floor is worked out each time
noise-floors/KEY.lock   held while somebody makes it
"""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from harness import settings
from harness.analysis import noise
from harness.artifacts import digests
from harness.artifacts.brought import Brought
from harness.errors import LeftBehind
from harness.host.locks import alone
from harness.knowledge import versions
from harness.record.journal import NotARecord
from harness.record.noise_floor import NoiseFloor
from harness.rehearsal import rehearsal
from harness.rehearsal.rehearsal import Rehearsed
from harness.scenario import plan
from harness.scenario.loading import Loaded
from harness.scenario.plan import Plan
from harness.scenario.schema import CourseStep, Nothing
from harness.session import matrix_directory

RESTARTS: Final = 2
"""What differs by chance, such as a time in whole seconds, may be the same once."""

Rehearsing = Callable[[Loaded, Path], Rehearsed]
"""Rehearses a scenario as the run does for which the floor is wanted, into a new directory."""


def without_upgrade(loaded: Loaded) -> Loaded:
    """Return the scenario of an A -> A rehearsal: the same topology, and its source restarted instead of upgraded."""
    scenario = loaded.scenario
    stays = scenario.vault.model_copy(update={"via": (), "target": None})
    course = (CourseStep(restart=Nothing()),) * RESTARTS
    changed = {"vault": stays, "course": course, "expect": None, "matrix": None, "strict": False}
    return dataclasses.replace(loaded, scenario=scenario.model_copy(update=changed))


def of(
    loaded: Loaded, planned: Plan, brought: Brought, state: Path, rehearse: Rehearsing, tell: Callable[[str], None]
) -> NoiseFloor:
    """Return the noise floor of a scenario, which *planned* is the plan of; *brought* are binaries of the user's own.

    An earlier one is taken where all that decides it is the same, and it was silent. Raises LeftBehind where the
    rehearsal left something behind, and as that does.
    """
    still = without_upgrade(loaded)
    wanted = plan.make(still.scenario, still.name, planned.driver)
    key = _key(wanted, brought)
    expected = () if planned.asked is None else planned.asked.expect or ()

    def floor_of(done: Rehearsed) -> NoiseFloor:
        start = done.record.started
        floor = NoiseFloor(
            key=key,
            version=wanted.resolved.vault.source,
            run_id=start.run_id,
            made=start.at,
            restarts=RESTARTS,
            compared=0,
        )
        return noise.measured(done.judgement, floor, expected)

    home = settings.private_state(state, "noise-floors")
    lock = home / f"{key}.lock"
    lock.touch(0o600)
    with alone(lock, tell, "the noise floor of this topology is being measured by somebody else"):
        kept = home / key
        try:
            floor = floor_of(rehearsal.judged(kept))
        except (NotARecord, OSError):
            floor = None
        if floor is not None and not floor.unsound:
            tell(f"noise floor: A -> A on {versions.called(floor.version)} was rehearsed before ({floor.run_id})")
            return floor
        source = versions.called(planned.resolved.vault.source)
        tell(f"noise floor: A -> A on {source} first, the same version restarted")
        with tempfile.TemporaryDirectory(prefix=f".{key}-", dir=home) as place:
            # its name becomes that of the run
            made = Path(place) / f"a-to-a-{loaded.name}"
            done = rehearse(still, made)
            if done.judgement.left_behind:
                raise LeftBehind(f"the A -> A rehearsal left something behind: {done.judgement.left_behind}")
            shutil.rmtree(kept, ignore_errors=True)
            made.rename(kept)
    floor = floor_of(done)
    tell(f"noise floor: {f'none, {floor.unsound[0]}' if floor.unsound else f'{len(floor.differs)} fields differ'}")
    return floor


def _key(wanted: Plan, brought: Brought) -> str:
    """Return a digest of all that decides what an A -> A rehearsal sees."""
    own = [(name, digests.digest(path)) for name, path in sorted(brought.paths().items())]
    made = [wanted.driver, wanted.resolved, wanted.steps, wanted.questions, brought.words(), own]
    text = msgspec.json.encode([made, matrix_directory.program()], order="deterministic")
    return hashlib.sha256(text).hexdigest()[:16]
