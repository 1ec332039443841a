"""When a refused login begins to hurt: spans are said in whole units, and whether a token renews decides the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.analysis.impact import Impact
from harness.analysis.record_view import day_and_time
from harness.record.events import AnyEvent, RoleWritten
from harness.record.journal import Record
from harness.record.observation import Observation
from harness.scenario.schema import Scenario
from tests.runs import on_paper
from tests.test_rules import CASES, ONE_CLUSTER, changed, finding_of, mapped, role

HOUR = 3600
DAY = 24 * HOUR


def outlook_of(record: Record) -> Impact:
    """Return the outlook of the one finding of *record*."""
    found = finding_of(record).outlook
    assert found is not None
    return found


def outage(tmp_path: Path, **lives: str) -> Record:
    """Return the record of the outage with a role of these lives."""
    return on_paper(changed(role(**lives)) if lives else changed(), tmp_path)[0]


def of_the_old_token(record: Record, **fields: Any) -> Record:
    """Return *record* with the detail of the old token's look-up after the hop changed."""

    def change(event: AnyEvent) -> AnyEvent:
        if not (isinstance(event, Observation) and event.probe == "old-token-lookup" and event.moment != "before"):
            return event
        return msgspec.structs.replace(event, detail=event.detail | fields)

    return mapped(record, change)


@pytest.mark.parametrize(
    ("lives", "unrenewed", "renewed", "said"),
    [
        pytest.param({}, 32 * DAY, 32 * DAY, ("Each is cut off 32 days after its", "renews or not"), id="defaults"),
        pytest.param({"ttl": "1h"}, HOUR, 32 * DAY, ("cut off 1 hour after", "at the latest 32 days after"), id="ttl"),
        pytest.param({"max_ttl": "2h"}, 2 * HOUR, 2 * HOUR, ("Each is cut off 2 hours", "renews or not"), id="max"),
        pytest.param(
            {"ttl": "90m", "max_ttl": "24h"}, 5400, DAY, ("cut off 90 minutes after", "at the latest 1 day after"),
            id="minutes and a day",
        ),
        pytest.param(
            {"ttl": "45s", "max_ttl": "2h"}, 45, 2 * HOUR, ("cut off 45 seconds after", "at the latest 2 hours after"),
            id="seconds and hours",
        ),
        pytest.param(
            {"ttl": "48h", "max_ttl": "48h"}, 2 * DAY, 2 * DAY, ("Each is cut off 2 days after", "renews or not"),
            id="nothing to renew",
        ),
    ],
)  # fmt: skip
def test_spans_are_those_of_the_role(
    lives: dict[str, str], unrenewed: int, renewed: int, said: tuple[str, str], tmp_path: Path
) -> None:
    """Who never renews has the role's ttl, who renews its max-ttl, and both are said in the largest whole unit."""
    outlook = outlook_of(outage(tmp_path, **lives))
    assert (outlook.running_is_fine, outlook.unrenewed_seconds, outlook.renewed_seconds) == (True, unrenewed, renewed)
    assert all(words in outlook.sentence for words in said)


def test_the_ends_are_counted_from_the_login(tmp_path: Path) -> None:
    """Vault's own creation time is the beginning, and the sentence gives both ends as dates."""
    outlook = outlook_of(of_the_old_token(outage(tmp_path, ttl="1h"), creation_time=1_700_000_000))
    assert outlook.unrenewed_until == 1_700_000_000 + HOUR
    assert outlook.renewed_until == 1_700_000_000 + 32 * DAY
    assert day_and_time(outlook.unrenewed_until) in outlook.sentence
    assert day_and_time(outlook.renewed_until) in outlook.sentence


def test_without_a_creation_time_the_login_is_the_witness(tmp_path: Path) -> None:
    """A Vault that does not say when the token came to be leaves the login before the upgrade."""
    record = of_the_old_token(outage(tmp_path, ttl="1h"), creation_time=None)
    (login,) = [o for o in record.of(Observation) if o.probe == "login" and o.moment == "before"]
    assert outlook_of(record).unrenewed_until == login.ended + HOUR


def test_a_token_that_cannot_be_renewed_ends_with_its_ttl(tmp_path: Path) -> None:
    """Renewing is of no use where Vault says that the token does not renew."""
    outlook = outlook_of(of_the_old_token(outage(tmp_path, ttl="1h"), renewable=False))
    assert outlook.renewed_seconds == outlook.unrenewed_seconds == HOUR


def test_nothing_of_ours_replaces_a_default_of_vaults(tmp_path: Path) -> None:
    """A role without ttl is written without one, and whose default it then is stands in the sentence."""
    record = outage(tmp_path)
    assert all("token_ttl" not in written.fields for written in record.of(RoleWritten))
    assert "Vault's own default, as the role has no ttl" in outlook_of(record).sentence
    assert "default" not in outlook_of(outage(tmp_path / "said", ttl="1h")).sentence


def test_what_vault_said_of_the_token_comes_first(tmp_path: Path) -> None:
    """A mount or a system may have another default: the token itself was asked."""

    def tuned(event: AnyEvent) -> AnyEvent:
        if not (isinstance(event, Observation) and event.probe == "token-lookup" and event.moment == "before"):
            return event
        return msgspec.structs.replace(event, detail=event.detail | {"creation_ttl": 7200})

    assert outlook_of(mapped(outage(tmp_path), tuned)).unrenewed_seconds == 2 * HOUR


def test_a_record_of_an_older_release_keeps_the_ttl_that_was_written(tmp_path: Path) -> None:
    """It wrote one hour where the scenario said nothing, and did not ask the token how long it lives."""

    def old(event: AnyEvent) -> AnyEvent:
        if isinstance(event, RoleWritten):
            return msgspec.structs.replace(event, fields=event.fields | {"token_ttl": "1h"})
        if isinstance(event, Observation):
            return msgspec.structs.replace(event, detail={k: v for k, v in event.detail.items() if k != "creation_ttl"})
        return event

    found = outlook_of(mapped(outage(tmp_path), old))
    assert (found.unrenewed_seconds, found.renewed_seconds) == (HOUR, 32 * DAY)
    assert "default" not in found.sentence


def test_an_old_token_that_is_refused_as_well_hurts_at_once(tmp_path: Path) -> None:
    """There is no grace where running copies lose their token with the upgrade."""
    _, judgement = on_paper(changed(), tmp_path, script={("lookup", "", "1.11.0"): "refuse"})
    (login,) = [finding for finding in judgement.findings if finding.probe == "login"]
    assert login.outlook is not None
    assert login.outlook.running_is_fine is False
    assert "is refused as well (403 at after 1.11.0)" in login.outlook.sentence


def test_what_was_not_asked_is_not_promised(tmp_path: Path) -> None:
    """Without the old token's look-up the outlook does not say that anything is fine."""
    scenario = changed({"probes": ["login"]})
    outlook = outlook_of(on_paper(scenario, tmp_path)[0])
    assert outlook.running_is_fine is None
    assert "was not asked" in outlook.sentence


def test_every_outlook_says_what_a_restart_does_and_shows_its_line(tmp_path: Path) -> None:
    """A Pod that starts after the hop is refused at once; that the old token works is shown by its look-up."""
    record = outage(tmp_path)
    outlook = outlook_of(record)
    assert "must log in, and is refused at once" in outlook.on_restart
    (evidence_line,) = outlook.evidence
    looked_up = record.events[evidence_line.line - 1]
    assert isinstance(looked_up, Observation)
    assert (looked_up.probe, looked_up.moment, looked_up.answer) == ("old-token-lookup", "after 1.11.0", "granted")


@pytest.mark.parametrize(
    ("scenario", "there"),
    [
        pytest.param(CASES["the outage"][0], True, id="a regression"),
        pytest.param(changed(ONE_CLUSTER), True, id="a latent change"),
        pytest.param(CASES["frozen, two clusters"][0], False, id="broken from the start"),
    ],
)
def test_only_what_begins_with_a_hop_has_an_outlook(scenario: Scenario, there: bool, tmp_path: Path) -> None:
    """What was broken before the upgrade hurts already; what changes only its reviewer hurts elsewhere."""
    finding = finding_of(on_paper(scenario, tmp_path)[0])
    assert (finding.outlook is not None) == there
    if finding.kind == "latent":
        assert finding.outlook is not None
        assert "with the apps in another cluster" in finding.outlook.sentence


def test_running_copies_that_may_not_read_any_more_are_not_called_fine(tmp_path: Path) -> None:
    """The old token exists, and its read is refused: a look-up alone promises nothing."""
    _, judgement = on_paper(changed(), tmp_path, script={("read", "secret/data/web", "1.11.0"): "refuse"})
    (login,) = [finding for finding in judgement.findings if finding.probe == "login"]
    assert login.outlook is not None
    assert login.outlook.running_is_fine is False
    assert "may not read secret/web any more" in login.outlook.sentence


def test_a_read_that_is_refused_is_not_a_login_that_is_refused(tmp_path: Path) -> None:
    """Who logs in and may not read is told so: fresh Pods and running copies alike."""
    scenario = changed(ONE_CLUSTER)
    _, judgement = on_paper(scenario, tmp_path, script={("read", "secret/data/web", "1.11.0"): "refuse"})
    said = {f.probe: f.outlook for f in judgement.findings if f.effect == "access refused"}
    assert set(said) == {"read", "old-token-read"}
    fresh, held = said["read"], said["old-token-read"]
    assert fresh is not None
    assert "logs in, and is refused the read of secret/web" in fresh.sentence
    assert "must log in" not in fresh.sentence
    assert held is not None
    assert held.running_is_fine is fresh.running_is_fine is False
