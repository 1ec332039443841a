"""Leases: a list of them that is larger than what Vault takes from etcd is found, foretold and mended."""

from __future__ import annotations

import http.server
import itertools
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.analysis import verdict
from harness.analysis.leases import Leases
from harness.clients.vault import Vault
from harness.drivers.paper.leases import PaperLeases
from harness.errors import RigError, ScenarioError
from harness.knowledge import lease_lists
from harness.record import journal
from harness.record.lease_events import LeasesChanged, LeasesSeen, Met
from harness.rehearsal import leases
from harness.reports import leases as lease_report
from harness.reports import plan as report
from harness.reports import text
from harness.rig.leases import leases_of
from harness.rig.rig import Reply
from harness.scenario import loading, plan
from harness.scenario.course import Look, MakeLeases, RevokeLeases
from harness.secret import Secret
from harness.session import prediction
from tests.bench import leases as bench
from tests.runs import SCENARIOS, on_paper, started, variant
from tests.stored_records import FOLDER
from tests.test_cases import unpacked

FILE = SCENARIOS / "too-many-leases-on-etcd-keep-vault-sealed-after-the-upgrade.yaml"
STORY = loading.load(FILE).scenario


@pytest.mark.parametrize(
    ("version", "values"),
    [
        ("1.3.0", True),
        ("1.13.9", True),
        ("1.13.10", False),
        ("1.14.0", True),
        ("1.14.5", True),
        ("1.14.6", False),
        ("1.15.1", True),
        ("1.15.2", False),
        ("1.16.0", False),
        ("1.21.2", False),
        ("2.0.0", False),
    ],
)
def test_which_versions_read_the_leases_themselves_to_list_them(version: str, *, values: bool) -> None:
    assert lease_lists.lists_values(version) is values


def test_a_list_that_is_too_large_is_a_refused_upgrade_with_its_numbers(tmp_path: Path) -> None:
    """And nothing is inconclusive: the words of Vault's log are evidence."""
    record, judgement = on_paper(STORY, tmp_path)
    (found,) = judgement.findings
    assert (found.kind, found.effect, found.rule, found.hop) == (
        "regression",
        "upgrade refused",
        "lease-list-too-large",
        "1.9.2",
    )
    assert "1,200 leases" in found.sentence
    assert "1,048,576" in found.sentence
    assert "1,043 bytes each" in found.sentence
    assert [line.source for line in found.evidence] == ["server"]
    assert (judgement.doubts, judgement.exit_code) == ((), 0)
    (made,) = record.of(LeasesChanged)
    assert (made.done, made.count) == ("made", 1200)


def test_the_same_leases_are_no_matter_to_a_version_that_lists_keys(tmp_path: Path) -> None:
    """But 1.7.0 declines to list them while it runs, and would not start again: an early warning."""
    goes = variant(STORY, vault={"target": "1.16.3"}, expect=None)
    record, judgement = on_paper(goes, tmp_path)
    (found,) = judgement.findings
    assert (found.kind, found.effect, found.rule, found.hop) == (
        "latent",
        "restart refused",
        "lease-list-too-large",
        "",
    )
    assert found.sentence.startswith("Vault 1.7.0 runs, and would seal itself at its next start")
    assert "1,200 leases" in found.sentence
    assert "1251600 vs. 1048576" in found.evidence[0].text
    assert judgement.exit_code == 0
    assert [(one.when, one.held) for one in record.of(LeasesSeen)] == [("made", 1200), ("started", 1200)]
    (seen,) = judgement.leases
    assert len(seen.seen) == 2


def test_so_few_leases_as_the_remedy_says_fit_and_one_tenth_more_does_not(tmp_path: Path) -> None:
    """What it says is the limit with a tenth to spare, and no other number."""
    _, judgement = on_paper(STORY, tmp_path / "story")
    (occasion,) = judgement.findings[0].remedies[0].occasions
    (step,) = occasion.steps
    assert isinstance(step, RevokeLeases)
    left = 1200 - step.count
    assert f"no more than {left:,} leases" in judgement.findings[0].remedies[0].words
    for count, fits in ((left, True), (round(left / 0.9) + 2, False)):
        _, judged = on_paper(variant(STORY, vault={"leases": count}, expect=[]), tmp_path / str(count))
        assert (not judged.findings) is fits


def test_it_is_foretold() -> None:
    (found,) = prediction.predict(loading.load(FILE)).findings
    assert (found.effect, found.cause, found.at) == ("upgrade refused", "lease-list-too-large", "1.9.2")


def test_leases_are_made_right_before_the_first_look() -> None:
    steps = started(STORY).plan.steps
    look = next(number for number, step in enumerate(steps) if isinstance(step, Look))
    assert steps[look - 1] == MakeLeases(count=1200)
    assert "make 1,200 leases" in report.render(plan.make(STORY, "story", "paper"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"vault": {"storage": "raft"}}, "storage raft has no such limit"),
        ({"vault": {"leases": 0}, "course": [{"revoke-leases": 5}]}, "there are no leases to revoke"),
        ({"course": [{"revoke-leases": 1201}]}, "1201 leases cannot be revoked: there are 1200 by then"),
        ({"course": [{"revoke-leases": "all"}, {"revoke-leases": 1}]}, "all 1200 leases are revoked by then"),
    ],
)
def test_what_cannot_be_said_of_leases(changes: dict[str, Any], words: str) -> None:
    document = json.loads(STORY.model_dump_json(by_alias=True, exclude_none=True))
    for name, value in changes.items():
        document[name] = {**document[name], **value} if isinstance(value, dict) else value
    if "course" in changes:
        del document["vault"]["target"]
    with pytest.raises(ScenarioError) as caught:
        loading.loads(json.dumps(document))
    assert words in str(caught.value)


# --- many requests over a few connections ---


@contextmanager
def answering(status: int) -> Iterator[tuple[str, list[str]]]:
    """Yield the address of a server that answers every request with a *status*, and what it was asked."""
    asked, numbers = list[str](), itertools.count()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            asked.append(self.path)
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = json.dumps({"auth": {"accessor": f"accessor-{next(numbers)}"}}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_PUT = do_DELETE = do_GET = answer  # noqa: N815 -- as http.server calls them

        def log_message(self, *_words: Any) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()


def test_what_clients_met_in_a_storm_is_told() -> None:
    met = (
        Met(kind="health", asked=31, failures={}, seconds=0.12),
        Met(kind="login", app="web", asked=9, failures={"HTTP 429": 2}, seconds=1.5),
    )
    stormed = LeasesChanged(
        done="revoked", version="1.9.2", wanted=200, count=200, failures={}, seconds=4.0, at_once=True, met=met
    )
    ((_, line),) = lease_report.told([Leases(changes=(stormed,), seen=())])
    assert line == (
        "200 revoked at once by Vault 1.9.2 in 4.0 s (50 a second); health meanwhile: 0.12 s at the longest without a "
        "grant (31 asked); login meanwhile: 1.50 s at the longest without a grant (9 asked, HTTP 429 2)"
    )


@pytest.mark.processes
def test_every_lease_is_asked_for_once_whoever_asks() -> None:
    with answering(200) as (address, asked):
        made = Vault(address, None, root=Secret("root")).make_leases(100)
    assert (len(set(made.accessors)), made.failures) == (100, {})
    assert sum(path == "/v1/auth/token/create-orphan" for path in asked) == 100
    assert asked[0] == "/v1/sys/audit/rehearsal"
    assert asked[-1] == "/v1/sys/audit/rehearsal"


@pytest.mark.processes
def test_nobody_asks_a_vault_100_000_times_that_refuses() -> None:
    with answering(200) as (address, _):
        vault = Vault(address, None, root=Secret("root"))
    with answering(503) as (address, asked):
        vault.address = address
        came = vault.revoke_leases([str(number) for number in range(100_000)])
    assert (came.accessors, set(came.failures)) == ((), {"HTTP 503"})
    assert len(asked) <= 8 * 50


def test_leases_that_cannot_all_be_made_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rehearsal with fewer than the scenario says would answer another question."""
    from harness.drivers.paper.leases import PaperLeases

    make = PaperLeases.make_leases
    monkeypatch.setattr(PaperLeases, "make_leases", lambda self, count: make(self, count - 1))
    _, judgement = on_paper(STORY, tmp_path)
    assert judgement.verdict == "inconclusive"
    assert any("of 1200 leases 1199 could be made" in reason for reason in judgement.reasons)


def test_times_between_messages_of_vaults_log() -> None:
    lines = [
        '{"@message":"vault is unsealed","@timestamp":"2026-11-26T16:08:03.100000Z"}',
        '{"@message":"post-unseal setup complete","@timestamp":"2026-11-26T16:08:03.350000Z"}',
        "panic: no JSON",
    ]
    entries = [entry for line in lines if (entry := leases._entry(line))]
    opened, active = leases._OPENED, "post-unseal setup complete"
    assert leases._between(entries, opened, active) == 0.25
    assert leases._between(entries, opened, "lease restore complete") is None
    # a Vault without standbys says that it is unsealed at the end
    began = {"@message": "post-unseal setup starting", "@timestamp": "2026-11-26T16:08:03.000000Z"}
    assert leases._between([began, *entries], opened, active) == 0.35
    # so few leases are in mind before it is active
    restored = {"@message": "lease restore complete", "@timestamp": "2026-11-26T16:08:03.200000Z"}
    assert leases._between([*entries, restored], (active,), "lease restore complete") == 0.0


def test_a_vault_without_leases_is_not_waited_for() -> None:
    assert not any(
        isinstance(step, MakeLeases) for step in plan.make(variant(STORY, vault={"leases": 0}), "s", "paper").steps
    )
    with pytest.raises(RigError, match="makes no leases"):
        leases_of(_NoLeases(), "")  # type: ignore[arg-type]


class _NoLeases:
    setup = object()

    def system(self, _vault: str) -> _NoLeases:
        return self


def test_the_plot_of_leases_by_number_shows_the_points_that_were_measured() -> None:
    points = bench.read()
    assert bench.PLOT.read_text(encoding="utf-8") == bench.plot(points)
    assert bench.plot(points).count("<circle") == sum(
        value is not None for one in points for value in (one.made, one.upgrade, one.revoked)
    )


def test_where_the_limit_is_met_is_on_the_line_through_the_points() -> None:
    assert bench.slope([1000, 2000, 4000], [5100, 10100, 20100]) == pytest.approx(5.0)
    whole, keys = bench.reached(bench.read())
    each = [int(re.findall(r"([\d,]+) bytes", line)[0].replace(",", "")) for line in (whole, keys)]
    assert each[0] == pytest.approx(lease_lists.whole_bytes("1.11.0"), rel=0.02)
    assert each[1] == pytest.approx(lease_lists.KEY_BYTES, rel=0.03)


GIVEN_UP = FOLDER / "leases" / "a-database-that-was-away.jsonl.gz"


def test_leases_that_vault_gave_up_to_revoke_are_told_out_of_a_real_record(tmp_path: Path) -> None:
    """The PostgreSQL of its database engine was away for 17 minutes; it is back, and one is irrevocable still."""
    judgement = verdict.judge(journal.load(unpacked(GIVEN_UP, tmp_path)))
    assert (judgement.driver, judgement.verdict) == ("local", "pass")
    assert [(one.version, one.irrevocable) for one in judgement.leases[0].seen] == [("1.9.2", 1), ("1.11.0", 1)]
    said = " ".join(text.render(judgement).split())
    assert "leases 1 irrevocable on Vault 1.11.0 (1 on Vault 1.9.2 when looked)" in said
    (found,) = judgement.findings
    assert (found.kind, found.effect, found.rule, found.hop) == (
        "latent",
        "leases irrevocable",
        "lease-irrevocable",
        "1.9.2",
    )
    assert "Why, nobody asked in this run" in found.sentence
    assert [one.commands for one in found.remedies] == [
        ("vault read sys/leases type=irrevocable", "vault lease revoke -sync <LEASE-ID>"),
        ("vault lease revoke -force -prefix database/creds/<ROLE>",),
    ]


@pytest.mark.parametrize(
    ("name", "hop", "begins"),
    [
        ("a-database-that-was-stopped", "1.9.2", "1 lease of database/ is irrevocable on Vault 1.9.2: "),
        (
            "a-database-that-was-stopped-before-an-upgrade",
            "1.11.0",
            "1 lease of database/ is irrevocable on Vault 1.11.0, after the upgrade to it: ",
        ),
    ],
)
def test_no_version_is_blamed_for_leases_whose_database_the_course_stopped(
    name: str, hop: str, begins: str, tmp_path: Path
) -> None:
    """Real runs: it was stopped for a quarter of an hour, before the upgrade or over it, and Vault said why."""
    record = journal.load(unpacked(GIVEN_UP.with_name(f"{name}.jsonl.gz"), tmp_path))
    judgement = verdict.judge(record)
    assert (judgement.driver, judgement.doubts) == ("local", ())
    assert [(one.kind, one.effect, one.rule, one.hop) for one in judgement.findings] == [
        ("regression", "requests refused", "database-away", "1.9.2"),
        ("latent", "leases irrevocable", "lease-irrevocable", hop),
    ]
    away, found = judgement.findings
    assert found.sentence.startswith(begins)
    assert "because the course had stopped it: that is what did it, and no version" in found.sentence
    assert (found.confidence, {line.source for line in found.evidence}) == ("certain", {"answer", "server"})
    assert any("out of retries: failed to revoke entry" in line.text for line in found.evidence)
    assert "Vault 1.11.0 started and was unsealed without it" in away.sentence
    # no id of a lease is kept
    assert not any(re.search(r"creds/batch/[A-Za-z0-9]{20}", str(one)) for one in record.of(LeasesSeen))


@pytest.mark.parametrize(("leased", "counts"), [(True, [2, 3]), (False, [])])
def test_what_vault_gave_up_is_counted_at_each_look_where_its_engines_have_leases(
    leased: bool, counts: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A number that is the same as before is no line of its own."""
    answers = iter([2, 2, 3])
    monkeypatch.setattr(
        PaperLeases, "irrevocable_leases", lambda _self: Reply(200, data={"lease_count": next(answers)})
    )
    secrets = {"database": {"type": "database", "roles": {"web": {}}}} if leased else {}
    vault = {"leases": 0, "storage": "raft", "max-receive-size": None, "source": "1.9.2", "target": None}
    course: list[dict[str, Any]] = [{"restart": {}}, {"look": {}}]
    wanted = variant(STORY, vault=vault, course=course, secrets=secrets, expect=None)
    record, judgement = on_paper(wanted, tmp_path)
    assert [(one.when, one.irrevocable) for one in record.of(LeasesSeen)] == [("looked", count) for count in counts]
    lines = [line for _, line in lease_report.told(judgement.leases)]
    assert lines == (["3 irrevocable on Vault 1.9.2 (2 on Vault 1.9.2 when looked)"] if leased else [])
    first = ("pre-existing", "", "2 leases are irrevocable on Vault 1.9.2")
    then = ("latent", "1.9.2", "1 more lease is irrevocable on Vault 1.9.2, after the restart")
    found = [(one.kind, one.hop, one.sentence.partition(":")[0]) for one in judgement.findings]
    assert found == ([then, first] if leased else [])
