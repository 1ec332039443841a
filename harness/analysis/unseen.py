"""What a run says nothing about, so that nobody takes its silence for an all-clear."""

from __future__ import annotations

from collections.abc import Iterable

from harness.analysis.record_view import Facts
from harness.knowledge import kubernetes_auth, versions
from harness.record.events import Renewals
from harness.scenario import course, driver_traits
from harness.scenario.course import RollBack, Serve


def not_checked(facts: Facts, unlearned: Iterable[str]) -> Iterable[str]:
    """Yield what this run says nothing about, so that nobody takes silence for an all-clear."""
    for app in unlearned:
        yield f"what {facts.undertaking} does to a login of {app} that works: it was refused before as well"
    yield from facts.record.started.plan.not_asked
    for o in facts.observations:
        if o.answer == "unknown":
            yield f"{o.probe} of {o.app} {o.item} {o.moment}: {o.error}".replace("  ", " ")
        elif o.probe == "login" and o.answer == "refused":
            yield f"impostors of {o.app} {o.moment}: where the app itself is refused, their refusal proves nothing"
    there = {o.moment for o in facts.observations}
    for moment in facts.moments:
        if moment not in there:
            yield f"everything {moment}: the run did not get there"
    if not driver_traits.of(facts.record.started.plan.driver).real:
        yield from _not_on_paper(facts)
    if facts.record.of(Renewals):
        yield "for how long production could not renew: it was on loopback, with a scripted unseal"
    alone = all(vault.nodes == 1 for vault in facts.topology.vaults.values())
    changed = {step.seal for step in facts.steps if isinstance(step, Serve) and step.seal}
    seals = " and ".join(one.replace("shamir", "Shamir") for one in sorted(changed | {facts.topology.vault.seal}))
    yield f"{'several Vault nodes, ' if alone else ''}seals other than {seals}, storages other than the scenario's" + (
        "" if any(isinstance(step, RollBack) for step in facts.steps) else ", rollback"
    )


def _not_on_paper(facts: Facts) -> Iterable[str]:
    yield "anything real: the paper driver answers from this project's own knowledge of Vault"
    if unknown := kubernetes_auth.beyond(course.serving(facts.steps)):
        yield (
            f"what {versions.path(unknown, ', ')} really does: the paper driver's knowledge was held against real "
            f"servers of {kubernetes_auth.held_lines()}, and not beyond"
        )
    if any("{{" in text for text in facts.topology.policies.values()):
        yield (
            "policies with templates: on paper they are filled with what is known of an alias, and one whose value "
            "nobody knows, such as a claim that is no text, permits what the apps read"
        )
