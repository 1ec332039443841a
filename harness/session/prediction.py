"""What a rehearsal would see, by the knowledge alone: at once and without any server, and never a pass.

The scenario is rehearsed on the paper driver, and what that says is judged like any record.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from harness import __version__
from harness.analysis import crossings, diagnosis, lost_connections, verdict
from harness.analysis.foretold import Expectation, Prediction, Way
from harness.analysis.record_view import Facts
from harness.drivers.paper.driver import PaperDriver
from harness.knowledge import kubernetes_auth
from harness.record.events import RECORD_VERSION, AnyEvent, RunStarted, Trouble
from harness.record.foretold import Foretold, ForetoldAnswer
from harness.record.journal import Journal, Record
from harness.record.observation import BESIDE, Observation
from harness.rehearsal import rehearsal
from harness.scenario import course, driver_traits, plan
from harness.scenario.loading import Loaded
from harness.scenario.plan import Plan
from harness.scenario.topology import Topology
from harness.secret import Secrets, redact


def predict(loaded: Loaded, *, rollback: bool = False) -> Prediction:
    """Return what is foretold of a scenario. Raises ScenarioError where it cannot be planned."""
    planned = plan.make(loaded.scenario, loaded.name, driver_traits.PAPER.name, rollback=rollback)
    start = RunStarted(
        record_version=RECORD_VERSION,
        tool_version=__version__,
        run_id="prediction",
        scenario_file=loaded.file,
        scenario=loaded.scenario.model_dump(mode="json", by_alias=True),
        plan=planned,
    )
    record = _on_paper(start)
    judgement, serving = verdict.judge(record), course.serving(planned.steps)
    return Prediction(
        scenario=loaded.name,
        description=judgement.description,
        path=tuple(dict.fromkeys(moment.version for moment in planned.moments)),
        answers=answers(record),
        findings=tuple(
            Expectation(
                kind=one.kind,
                effect=one.effect,
                cause=one.rule,
                app=one.app,
                at=one.hop,
                moment=one.moment,
                sentence=one.sentence,
                remedy=one.remedy,
                ways=tuple(Way(remedy.sentence, remedy.commands) for remedy in one.remedies),
            )
            for one in judgement.findings
        ),
        possible=tuple(lost_connections.possible(planned)),
        met=not judgement.missed and not judgement.unexpected if judgement.expects else None,
        crossings=crossings.crossings(planned),
        beyond=tuple(kubernetes_auth.beyond(serving)),
        assumed=planned.assumed,
        # that a version would not serve, or a node not be back, is foretold itself
        why_not="; ".join(verdict.untold(Facts(record))),
    )


def foretold(start: RunStarted) -> Foretold:
    """Return what is foretold of the run that *start* begins, for its record: the same questions, asked of nobody."""
    on_paper = msgspec.structs.replace(start, plan=_of_paper(start.plan), prove_remedies=False)
    record = _on_paper(on_paper)
    return Foretold(
        answers=answers(record),
        why_not="; ".join(f"{trouble.during}: {trouble.message}" for trouble in record.of(Trouble)),
    )


def topology_of(loaded: Loaded) -> Topology:
    """Return the installation of a scenario, with every default filled in."""
    return plan.make(loaded.scenario, loaded.name, driver_traits.PAPER.name).resolved


def _of_paper(planned: Plan) -> Plan:
    return msgspec.structs.replace(planned, driver=driver_traits.PAPER.name, artifacts=())


def _on_paper(start: RunStarted) -> Record:
    """Return the record of a run on paper, which is in memory alone."""
    told = list[AnyEvent]()
    with Journal(Path(), told.append) as journal:
        rehearsal.recorded(start, PaperDriver(), journal)
        # what is kept of it goes into another record, which knows none of the tokens on paper
        safe = [_without_secrets(event, journal.secrets) for event in told]
    return Record(safe)


def _without_secrets(event: AnyEvent, secrets: Secrets) -> AnyEvent:
    if not isinstance(event, Trouble):
        return event
    return msgspec.structs.replace(event, message=redact(event.message, secrets))


def answers(record: Record) -> tuple[ForetoldAnswer, ...]:
    """Return how a run's questions were answered, seen or foretold, each with its reviewer and cause."""
    facts = Facts(record)
    seen = (one for one in facts.observations if not one.probe.startswith(BESIDE))
    return tuple(_answer(facts, one) for one in seen)


def _answer(facts: Facts, seen: Observation) -> ForetoldAnswer:
    login = seen.probe == "login"
    return ForetoldAnswer(
        probe=seen.probe,
        moment=seen.moment,
        answer=seen.answer,
        status=seen.status,
        app=seen.app,
        mount=seen.mount,
        item=seen.item,
        vault=seen.vault,
        node=seen.node,
        reviewer=facts.reviewer(seen) if login else "",
        cause=diagnosis.cause_of(facts, seen),
    )
