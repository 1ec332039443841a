"""A run in one archive: judged anywhere as at home, without a secret, and never more than records read from it."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli.commands import main
from harness.scenario import loading
from harness.session import bundle
from tests.runs import OUTAGE, on_paper
from tests.test_real import SECRET_SHAPES, rehearse

CANARIES = (
    "eyJhbGciOiJSUzI1NiIs.eyJpc3MiOiJodHRwcyJ9.c2lnbmF0dXJlLW9mLWEtY2FuYXJ5",
    "hvs.CAESIKcanarycanarycanarycanary0123456789",
    "s.canarycanarycanarycanary",
    "-----BEGIN RSA PRIVATE KEY-----\nY2FuYXJ5Y2FuYXJ5\n-----END RSA PRIVATE KEY-----",
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return the directory of a run on paper, with a log."""
    directory = tmp_path / "run"
    on_paper(loading.load(OUTAGE).scenario, directory)
    (directory / "logs").mkdir()
    (directory / "logs" / "vault.log").write_text("a line of Vault's\n")
    return directory


def read(archive: Path) -> dict[str, bytes]:
    """Return what an archive holds, without the folder that all of it is in."""
    with tarfile.open(archive) as packed:
        files = [(member.name.partition("/")[2], packed.extractfile(member)) for member in packed if member.isfile()]
        return {name: content.read() for name, content in files if content is not None}


def test_a_bundle_is_judged_anywhere_as_at_home(run: Path, tmp_path: Path) -> None:
    """The same judgement, but for where the record is, once the run itself is gone."""
    archive = tmp_path / "one.tar.gz"
    done = CliRunner().invoke(main, ["bundle", str(run), "-o", str(archive)])
    assert done.exit_code == 0, done.stderr
    assert done.stdout.strip() == str(archive)
    home = CliRunner().invoke(main, ["judge", str(run), "-o", "json"])
    shutil.rmtree(run)
    away = CliRunner().invoke(main, ["judge", str(archive), "-o", "json"])
    assert away.exit_code == home.exit_code == 0
    assert json.loads(away.stdout) == json.loads(home.stdout) | {"run_directory": str(archive)}


def test_a_bundle_holds_what_an_expert_would_ask_for(run: Path, tmp_path: Path) -> None:
    archive = tmp_path / "one.tar.gz"
    bundle.pack(run, archive)
    held = read(archive)
    assert set(held) == {"MANIFEST.json", "record.jsonl", "report.json", "report.txt", "logs/vault.log"}
    assert held["record.jsonl"] == (run / "record.jsonl").read_bytes()
    manifest = json.loads(held["MANIFEST.json"])
    assert manifest["versions"]["vault"] == ["1.4.0", "1.7.0", "1.11.0"]
    assert {one["name"] for one in manifest["files"]} == set(held) - {"MANIFEST.json"}
    assert not any(one["redacted"] for one in manifest["files"])
    assert archive.stat().st_mode & 0o077 == 0


def test_the_same_run_gives_the_same_archive(run: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one.tar.gz", tmp_path / "two.tar.gz"
    bundle.pack(run, one)
    bundle.pack(run, two)
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize("canary", CANARIES, ids=["JWT", "hvs", "short token", "private key"])
def test_no_secret_leaves_in_a_bundle(canary: str, run: Path, tmp_path: Path) -> None:
    """One that got into a log, and one in a file of a proof: it is taken out, and that is said."""
    proof = run / "proofs" / "01-before"
    shutil.copytree(run / "logs", proof / "logs")
    shutil.copy(run / "record.jsonl", proof / "record.jsonl")
    for log in (run / "logs" / "vault.log", proof / "logs" / "vault.log"):
        log.write_text(f"before {canary} after\n")
    archive = tmp_path / "one.tar.gz"
    done = CliRunner().invoke(main, ["bundle", str(run), "-o", str(archive)])
    assert "logs/vault.log: something with the shape of a secret was taken out" in done.stderr
    for name, content in read(archive).items():
        assert canary.encode() not in content, name
        assert not SECRET_SHAPES.search(content), name


def test_a_secret_in_the_record_itself_is_taken_out_and_the_judge_says_that_it_was_changed(
    run: Path, tmp_path: Path
) -> None:
    file = run / "record.jsonl"
    file.write_text(file.read_text().replace('"permission denied"', f'"permission denied {CANARIES[1]}"'))
    archive = tmp_path / "one.tar.gz"
    manifest = bundle.pack(run, archive)
    assert {one.name for one in manifest.files if one.redacted} >= {"record.jsonl"}
    assert CANARIES[1].encode() not in b"".join(read(archive).values())
    judged = CliRunner().invoke(main, ["judge", str(archive), "-o", "json"])
    assert json.loads(judged.stdout)["verdict"] != "pass"


def test_links_are_not_followed(run: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("what is none of its business")
    (run / "logs" / "link.log").symlink_to(outside)
    archive = tmp_path / "one.tar.gz"
    bundle.pack(run, archive)
    assert "logs/link.log" not in read(archive)


def test_what_is_there_is_not_written_over(run: Path, tmp_path: Path) -> None:
    archive = tmp_path / "one.tar.gz"
    archive.write_text("mine")
    done = CliRunner().invoke(main, ["bundle", str(run), "-o", str(archive)])
    assert (done.exit_code, archive.read_text()) == (3, "mine")
    assert CliRunner().invoke(main, ["bundle", str(run), "-o", str(tmp_path / "one.zip")]).exit_code == 2
    assert CliRunner().invoke(main, ["bundle", str(tmp_path), "-o", str(tmp_path / "x.tar.gz")]).exit_code == 2


@pytest.mark.parametrize("name", ["x/../../evil", "/etc/evil", "x/proofs/../record.jsonl", "x/logs/evil"])
def test_nothing_but_records_is_read_from_an_archive(name: str, tmp_path: Path) -> None:
    """An archive of somebody's own: what it holds beside records is put nowhere."""
    archive = tmp_path / "evil.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        member = tarfile.TarInfo(name)
        member.size = 4
        packed.addfile(member, io.BytesIO(b"evil"))
    done = CliRunner().invoke(main, ["judge", str(archive)])
    assert done.exit_code == 2
    assert sorted(one.name for one in tmp_path.iterdir()) == ["evil.tar.gz"]


def test_what_is_no_archive_is_no_record(tmp_path: Path) -> None:
    file = tmp_path / "no.tar.gz"
    file.write_text("no archive")
    done = CliRunner().invoke(main, ["judge", str(file)])
    assert done.exit_code == 2
    assert "is no bundle of a run" in done.stderr


@pytest.mark.real
def test_a_real_run_leaves_in_a_bundle_without_a_secret(tmp_path: Path) -> None:
    """Its logs are those of real servers, and its judgement is the same away from home."""
    home = rehearse("run", OUTAGE, "-o", "json", "--run-dir", tmp_path / "run")
    assert home.returncode == 0, home.stderr
    archive = tmp_path / "one.tar.gz"
    assert rehearse("bundle", tmp_path / "run", "-o", archive).returncode == 0
    shutil.rmtree(tmp_path / "run")
    away = rehearse("judge", archive, "-o", "json")
    assert json.loads(away.stdout) == json.loads(home.stdout) | {"run_directory": str(archive)}
    held = read(archive)
    assert {name for name in held if name.startswith("logs/")}
    assert not any(SECRET_SHAPES.search(content) for content in held.values())
