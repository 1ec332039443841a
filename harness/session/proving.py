"""The remedies of a run's refusals, tried: each in a rehearsal of its own, on the clusters of the run where they serve.

Vault and its data, every account and every token of such a rehearsal are its own. Its record is kept beside the run's,
in `proofs/`, and is whole by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from msgspec.structs import replace

from harness.analysis import trials, verdict
from harness.analysis.trials import Trial
from harness.errors import MissingPrerequisite
from harness.knowledge import versions
from harness.record import journal as journals
from harness.record.events import ProofsBegun, RunEnded, RunStarted, Trouble
from harness.record.journal import PROOFS, Began, Follower, Journal
from harness.rehearsal import rehearsal
from harness.rig.driver import Driver
from harness.rig.rig import Reusable, Rig
from harness.scenario.plan import Plan


class Proving:
    """Tries the remedies of a run once its course is over, while its system is still up."""

    def __init__(
        self,
        start: RunStarted,
        driver: Driver,
        journal: Journal,
        follow: Follower,
        begin: Began,
        tell: Callable[[str], None],
    ) -> None:
        """*journal* is that of the run, whose first event *start* is; the others are told as `rehearse_one` does."""
        self._start, self._driver, self._journal = start, driver, journal
        self._follow, self._begin, self._tell = follow, begin, tell

    def __call__(self, rig: Rig) -> None:
        """Judge what the run saw so far, and try what it advises. Raises OSError where no record can be written."""
        seen = verdict.judge(journals.load(self._journal.directory))
        wanted = list(trials.trials(seen.findings, self._start.plan))
        if not wanted:
            return
        self._journal.write(ProofsBegun(proofs={trial.name: trial.proves for trial in wanted}))
        driver = _Again(rig, self._driver)
        for number, trial in enumerate(wanted, 1):
            self._tell(
                f"remedy {number} of {len(wanted)}, {trial.proves.timing} the break, on "
                f"{versions.called(trial.proves.version)}: {trial.proves.words.partition('. ')[0]}"
            )
            self._try(trial, driver)

    def _try(self, trial: Trial, driver: Driver) -> None:
        directory = self._journal.directory / PROOFS
        directory.mkdir(mode=0o700, exist_ok=True)
        start = replace(
            self._start,
            at=0.0,
            run_id=f"{self._start.run_id}-{trial.name[:2]}",
            plan=trial.plan,
            prove_remedies=False,
            proves=trial.proves,
            noise_floor=None,
        )
        with Journal.opened(directory / trial.name, self._follow, self._begin) as journal:
            try:
                rehearsal.recorded(start, driver, journal)
            except MissingPrerequisite as error:
                # the run itself went well with what there is: its record goes on
                journal.write(Trouble(kind="ours", during="bring-up", message=str(error)))
                journal.write(RunEnded())


class _Again:
    """The clusters of a run that is over, as a driver; where they do not serve again, that of the run."""

    def __init__(self, rig: Rig, driver: Driver) -> None:
        self._rig, self._driver = rig, driver
        self.name, self.traits = driver.name, driver.traits

    def up(self, plan: Plan, run_id: str, journal: Journal) -> AbstractContextManager[Rig]:
        if isinstance(self._rig, Reusable):
            return self._again(self._rig, plan, journal)
        return self._driver.up(plan, run_id, journal)

    @contextmanager
    def _again(self, rig: Reusable, plan: Plan, journal: Journal) -> Iterator[Rig]:
        with rig.again(plan, journal) as again:
            yield again
