"""A record is append-only, private, whole line by line, free of secrets, and reads back as it was written."""

from __future__ import annotations

import gc
import json
import os
import re
import stat
import threading
import typing
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from harness.record import events
from harness.record import journal as journals
from harness.record.audit_events import Audited, AuditSeen
from harness.record.database_events import DatabaseChanged
from harness.record.event import Event
from harness.record.events import AnyEvent, MomentBegan, RunEnded, RunStarted
from harness.record.foretold import Foretold, ForetoldAnswer
from harness.record.journal import Journal, NotARecord
from harness.record.lease_events import LeasesChanged, LeasesSeen
from harness.record.node_events import (
    EvictionTried,
    LeaderChanged,
    LeftToKubelet,
    NodeLost,
    NodeSeen,
    NodesSeen,
    NodeSwapped,
    PodSeen,
    QuorumLost,
    SteadyLoad,
)
from harness.record.observation import Observation
from harness.record.storage_events import StorageChanged
from harness.scenario import loading
from harness.scenario.plan import Question
from harness.secret import Secret, fingerprint
from tests.runs import OUTAGE, started

EVENTS: list[AnyEvent] = [
    started(loading.load(OUTAGE).scenario),
    Foretold(
        answers=(
            ForetoldAnswer(
                probe="login", moment="before", answer="refused", status=403, app="web", mount="kubernetes",
                reviewer="nobody", cause="reviewer-frozen",
            ),
        ),
    ),
    events.ArtifactUsed(product="vault", version="1.7.0", source="cache", sha256="ab" * 32, note="built"),
    events.PhaseEnded(name="cluster apps serves", seconds=3.25),
    events.ClusterUp(cluster="apps", version="1.32.0", issuer="https://kubernetes.default.svc.cluster.local"),
    events.SourceState(made_by="run-1", made=1.0, served=1, why_not="its course changes a cluster (grant)"),
    events.ClusterChanged(cluster="apps", version="1.32.0", issuers=("https://new", "https://old")),
    events.TokenIssued(
        token="secret:0123456789ab", cluster="apps", subject="system:serviceaccount:apps:web", purpose="app:web",
        pod="app-web", pod_uid="uid", jti="jti", issuer="issuer", audiences=("a", "b"), issued=1.5, expires=3601.5,
    ),
    events.AuthEnabled(mount="approle", accessor="auth_approle_1", kind="approle", version="1.7.0"),
    events.CredentialsMade(mount="approle", role="web", secret="secret:0123456789ab", version="1.7.0"),
    events.ConfigWritten(
        mount="kubernetes", accessor="auth_kubernetes_1", version="1.4.0", token_file=True,
        fields={"kubernetes_host": "https://127.0.0.1:1", "disable_local_ca_jwt": False},
    ),
    events.RoleWritten(mount="kubernetes", role="web", version="1.4.0", fields={"policies": ["web"], "ttl": 3600}),
    events.Rewritten(mount="kubernetes", role="web", version="1.9.2", status=400, error="no", before={"ttl": 3600}),
    events.VaultServing(asked="1.7.0", answered="1.7.0", purpose="before", token_file=True),
    events.PodReplaced(cluster="platform", old_pod="vault-0", old_uid="1", new_pod="vault-0", new_uid="2"),
    events.OldTokenRefused(cluster="platform", pod="vault-0", seconds=10.5),
    events.StepEnded(do="roll-back", number=3, version="1.7.0", seconds=2.5),
    events.LateWritten(secret="secret/data/late", roles=("auth/kubernetes/role/late",), apps=("web",)),
    events.Renewals(app="web", version="1.11.0", asked=9, failures={"no answer": 2}, seconds=0.4, renewed=True),
    NodesSeen(when="formed", leader="vault-0", nodes={"vault-0": NodeSeen(state="active", voter=True)}),
    LeaderChanged(node="vault-1", version="1.11.0", before="vault-0", before_version="1.7.0", seconds=0.8),
    NodeSwapped(
        node="vault-1", version="1.11.0", from_version="1.7.0", was="standby", answered=0.5, unsealed=0.7, rejoined=0.9
    ),
    NodeLost(node="vault-1", version="1.11.0", message="it is not initialised", log=("last words",)),
    EvictionTried(node="vault-0", during="vault-1", status=429, message="it would violate the budget"),
    QuorumLost(version="1.11.0", alive=("vault-0",), needed=2),
    LeftToKubelet(
        version="1.9.2", step=2, pod=PodSeen(ready=False, restarts=1, waiting="CrashLoopBackOff"), mended=("start",),
        seconds=8.5, waited=8.5, then=PodSeen(ready=True, restarts=2),
    ),
    SteadyLoad(kind="login", app="web", version="1.11.0", asked=9, failures={"no answer": 2}, seconds=0.4),
    LeasesChanged(done="made", version="1.7.0", wanted=9, count=8, failures={"HTTP 500": 1}, seconds=0.4),
    LeasesSeen(when="started", version="1.9.2", held=8, found=8, active=0.1, restored=0.2, memory=10**8, stored=10**6),
    AuditSeen(
        moment="before", device="main", kind="file", status=200, seconds=0.1, written=12, mode="0600", hash="hmac:0a",
        entries={"update auth/kubernetes/login": Audited(fields={"auth.policies": "list"}, says={"role": "web"})},
    ),
    StorageChanged(
        what="lose-leader", storage="etcd", version="1.11.0", during="upgrade", moment="after 1.11.0", members=3,
        running=2, serves=True, member="etcd-1", leader="etcd-2", seconds=1.5,
    ),
    DatabaseChanged(what="stop", engines=("database",), version="1.9.2", moment="after database stop", seconds=0.1),
    events.MomentBegan(moment="after 1.11.0", version="1.11.0", token_file=True),
    Observation(
        id=7, probe="login", moment="before", version="1.7.0", answer="refused", app="web", mount="kubernetes",
        item="x", must_be="refused", status=403, error="permission denied — Ⅷ", latency_ms=1.25, started=1.0, ended=2.0,
        correlation="rehearsal-000007", blocked_by=3, subject="system:serviceaccount:apps:web",
        detail={"policies": ["web"], "nested": {"deep": [1, None, True, "\u2028\x85"]}},
    ),
    events.VaultAuditLine(moment="before", entry={"request": {"headers": {"x-rehearsal-id": ["rehearsal-000007"]}}}),
    events.VaultLogLine(moment="before", level="debug", module="auth", message="login unauthorized", fields={"e": 1}),
    events.ApiAuditLine(moment="before", cluster="apps", entry={"responseStatus": {"code": 401}}),
    events.ApiLogLine(moment="before", cluster="apps", message='E0314 "Unable to authenticate the request"'),
    events.Trouble(kind="died", during="hop to 1.11.0", after_swap="1.11.0", message="it ended", log=("a", "b")),
    events.ProofsBegun(
        proofs={
            "01-before": events.Proves(
                rule="reviewer-fallback-local",
                mount="kubernetes",
                questions=(Question("login", "web", "kubernetes"),),
                remedy=0,
                words="Write the whole config again.",
                timing="before",
                moment="before",
                applied="after write to kubernetes",
                version="1.7.0",
            )
        }
    ),
    events.Kept(hints=("export VAULT_ADDR=x", "rehearse clean")),
    events.RunEnded(left_behind="a directory"),
]  # fmt: skip


def stamped(event: AnyEvent, at: float) -> AnyEvent:
    return event if isinstance(event, Observation) else msgspec.structs.replace(event, at=at)


def written(directory: Path, events: list[AnyEvent]) -> Path:
    """Write a record of *events* and return its file."""
    with Journal.opened(directory) as journal:
        for event in events:
            journal.write(event)
    return directory / journals.RECORD_FILE


def as_format_1(file: Path) -> None:
    """Make the record in *file* one of format 1, whose lines have no numbers."""
    text = re.sub(rb',"n":\d+(,"lines":\d+,"sha256":"[0-9a-f]+")?\}\n', b"}\n", file.read_bytes())
    file.write_bytes(text.replace(b'"record_version":2', b'"record_version":1', 1))


@pytest.fixture
def open_umask() -> Iterator[None]:
    """Let every bit through, so that only what the journal asks for keeps others out."""
    before = os.umask(0)
    yield
    os.umask(before)


def test_there_is_a_sample_of_every_kind_of_event() -> None:
    """A new kind of event is not forgotten in the tests below."""
    assert [type(event) for event in EVENTS] == list(typing.get_args(AnyEvent))


def test_every_kind_of_event_reads_back_as_it_was_written(tmp_path: Path) -> None:
    """In order, and to the last field; from the directory and from the file itself."""
    events = [stamped(event, 100.0 + number) for number, event in enumerate(EVENTS)]
    file = written(tmp_path / "run", events)
    assert journals.load(tmp_path / "run").events == tuple(events)
    assert journals.load(file).events == tuple(events)


def test_an_event_is_one_line_of_json_that_names_its_kind(tmp_path: Path) -> None:
    """Whatever its texts hold: other programs read records too."""
    lines = written(tmp_path, EVENTS).read_bytes().split(b"\n")
    assert lines.pop() == b""
    assert [json.loads(line)["event"] for line in lines] == [type(e).__struct_config__.tag for e in EVENTS]


def test_an_event_is_stamped_with_the_time_unless_it_carries_one(tmp_path: Path) -> None:
    kept = RunEnded(at=5.0)
    written(tmp_path, [EVENTS[0], MomentBegan(moment="before", version="1.7.0", token_file=True), kept])
    _, now, later = journals.load(tmp_path).of(Event)
    assert now.at > 1_600_000_000
    assert later == kept


def test_a_record_knows_its_start_and_whether_it_ended(tmp_path: Path) -> None:
    written(tmp_path / "whole", EVENTS)
    written(tmp_path / "cut", EVENTS[:-1])
    assert journals.load(tmp_path / "whole").ended
    assert not journals.load(tmp_path / "cut").ended
    assert journals.load(tmp_path / "cut").started.run_id == "test-run"
    assert [o.id for o in journals.load(tmp_path / "cut").of(Observation)] == [7]


def test_events_of_some_kinds_come_in_order_with_their_line_numbers(tmp_path: Path) -> None:
    """Also those that servers wrote, which are kept as lines; and a record made of events says the same."""
    happened = [stamped(event, 100.0 + number) for number, event in enumerate(EVENTS)]
    written(tmp_path, happened)
    kinds = (events.ApiLogLine, Observation, events.VaultAuditLine)
    wanted = [(number, event) for number, event in enumerate(happened, 1) if isinstance(event, kinds)]
    for record in (journals.load(tmp_path), journals.Record(happened)):
        assert list(record.numbered(*kinds)) == wanted
        assert [record.event(number) for number, _ in wanted] == [event for _, event in wanted]
        assert list(record.numbered(Event, Observation)) == list(enumerate(happened, 1))


def test_a_loaded_record_needs_its_file_no_more(tmp_path: Path) -> None:
    """Lines of servers are read when somebody asks for them, also after the file was moved or deleted."""
    file = written(tmp_path, [stamped(event, 100.0 + number) for number, event in enumerate(EVENTS)])
    whole = journals.load(tmp_path).events
    record = journals.load(tmp_path)
    file.unlink()
    assert record.events == whole


def test_a_loaded_record_leaves_no_file_open(tmp_path: Path) -> None:
    """It closes its file when it is gone, also where it could not be loaded."""
    file = written(tmp_path, EVENTS)
    open_files = Path("/proc/self/fd")
    before = len(list(open_files.iterdir()))
    assert journals.load(tmp_path).ended
    file.write_bytes(file.read_bytes().replace(b'"observation"', b'"never-heard-of"'))
    with pytest.raises(NotARecord):
        journals.load(tmp_path)
    assert len(list(open_files.iterdir())) == before


def test_a_record_that_is_written_over_while_it_is_judged_is_told(tmp_path: Path) -> None:
    """What a server said is then not what was loaded: no other line is taken for it."""
    file = written(tmp_path, EVENTS)
    record = journals.load(tmp_path)
    file.write_bytes(b"")
    with pytest.raises(journals.RecordChanged, match="judge it again, or a copy of it"):
        _ = record.events


def test_of_what_servers_wrote_the_slips_are_the_same_loaded_or_not(tmp_path: Path) -> None:
    """Each has its kind, and what finds its question: its header, or its time and place."""
    headers = {"request": {"headers": {"X-Rehearsal-Id": ["rehearsal-000007"]}}}
    happened: list[AnyEvent] = [
        stamped(EVENTS[0], 1.0),
        events.VaultAuditLine(at=2.0, moment="before", entry=headers),
        events.VaultAuditLine(at=2.0, moment="before", entry={"request": {}}),
        events.VaultLogLine(at=3.0, moment="before", level="info", module="auth.x", message="m"),
        events.ApiAuditLine(at=4.0, moment="before", cluster="apps", entry={"user": {}}),
        events.ApiLogLine(at=5.0, moment="before", cluster="apps", message="m"),
    ]
    written(tmp_path, happened)
    server_lines = list(journals.load(tmp_path).server_lines())
    assert server_lines == list(journals.Record(happened).server_lines())
    assert [(number, server_line.kind) for number, server_line in server_lines] == [
        (n, type(e)) for n, e in enumerate(happened[1:], 2)
    ]
    assert [server_line.correlation for _, server_line in server_lines] == ["rehearsal-000007", "", "", "", ""]
    assert [(server_line.at, server_line.cluster, server_line.module) for _, server_line in server_lines[2:]] == [
        (3.0, "", "auth.x"),
        (4.0, "apps", ""),
        (5.0, "apps", ""),
    ]


@pytest.mark.parametrize("searching", [True, False])
def test_whoever_wants_no_search_for_garbage_is_left_alone(searching: bool, tmp_path: Path) -> None:
    """Loading a record switches it off for a while, and then it is again as it was, also after an error."""
    before = gc.isenabled()
    (gc.enable if searching else gc.disable)()
    try:
        with pytest.raises(NotARecord):
            journals.load(tmp_path)
        assert gc.isenabled() is searching
    finally:
        (gc.enable if before else gc.disable)()


def test_no_secret_reaches_the_disk(tmp_path: Path) -> None:
    """Neither a known one, in whatever field and however escaped, nor what has the shape of one; nor in kept logs."""
    odd = 'qu"oted\\and-ünusual-value'
    jwt = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ3ZWIifQ.c2lnbmF0dXJlLW9mLW5vLXZhbHVl"
    Secret(odd)
    event = events.VaultLogLine(
        moment="before", level="debug", module="auth", message=f"refused {jwt}", fields={odd: [{"deep": odd}]}
    )
    with Journal.opened(tmp_path) as journal:
        journal.write(EVENTS[0])
        journal.write(event)
        journal.keep("vault.log", [f"first {odd}", f"second {jwt}"])
    _, seen = journals.load(tmp_path).events
    assert isinstance(seen, events.VaultLogLine)
    assert seen.fields == {fingerprint(odd): [{"deep": fingerprint(odd)}]}
    assert seen.message == f"refused {fingerprint(jwt)}"
    log = (tmp_path / "logs" / "vault.log").read_text()
    assert log == f"first {fingerprint(odd)}\nsecond {fingerprint(jwt)}\n"


@pytest.mark.usefixtures("open_umask")
def test_nobody_else_may_read_a_record(tmp_path: Path) -> None:
    """Files are 0600 and directories 0700, whatever the umask."""
    run = tmp_path / "run"
    with Journal.opened(run) as journal:
        journal.write(EVENTS[0])
        journal.keep("vault.log", ["a line"])
    modes = {path.relative_to(tmp_path): stat.S_IMODE(path.stat().st_mode) for path in [run, *run.rglob("*")]}
    assert {str(path): oct(mode) for path, mode in modes.items()} == {
        "run": "0o700",
        "run/record.jsonl": "0o600",
        "run/logs": "0o700",
        "run/logs/vault.log": "0o600",
    }


def test_a_record_is_never_written_over(tmp_path: Path) -> None:
    """A directory with a record is refused, and the record is as it was."""
    file = written(tmp_path, EVENTS)
    before = file.read_bytes()
    with pytest.raises(FileExistsError):
        Journal.opened(tmp_path)
    assert file.read_bytes() == before


def test_a_directory_that_is_there_without_a_record_is_used(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    written(tmp_path, EVENTS)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_writing_only_ever_appends(tmp_path: Path) -> None:
    """Each event is on disk when `write` returns, and what others put there in between is not lost."""
    file = tmp_path / journals.RECORD_FILE
    with Journal.opened(tmp_path) as journal:
        for event in EVENTS:
            before = file.read_bytes()
            journal.write(event)
            assert file.read_bytes().startswith(before)
            assert len(file.read_bytes()) > len(before)
            with file.open("ab") as other:
                other.write(b"\n")
    assert len(journals.load(tmp_path).events) == len(EVENTS)


def test_a_follower_is_told_everything_as_it_happens(tmp_path: Path) -> None:
    """Also after the end, when nothing is written any more."""
    told: list[AnyEvent] = []
    with Journal.opened(tmp_path, told.append) as journal:
        journal.write(stamped(EVENTS[0], 1.0))
        assert told == [stamped(EVENTS[0], 1.0)]
    journal.write(RunEnded(at=2.0))
    assert told[1:] == [RunEnded(at=2.0)]
    assert len(journals.load(tmp_path).events) == 1


def test_a_phase_is_written_down_however_it_ends(tmp_path: Path) -> None:
    def broken(journal: Journal) -> None:
        with journal.phase("broken"):
            raise RuntimeError("midway")

    with Journal.opened(tmp_path) as journal:
        journal.write(EVENTS[0])
        with pytest.raises(RuntimeError, match="midway"):
            broken(journal)
    (phase,) = journals.load(tmp_path).of(events.PhaseEnded)
    assert phase.name == "broken"
    assert phase.seconds >= 0


def test_a_last_line_that_was_cut_off_is_dropped_wherever_it_was_cut(tmp_path: Path) -> None:
    """A run that is killed while writing leaves a record of all it wrote before."""
    file = written(tmp_path, EVENTS[:12])
    content = file.read_bytes()
    last = content.rindex(b"\n", 0, -1) + 1
    for end in range(last, len(content) - 1):
        file.write_bytes(content[:end])
        assert len(journals.load(tmp_path).events) == 11
    file.write_bytes(content[:-1])
    assert len(journals.load(tmp_path).events) == 12


@pytest.mark.parametrize(
    "broken",
    [
        b'{"event": "run-ended", "at"',
        b"Traceback (most recent call last):",
        b'{"event": "never-heard-of"}',
        b'{"at": 1.0}',
        b'{"event": "phase", "name": "x", "seconds": "long"}',
        b'{"event": "phase", "name": "\xff\xfe", "seconds": 1}',
        b"[]",
    ],
)
@pytest.mark.parametrize("at", [2, 5])
def test_a_broken_line_in_an_old_record_is_named_by_its_number(tmp_path: Path, broken: bytes, at: int) -> None:
    """What follows it cannot be trusted, and without numbers nobody knows what is missing: it is not judged."""
    file = written(tmp_path, EVENTS)
    as_format_1(file)
    lines = file.read_bytes().split(b"\n")
    lines.insert(at - 1, broken)
    file.write_bytes(b"\n".join(lines))
    with pytest.raises(NotARecord, match=rf"record\.jsonl:{at}: this is no line of a record"):
        journals.load(tmp_path)


def test_a_whole_last_line_that_is_broken_was_not_cut_off(tmp_path: Path) -> None:
    file = written(tmp_path, EVENTS[:2])
    as_format_1(file)
    file.write_bytes(file.read_bytes() + b'{"event": "never-heard-of"}\n')
    with pytest.raises(NotARecord, match=r"record\.jsonl:3:"):
        journals.load(tmp_path)


@pytest.mark.parametrize("more", [b"", b'{"event": "of-the-future"}\n{"event": "run-ended"}\n'])
def test_a_record_of_a_newer_format_is_refused_with_what_would_help(tmp_path: Path, more: bytes) -> None:
    """Also where that format has events we have never heard of: these are not to blame."""
    start = msgspec.structs.replace(EVENTS[0], record_version=events.RECORD_VERSION + 1)
    file = written(tmp_path, [start])
    file.write_bytes(file.read_bytes() + more)
    with pytest.raises(NotARecord, match=r"has record format 3; this release reads up to 2: judge it with the release"):
        journals.load(tmp_path)


def test_a_newer_format_whose_first_line_is_another_is_refused_the_same(tmp_path: Path) -> None:
    (tmp_path / journals.RECORD_FILE).write_text('{"event":"run-started","record_version":9,"plan":"in other words"}\n')
    with pytest.raises(NotARecord, match="has record format 9"):
        journals.load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\n\n", b'{"event":"run-ended","at":1.0}\n', b'{"event":"run-star'])
def test_what_does_not_begin_with_a_start_is_no_record(tmp_path: Path, content: bytes) -> None:
    (tmp_path / journals.RECORD_FILE).write_bytes(content)
    with pytest.raises(NotARecord, match="does not begin with the start of a run"):
        journals.load(tmp_path)


def test_a_place_without_a_record_says_what_a_run_directory_holds(tmp_path: Path) -> None:
    """An empty directory, and a path that is not there."""
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(NotARecord, match=r"cannot be read: No such file .* A run directory holds a record\.jsonl"):
            journals.load(place)


def test_threads_that_write_at_once_write_whole_lines(tmp_path: Path) -> None:
    """Each line is there, none is torn, and each observation has a number of its own."""
    threads, each = 8, 30
    gate = threading.Barrier(threads)

    def write(journal: Journal, name: int) -> None:
        gate.wait()
        for number in range(each):
            text = f"{name}/{number} " + "x" * 9000
            seen = Observation(journal.next_id(), "login", "before", "1.7.0", "granted", error=text)
            journal.write(seen)

    with Journal.opened(tmp_path) as journal:
        journal.write(EVENTS[0])
        crew = [threading.Thread(target=write, args=(journal, name)) for name in range(threads)]
        for thread in crew:
            thread.start()
        for thread in crew:
            thread.join()
    seen = journals.load(tmp_path).of(Observation)
    assert sorted(o.id for o in seen) == list(range(1, threads * each + 1))
    assert {o.error.split()[0] for o in seen} == {f"{name}/{n}" for name in range(threads) for n in range(each)}


def test_the_first_event_is_the_start_of_the_run() -> None:
    """The samples begin like a record, or the tests above would not test records."""
    assert isinstance(EVENTS[0], RunStarted)
