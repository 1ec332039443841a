"""Audit devices: what cannot be said of them, who takes what they send, and what it means that one cannot write."""

from __future__ import annotations

import json
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from harness import wait
from harness.analysis import verdict
from harness.analysis.verdict import Judgement
from harness.drivers.kind import limits
from harness.errors import MissingPrerequisite, ScenarioError
from harness.host.receiver import Receiver, Transport
from harness.record import journal
from harness.record.audit_events import AuditSeen
from harness.reports import audit
from harness.scenario import loading, plan
from tests.runs import on_paper
from tests.test_completeness import renumbered
from tests.test_real import SECRET_SHAPES, rehearse
from tests.versions_at_hand import further

STORY: Final = Path(__file__).parent.parent / "scenarios" / "one-audit-device-on-a-full-disk-stops-every-login.yaml"
RECORD: Final = Path(__file__).parent / "records" / "format-2" / f"{STORY.stem}.jsonl"


def scenario(path: Path, devices: str, steps: str = "", target: str = "1.11.0", source: str = "1.7.0") -> Path:
    """Write a scenario with these audit devices and this course, and return its path."""
    head, _, rest = STORY.read_text().partition("  audit:\n")
    head = head.replace("source: 1.7.0", f"source: {source}")
    course = f"course:\n  - upgrade: {target}\n{steps}"
    path.write_text(f"{head}  audit:\n{devices}auth:\n{rest.partition('auth:')[2].partition('course:')[0]}{course}")
    return path


def judged(file: Path, directory: Path) -> Judgement:
    return on_paper(loading.load(file).scenario, directory / "run")[1]


def found(judgement: Judgement) -> list[tuple[str, str, str]]:
    return [(one.kind, one.effect, one.rule) for one in judgement.findings]


MAIN: Final = "    main: {type: file}\n"
SIEM: Final = "    siem: {type: socket, socket-type: unix}\n"


@pytest.mark.parametrize(
    ("devices", "steps", "says"),
    [
        ("    main: {type: socket, mode: '0600'}\n", "", "mode is of a device of type file"),
        ("    main: {type: file, enabled: false}\n", "", "no audit device is there from the start"),
        ("    main: {type: file, format: jsonx}\n", "", "no audit device writes JSON"),
        (MAIN, "  - audit-device: {other: full}\n", "there is no audit device 'other'"),
        (MAIN, "  - audit-device: {main: silent}\n", "an audit device of type file cannot be silent"),
        (SIEM, "  - audit-device: {siem: full}\n", "an audit device of type socket cannot be full"),
        (MAIN, "  - audit-device: {main: well}\n", "that is well cannot become so"),
        (MAIN, "  - audit-device: {main: enable}\n", "that is there cannot be enabled"),
    ],
)
def test_what_cannot_be_said_of_a_device_is_told_with_its_line(
    devices: str, steps: str, says: str, tmp_path: Path
) -> None:
    with pytest.raises(ScenarioError, match=re.escape(says)):
        loading.load(scenario(tmp_path / "wrong.yaml", devices, steps))


@pytest.mark.parametrize(
    ("device", "says"),
    [
        ("    host: {type: syslog}\n", "are files of this machine that no container has; --driver local has them"),
        ("    unix: {type: socket, socket-type: unix}\n", "a socket of type tcp or udp"),
    ],
)
def test_kind_says_beforehand_which_devices_it_has_not(device: str, says: str, tmp_path: Path) -> None:
    there = scenario(tmp_path / "one.yaml", MAIN + "    siem: {type: socket, socket-type: udp}\n")
    with pytest.raises(MissingPrerequisite, match="with kind there is a cluster, and this scenario has none"):
        limits.insist(plan.make(loading.load(there).scenario, "one", "kind"))
    wanted = loading.load(scenario(tmp_path / "other.yaml", MAIN + device)).scenario
    with pytest.raises(MissingPrerequisite, match=re.escape(says)):
        limits.insist(plan.make(wanted, "one", "kind"))


@pytest.mark.parametrize(
    ("devices", "steps", "expected"),
    [
        (MAIN, "  - audit-device: {main: full}\n", [("regression", "requests refused", "audit-device-blocked")]),
        (MAIN + SIEM, "  - audit-device: {siem: away}\n", [("latent", "audit entries lost", "audit-device-blocked")]),
        (MAIN + SIEM, "  - audit-device: {siem: away}\n  - audit-device: {siem: well}\n",
         [("latent", "audit entries lost", "audit-device-blocked")]),
        (MAIN + SIEM, "  - audit-device: {siem: disable}\n", []),
    ],
)  # fmt: skip
def test_a_device_that_cannot_write_is_a_finding_and_one_that_is_disabled_is_none(
    devices: str, steps: str, expected: list[tuple[str, str, str]], tmp_path: Path
) -> None:
    judgement = judged(scenario(tmp_path / "one.yaml", devices, steps), tmp_path)
    assert found(judgement) == expected
    assert judgement.doubts == ()


@pytest.mark.parametrize(
    ("devices", "target", "expected"),
    [
        ("    main: {type: file, mode: '0755'}\n", "1.20.0", []),
        ("    main: {type: file, mode: '0640'}\n", "1.21.2", []),
        ("    main: {type: file, mode: '0755'}\n", "1.21.2",
         [("regression", "upgrade refused", "audit-device-refused")]),
        ("    main: {type: file, mode: '0755'}\n" + SIEM, "1.20.1",
         [("latent", "audit entries lost", "audit-device-refused")]),
    ],
)  # fmt: skip
def test_a_file_that_could_be_run_is_no_audit_device_any_more(
    devices: str, target: str, expected: list[tuple[str, str, str]], tmp_path: Path
) -> None:
    judgement = judged(scenario(tmp_path / "one.yaml", devices, target=target, source="1.19.0"), tmp_path)
    assert found(judgement) == expected


def test_the_record_of_the_story_says_what_was_written_and_what_was_not() -> None:
    """The mode is as it was, one text has one hash, and nobody was answered while the only disk was full."""
    record = journal.load(RECORD)
    seen = {(one.moment, one.device): one for one in record.of(AuditSeen)}
    full, later = seen["after audit device main full", "main"], seen["after audit device main full (step 5)", "main"]
    assert {one.mode for (_, name), one in seen.items() if name == "main"} == {"0640"}
    assert len({one.hash for (_, name), one in seen.items() if name == "main" and one.hash}) == 1
    assert (full.status, full.written) == (500, 0)
    assert later.status == 200
    assert later.missing > later.written
    assert "no space left on device" in later.why or "file already closed" in later.why
    judgement = verdict.judge(record)
    refused = next(one for one in judgement.findings if one.effect == "requests refused")
    assert "audit/main (file, full)" in refused.sentence
    assert judgement.doubts == ()
    assert [line for line in audit.told(judgement.audits) if "more" in line[1]]


def _entry(line: dict[str, Any], change: Callable[[dict[str, Any]], None]) -> None:
    for entry in line.get("entries", {}).values():
        change(entry)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda one: _entry(one, lambda entry: entry["fields"].pop("auth.policies", None)),
         "has no auth.policies any more"),
        (lambda one: _entry(one, lambda entry: entry["fields"].update({"auth.client_token": "text"})),
         "auth.client_token is text, and was hmac"),
        (lambda one: _entry(one, lambda entry: entry["says"].update({"auth.display_name": "somebody"})),
         "is somebody, and was"),
        (lambda one: one.update(mode="0600"), "the mode of its file is 0600, and was 0640"),
        (lambda one: one.update(hash="hmac-sha256:another"), "one and the same text has another hash"),
    ],
)  # fmt: skip
def test_what_is_gone_or_otherwise_in_the_entries_is_latent(
    change: Callable[[dict[str, Any]], None], says: str, tmp_path: Path
) -> None:
    """In the record of a real run, with one thing of the first device after the upgrade changed."""

    def changed(line: dict[str, Any]) -> dict[str, Any]:
        if line["event"] == "audit-device" and line["moment"] == "after 1.11.0":
            change(line)
        return line

    shutil.copyfile(RECORD, tmp_path / journal.RECORD_FILE)
    judgement = renumbered(tmp_path, changed)
    one = next(one for one in judgement.findings if one.rule == "audit-entry-changed")
    assert (one.kind, one.effect, one.hop) == ("latent", "audit changed", "1.11.0")
    assert says in one.sentence
    assert one.remedy.startswith("Take the new entries to whatever reads them before the upgrade: parsers, ")


def test_what_is_otherwise_with_the_same_version_is_for_before_the_same_is_done(tmp_path: Path) -> None:
    """A step of the course did it, and not a hop: the last look at the device is one with the version before it."""
    last = "after audit device main well"

    def changed(line: dict[str, Any]) -> dict[str, Any]:
        if (line["event"], line.get("device"), line.get("moment")) == ("audit-device", "main", last):
            _entry(line, lambda entry: entry["fields"].pop("auth.policies", None))
        return line

    shutil.copyfile(RECORD, tmp_path / journal.RECORD_FILE)
    judgement = renumbered(tmp_path, changed)
    one = next(one for one in judgement.findings if one.rule == "audit-entry-changed")
    assert one.remedy.startswith("Take the new entries to whatever reads them before the same is done in production: ")


# --- who takes what they send


@pytest.fixture(params=["tcp", "udp", "unix", "datagrams"])
def receiver(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Receiver]:
    """Yield a receiver of each kind. The way to its file is longer than the address of a socket can be."""
    transport: Transport = request.param
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    one = Receiver(transport, port, deep / "it" if transport in ("unix", "datagrams") else None)
    yield one
    one.close()


def _connected(receiver: Receiver) -> socket.socket:
    stream = receiver.transport in ("tcp", "unix")
    family = socket.AF_INET if receiver.file is None else socket.AF_UNIX
    found = socket.socket(family, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM)
    found.settimeout(0.3)
    try:
        with receiver.address() as address:
            found.connect(address)
    except OSError:
        found.close()
        raise
    return found


def _received(receiver: Receiver, number: int) -> list[str]:
    lines: list[str] = []

    def came() -> bool:
        lines.extend(receiver.lines())
        return len(lines) >= number

    wait.until(came, what=f"{number} lines", seconds=5)
    return lines


def _twice(sender: socket.socket) -> None:
    """Send something: what is sent first may be on its way when nobody listens any more."""
    sender.sendall(b"lost\n")
    sender.sendall(b"lost\n")


def _lost(receiver: Receiver) -> None:
    with _connected(receiver) as sender:
        _twice(sender)


@pytest.mark.processes
def test_a_receiver_takes_lines_and_is_there_again_after_it_was_away(receiver: Receiver) -> None:
    with _connected(receiver) as sender:
        sender.sendall(b"one\ntwo\n")
        assert _received(receiver, 2) == ["one", "two"]
    receiver.away()
    with pytest.raises(OSError, match=r"refused|No such file"):
        _lost(receiver)
    receiver.well()
    with _connected(receiver) as sender:
        sender.sendall(b"three\n")
        assert _received(receiver, 1) == ["three"]


@pytest.mark.processes
def test_a_silent_receiver_lets_whoever_connects_wait(receiver: Receiver) -> None:
    if receiver.transport in ("udp", "datagrams"):
        receiver.silent()
        with _connected(receiver) as sender:
            sender.sendall(b"lost\n")
    else:
        with _connected(receiver) as sender:
            sender.sendall(b"one\n")
            assert _received(receiver, 1) == ["one"]
            receiver.silent()
            with pytest.raises(OSError, match=r"reset|[Bb]roken"):
                _twice(sender)
        with pytest.raises(OSError, match=r"timed out|temporarily unavailable"):
            _connected(receiver)
    receiver.well()
    assert receiver.lines() == []


# --- on real servers


@pytest.mark.real
def test_devices_of_every_kind_write_the_same_and_no_record_has_a_secret_of_theirs(tmp_path: Path) -> None:
    """Raw entries, a prefix, syslog and sockets, over an upgrade: nothing is missing, and no token is told."""
    devices = (
        "    raw: {type: file, log-raw: true, prefix: 'vault: ', mode: '0640'}\n"
        "    tcp: {type: socket, log-raw: true}\n"
        "    host: {type: syslog, tag: vault-a, facility: LOCAL0}\n"
        "    unix: {type: socket, socket-type: unix, hmac-accessor: false}\n"
    )
    steps = "  - audit-device: {raw: full, host: away}\n"
    file = scenario(tmp_path / "all.yaml", devices, steps, source="1.9.2")
    done = rehearse("run", file, "-o", "json", "--run-dir", tmp_path / "run")
    judgement = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert [one["effect"] for one in judgement["findings"]] == ["audit entries lost", "audit entries lost"]
    seen = [*journal.load(tmp_path / "run").of(AuditSeen)]
    before = [one for one in seen if one.moment in ("before", "after 1.11.0")]
    assert {one.device for one in before} == {"raw", "tcp", "host", "unix"}
    assert {one.missing for one in before} == {0}
    assert all(one.written > 5 and one.status == 200 and one.hash for one in before)
    kinds = {one.device: one.entries["read auth/token/lookup-self"].fields["auth.client_token"] for one in before}
    assert kinds == {"raw": "text", "tcp": "text", "host": "hmac", "unix": "hmac"}
    assert {one.mode for one in before if one.device == "raw"} == {"0640"}
    for path in (tmp_path / "run").rglob("*"):
        assert not path.is_file() or not SECRET_SHAPES.search(path.read_bytes()), path


WAY_BACK: Final = """\
schema: 1
description: What do entries of an audit file lack once the older version is back over the newer one's data?
vault: {{source: {old}, audit: {{main: {{type: file}}}}}}
auth: {{userpass: {{type: userpass, roles: {{alice: {{policies: [web]}}}}}}}}
apps: {{web: {{role: alice, reads: [secret/web]}}}}
course:
  - upgrade: {new}
  - roll-back: binary
"""


def _gone_back(old: str, new: str, driver: str, directory: Path) -> dict[str, Any]:
    """Return the judgement of a way there and back with one audit file."""
    directory.mkdir(exist_ok=True)
    file = directory / "back.yaml"
    file.write_text(WAY_BACK.format(old=old, new=new))
    done = rehearse("run", file, "--driver", driver, "-o", "json", "--run-dir", directory / driver)
    assert done.returncode == 0, done.stderr
    judgement: dict[str, Any] = json.loads(done.stdout)
    return judgement


@pytest.mark.parametrize(
    ("old", "new", "fewer"),
    [
        ("1.4.0", "1.7.0", 5),
        ("1.7.0", "1.9.3", 0),
        ("1.9.3", "1.11.0", 6),
        ("1.13.0", "1.16.3", 6),
        ("1.9.3", "1.16.3", 12),
    ],
)
def test_paper_foretells_which_fields_an_older_version_writes_no_more(
    old: str, new: str, fewer: int, tmp_path: Path
) -> None:
    """A field that came with the newer version is missing in the entries of the older one."""
    _, judgement = on_paper(loading.loads(WAY_BACK.format(old=old, new=new)).scenario, tmp_path)
    there, back = judgement.audits
    assert [len(one.more) for one in (there, back)] == [fewer, 0]
    assert (there.gone, back.gone) == ((), there.more)
    found = [(one.kind, one.effect, one.hop) for one in judgement.findings if one.rule == "audit-entry-changed"]
    assert found == [("latent", "audit changed", old)] * bool(fewer)
    mends = {one.remedy for one in judgement.findings if one.rule == "audit-entry-changed"}
    readers = f"Keep whatever reads the entries able to read those of Vault {old} until nobody goes back: parsers, "
    assert all(mend.startswith(readers) for mend in mends)


@pytest.mark.real
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("1.9.3", "1.11.0"),
        ("1.4.0", "1.7.0"),
        pytest.param("1.13.0", "1.16.3", marks=further("vault:1.13.0", "vault:1.16.3")),
    ],
)
def test_an_older_version_writes_no_field_that_came_later_as_foretold(old: str, new: str, tmp_path: Path) -> None:
    """What stands there more after the upgrade is gone after the way back, field by field as on paper."""
    real, paper = (_gone_back(old, new, driver, tmp_path) for driver in ("local", "paper"))
    changes = [
        [(one["moment"], one.get("more", []), one.get("gone", [])) for one in each["audits"]] for each in (real, paper)
    ]
    assert changes[0] == changes[1]
    (found,) = [one for one in real["findings"] if one["rule"] == "audit-entry-changed"]
    assert (found["kind"], found["effect"], found["hop"]) == ("latent", "audit changed", old)
    assert found["sentence"] == next(one for one in paper["findings"] if one["rule"] == found["rule"])["sentence"]
