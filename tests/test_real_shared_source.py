"""A source state on real servers: nothing of one rehearsal reaches the next, and what was changed is not used again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import settings
from harness.analysis import verdict
from harness.cli import maintenance
from harness.drivers.local.control_plane import ControlPlane
from harness.drivers.local.shared_clusters import SharedClusters
from harness.record import events, journal
from harness.record.journal import Record
from harness.scenario import loading
from harness.scenario.topology import ISSUER
from harness.session import one_rehearsal
from harness.session.one_rehearsal import Options
from tests.test_real import SECRET_SHAPES

pytestmark = pytest.mark.real

SCENARIO = """
schema: 1
description: One cluster, over files, with a reviewer out of a Secret, a password, and a listener without TLS.
clusters:
  main: {kubernetes: 1.32.0}
vault: {cluster: main, storage: file, tls: false, source: 1.7.0, target: 1.9.2}
auth:
  kubernetes:
    cluster: main
    reviewer: secret
    roles:
      web: {service-accounts: [web], namespaces: [apps], policies: [web]}
  userpass:
    type: userpass
    roles:
      batch: {policies: [web]}
apps:
  web: {cluster: main, service-account: apps/web, mount: kubernetes, role: web, reads: [secret/web]}
  batch: {mount: userpass, role: batch, reads: [secret/web]}
"""


@pytest.fixture
def clusters() -> Iterator[SharedClusters]:
    with SharedClusters(settings.temporary(), settings.state()) as lent:
        yield lent


def test_a_source_state_is_copied_and_left_alone_once_its_cluster_was_changed(
    clusters: SharedClusters, tmp_path: Path
) -> None:
    """Three in turn: it is made; begun from; and made anew, because somebody took the reviewer's Secret."""
    loaded = loading.loads(SCENARIO)
    known: list[str] = []

    def rehearsed(name: str) -> Record:
        options = Options(run_dir=tmp_path / name)
        one_rehearsal.rehearse_one(loaded, options, maintenance.places(), clusters=clusters, sharing="more")
        kept = clusters._kept
        assert kept is not None
        assert kept.root is not None
        known.extend(one.reveal() for one in (kept.root, *kept.source.keys[""]))
        known.extend(one.jwt.reveal() for one in kept.tokens.values())
        known.extend(one.secret.reveal() for one in kept.source.credentials.values())
        return journal.load(tmp_path / name)

    made, copied = rehearsed("made"), rehearsed("copied")
    assert made.of(events.SourceState) == []
    (told,) = copied.of(events.SourceState)
    assert (told.made_by, told.served, told.why_not) == (made.started.run_id, 0, "")
    assert told.ready
    assert len(copied.of(events.PodReplaced)) == len(made.of(events.PodReplaced)) + 1
    assert told.made < copied.started.at

    kept = clusters._kept
    assert kept is not None
    assert not (Path(kept.data) / "audit.log").exists()
    secret = next(one for one in kept.there["main"] if one[0] == "secrets")
    kept.planes["main"].kube.delete_secret(secret[1], secret[2])
    anew = rehearsed("anew")
    (told,) = anew.of(events.SourceState)
    assert told.made_by == ""
    assert told.why_not.endswith(
        f"cluster main is not as it was when the source state was made: {' '.join(secret[:3])}"
    )
    assert not Path(kept.data).exists()
    assert clusters._kept is not None
    assert clusters._kept.run == anew.started.run_id

    judged = [verdict.judge(one) for one in (made, copied, anew)]
    assert {one.verdict for one in judged} == {"pass"}
    answers = [[(o.moment, o.probe, o.app, o.item, o.answer, o.status) for o in one.observations] for one in judged]
    assert answers[0] == answers[1] == answers[2]
    for path in tmp_path.rglob("*"):
        if path.is_file():
            text = path.read_bytes()
            assert not SECRET_SHAPES.search(text), path
            assert [value for value in known if value.encode() in text] == [], path


def test_a_cluster_with_other_issuers_is_told_to_nobody_before_it_has_those_of_the_next_rehearsal(
    clusters: SharedClusters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where Vault is outside of it, a config is written as soon as it is known how it is reached: before it serves."""
    ending = ControlPlane.end

    def late(plane: ControlPlane) -> None:
        time.sleep(5)
        ending(plane)

    monkeypatch.setattr(ControlPlane, "end", late)
    outside = SCENARIO.replace("vault: {cluster: main, ", "vault: {")
    loaded = loading.loads(outside)
    course = "course:\n  - set-issuers: {main: ['https://other.example.com']}\n"
    changed = loading.loads(outside.replace(", target: 1.9.2", "") + course)
    issuers = []
    for number, one in enumerate((changed, loaded)):
        run = tmp_path / str(number)
        one_rehearsal.rehearse_one(one, Options(run_dir=run), maintenance.places(), clusters=clusters)
        record = journal.load(run)
        issuers += [written.fields.get("issuer") for written in record.of(events.ConfigWritten)][:1]
    assert issuers == [ISSUER, ISSUER]
