"""What users bring themselves is what it is said to be, stays what it was, and never becomes anybody else's."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import msgspec
import platformdirs
import pytest
from click.testing import CliRunner, Result

from harness import settings
from harness.artifacts import brought, images
from harness.artifacts.brought import Brought
from harness.artifacts.images import VAULT
from harness.artifacts.store import Sources, Store, cached
from harness.cli import bring, commands
from harness.clients.container_engine import Engine
from harness.errors import HarnessError, MissingPrerequisite, RigError
from harness.record.events import AnyEvent, ArtifactUsed, MomentBegan, Trouble
from harness.scenario import loading, plan
from harness.session import one_rehearsal
from harness.session.one_rehearsal import Options, Places, Rehearsed
from tests.runs import OUTAGE
from tests.test_artifacts import Mirror, executable, mirror, script
from tests.test_images import VERSION, Registry, Shop, machine, registry, sells

__all__ = ["machine", "mirror", "registry"]

LICENCE = "02MV4UU43BK5HGYYTOJZWFQMTMNNEWU33JLJVFMM2NGBUGYNLEJTTDGTBT"


def tool(*words: str | Path) -> Result:
    return CliRunner().invoke(commands.main, [str(word) for word in words], standalone_mode=False)


# --- what the command line says ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--binary", "vault:1.15.6", "PRODUCT:VERSION=PLACE"),
        ("--binary", "=", "PRODUCT:VERSION=PLACE"),
        ("--binary", "vault:1.15.6=", "PRODUCT:VERSION=PLACE"),
        ("--binary", "valut:1.15.6=/x", "there is no product 'valut'"),
        ("--binary", "vault:1.15=/x", "'1.15': a version has three numbers"),
        ("--binary", "vault:../../x=/x", "a version has three numbers"),
        ("--binary", "go:1.26.0=/x", "there is no product 'go'"),
        ("--image", "kube-apiserver:1.32.0=x", "there are node, openbao, vault"),
        ("--binary", "vault:1.11.1=/x", "--binary vault:1.11.1: nothing here needs that"),
        ("--image", "vault:1.11.0=x", "--image vault:1.11.0: nothing here needs that"),  # of the process driver
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(option: str, value: str, said: str) -> None:
    for words in (("run", OUTAGE), ("artifacts", "fetch", OUTAGE)):
        done = tool(*words, option, value)
        assert done.exception is not None
        assert said in str(getattr(done.exception, "message", done.exception))
        assert getattr(done.exception, "exit_code", None) == 2


def test_one_version_cannot_be_two_files() -> None:
    done = tool("run", OUTAGE, "--binary", "vault:1.11.0=/a", "--binary", "vault:1.11.0=/b")
    assert "named twice, as /a and /b" in str(getattr(done.exception, "message", ""))


def test_what_is_brought_is_repeated_as_words_and_crosses_processes() -> None:
    """A path may hold spaces and equals signs; a run of several hands them on, and a record says how to repeat it."""
    given = Brought(
        (("vault", "1.11.0", Path("/opt/my vault=1/vault")),), (("vault", "1.11.0", "r.example.com/v:1"),), Path("/l")
    )
    assert pickle.loads(pickle.dumps(given)) == given
    words = [word.partition("=")[2] for word in given.words()]
    assert bring.of(words[:1], words[1:2], Path(words[2])) == given
    repeat = Options(brought=given).repeat("a.yaml")
    assert "'--binary=vault:1.11.0=/opt/my vault=1/vault'" in repeat
    assert "--licence-file=/l" in repeat


def test_a_relative_path_is_that_of_whoever_named_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert bring.of(["vault:1.11.0=here/vault"], [], None).binaries[0][2] == tmp_path / "here" / "vault"


def test_what_a_plan_needs_is_no_surprise_on_kind() -> None:
    """Of a Vault's binary its image is made, of Kubernetes' a node's; of a node's other parts nobody knows yet."""
    loaded = loading.load(OUTAGE)
    made = plan.make(loaded.scenario, loaded.name, "kind").artifacts
    here = [("vault", "1.11.0", Path("/v")), ("kubernetes", "1.32.0", Path("/k")), ("etcd", "3.6.1", Path("/e"))]
    assert Brought(tuple(here), (("node", "1.32.0", "n"),)).unused(made) == []
    other = Brought((("vault", "1.11.1", Path("/v")),), (("node", "1.31.0", "n"),))
    assert other.unused(made) == ["--binary vault:1.11.1", "--image node:1.31.0"]


# --- binaries ---------------------------------------------------------------------------------------------------------


def store(cache: Path, path: Path, told: list[str] | None = None) -> Store:
    lines = told if told is not None else []
    return Store(Sources(cache, offline=True, own={("vault", VERSION): path}), lines.append)


@pytest.mark.processes
def test_a_binary_of_the_users_is_used_where_it_is_and_never_kept(tmp_path: Path) -> None:
    binary = executable(tmp_path / "own" / "vault", f"#!/bin/sh\necho 'Vault v{VERSION} (0123abc)'\n")
    kept = store(tmp_path / "cache", binary)
    (got,) = kept.get_all([("vault", VERSION)])

    assert (got.path, got.sha256) == (binary, hashlib.sha256(binary.read_bytes()).hexdigest())
    assert got.source == f"brought by the user: {binary}"
    assert kept.get("vault", VERSION) is got
    assert cached(tmp_path / "cache") == []
    assert not (tmp_path / "cache").exists()


@pytest.mark.processes
def test_a_binary_of_the_users_goes_before_the_caches(mirror: Mirror, tmp_path: Path) -> None:
    """And what others get out of the cache is not touched by it."""
    sells(mirror, "theirs")
    sources = {"mirror": mirror.url, "insecure_mirror": True}
    theirs = Store(Sources(tmp_path / "cache", **sources), lambda _: None).get("vault", VERSION)  # type: ignore[arg-type]
    own = executable(tmp_path / "vault", f"#!/bin/sh\necho 'Vault v{VERSION} (ours)'\n")

    assert store(tmp_path / "cache", own).get("vault", VERSION).path == own
    again = Store(Sources(tmp_path / "cache", offline=True), lambda _: None).get("vault", VERSION)
    assert again == theirs


def refusal(path: Path, cache: Path) -> str:
    with pytest.raises(MissingPrerequisite) as refused:
        store(cache, path).get("vault", VERSION)
    return str(refused.value)


@pytest.mark.processes
def test_what_is_no_such_binary_is_refused_with_a_sentence(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    missing = tmp_path / "none"
    assert refusal(missing, cache) == (
        f"vault {VERSION} was to be {missing} (--binary), and that cannot be read: No such file or directory; name the "
        "file itself"
    )
    assert "that is a directory; name the file itself" in refusal(tmp_path, cache)
    os.mkfifo(tmp_path / "pipe")
    assert "that is no file" in refusal(tmp_path / "pipe", cache)
    plain = tmp_path / "plain vault"
    plain.write_bytes(script(f"Vault v{VERSION}"))
    assert f"may not read and execute it: chmod u+rx '{plain}'" in refusal(plain, cache)
    other = executable(tmp_path / "other", "#!/bin/sh\necho 'Vault v1.14.6 (abc)'\n")
    assert f"vault {VERSION} was brought as {other}, but to 'version' it answers 'Vault v1.14.6 (abc)'" in refusal(
        other, cache
    )
    dead = executable(tmp_path / "dead", f"#!/bin/sh\necho 'Vault v{VERSION}'\nexit 3\n")
    assert "(status 3): not used" in refusal(dead, cache)
    foreign = executable(tmp_path / "foreign", "\x7fELF of another machine")
    assert "does not run" in refusal(foreign, cache)


def test_a_binary_that_a_pod_would_not_see_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Vault in a pod has a /run of its own, and the binary is not in that."""
    monkeypatch.setattr(brought, "_POD_HIDES", (str(tmp_path / "run"),))
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "run")
    executable(tmp_path / "run" / "vault", f"#!/bin/sh\necho 'Vault v{VERSION}'\n")
    for folder in ("run", "link"):
        assert "sees nothing below /run" in refusal(tmp_path / folder / "vault", tmp_path / "cache")


@pytest.mark.processes
def test_a_binary_that_changes_is_found_out_before_and_after_a_start(tmp_path: Path) -> None:
    """Replaced, written to, or gone; a link to it, or another time of access, is no change."""
    binary = executable(tmp_path / "vault", f"#!/bin/sh\necho 'Vault v{VERSION}'\n")
    got = brought.take("vault", VERSION, binary)
    (tmp_path / "link").hardlink_to(binary)
    started = []
    with brought.steady(got):
        started.append("as it was")

    def replace() -> None:
        executable(tmp_path / "new", f"#!/bin/sh\necho 'Vault v{VERSION}' \n").replace(binary)

    with pytest.raises(RigError, match="was changed during the run, so nobody knows what ran"), brought.steady(got):
        replace()
    with pytest.raises(RigError, match="was changed during the run"), brought.steady(got):
        started.append("never")
    # whatever came of the start: it is not known of what it came
    fresh = brought.take("vault", VERSION, binary)

    def end() -> None:
        binary.write_text("#!/bin/sh\nexit 1\n")
        raise HarnessError("the server ended by itself")

    with pytest.raises(RigError, match="was changed during the run"), brought.steady(fresh):
        end()
    last = brought.take("vault", VERSION, executable(binary, f"#!/bin/sh\necho 'Vault v{VERSION}'\n"))
    with pytest.raises(RigError, match="went away during the run"), brought.steady(last):
        binary.unlink()
    assert started == ["as it was"]


# --- the licence ------------------------------------------------------------------------------------------------------


def test_a_licence_comes_from_a_file_or_from_where_vault_itself_looks(tmp_path: Path) -> None:
    file, other = tmp_path / "vault.hclic", tmp_path / "other.hclic"
    file.write_text(f"{LICENCE}\n")
    other.write_text("another licence")

    def got(named: Path | None, **environment: str) -> str | None:
        found = brought.licence(named, environment)
        return found.reveal() if found else None

    assert got(None) is None
    assert got(file, VAULT_LICENSE="x" * 20, VAULT_LICENSE_PATH=str(other)) == LICENCE
    assert got(None, VAULT_LICENSE=LICENCE, VAULT_LICENSE_PATH=str(other)) == LICENCE
    assert got(None, VAULT_LICENSE_PATH=str(other)) == "another licence"


def test_a_licence_that_is_none_is_refused_without_its_content(tmp_path: Path) -> None:
    file = tmp_path / "vault.hclic"
    for content, said in ((b"", "it is empty"), (b"\xff\xfe", "it is no text"), (b"x" * 70000, "it is too large")):
        file.write_bytes(content)
        with pytest.raises(MissingPrerequisite, match=said):
            brought.licence(file, {})
    with pytest.raises(MissingPrerequisite, match="No such file or directory"):
        brought.licence(tmp_path / "none", {})


def test_doctor_examines_what_is_brought(tmp_path: Path) -> None:
    from harness.maintenance import doctor

    own = Brought((("vault", VERSION, tmp_path / "none"),), (("vault", VERSION, "x:1"),), tmp_path / "licence")
    lines = list(doctor.examine_brought(own, dict(os.environ)))
    assert [(line.name, line.state) for line in lines] == [
        (f"vault {VERSION}", "lacking"), (f"image of vault {VERSION}", "lacking"), ("licence", "lacking"),
    ]  # fmt: skip
    assert "No such file" in lines[0].says
    (tmp_path / "licence").write_text(LICENCE)
    (fine,) = doctor.examine_brought(Brought(licence_file=tmp_path / "licence"), {})
    assert (fine.state, LICENCE in fine.says) == ("fine", False)


# --- real servers -----------------------------------------------------------------------------------------------------


def place_of(version: str) -> Path:
    """Return the real binary of *version* in the user's cache."""
    return Store(Sources(Path(platformdirs.user_cache_dir("rehearse"))), print).get("vault", version).path


def rehearsed(directory: Path, own: Brought, scenario: Path = OUTAGE, follow: Any = lambda _: None) -> Rehearsed:
    places = Places(settings.cache(), directory / "state", directory / "tmp", dict(os.environ))
    places.temporary.mkdir()
    return one_rehearsal.rehearse_one(loading.load(scenario), Options(brought=own), places, follow=follow)


@pytest.mark.real
def test_a_copy_of_a_real_vault_rehearses_as_the_caches_does(tmp_path: Path) -> None:
    """Its digest is in the record and the judgement; the cache has nothing of it."""
    own = tmp_path / "own" / "vault"
    own.parent.mkdir()
    shutil.copy(place_of("1.11.0"), own)
    before = {one.version: one.made for one in cached(settings.cache())}
    done = rehearsed(tmp_path, Brought((("vault", "1.11.0", own),)))

    assert done.judgement.as_expected
    assert [finding.rule for finding in done.judgement.findings] == ["reviewer-fallback-local"]
    (used,) = [one for one in done.record.of(ArtifactUsed) if (one.product, one.version) == ("vault", "1.11.0")]
    assert used.sha256 == hashlib.sha256(own.read_bytes()).hexdigest()
    assert used.source == f"brought by the user: {own}"
    assert f"--binary=vault:1.11.0={own}" in done.judgement.repeat
    assert {one.version: one.made for one in cached(settings.cache())} == before


@pytest.mark.real
def test_a_vault_that_is_replaced_in_mid_run_is_nobodys_verdict(tmp_path: Path) -> None:
    """Between the questions and the hop somebody installs another one in its place: inconclusive, and says so."""
    own = tmp_path / "vault"
    shutil.copy(place_of("1.11.0"), own)

    def replace(event: AnyEvent) -> None:
        if isinstance(event, MomentBegan) and event.number == 0:
            other = tmp_path / "new"
            shutil.copy(place_of("1.9.3"), other)
            other.replace(own)

    done = rehearsed(tmp_path, Brought((("vault", "1.11.0", own),)), follow=replace)
    assert (done.judgement.verdict, done.judgement.exit_code) == ("inconclusive", 4)
    (trouble,) = done.record.of(Trouble)
    assert trouble.kind == "ours"
    assert f"{own}, brought as vault 1.11.0, was changed during the run, so nobody knows what ran" in trouble.message


ENTERPRISE = """\
#!/bin/sh
# Calls itself an Enterprise, and writes down what it was handed.
if [ "$1" = version ]; then echo 'Vault v1.11.0+ent (0123abc)'; exit; fi
cat "$VAULT_LICENSE_PATH" > {proof}
exec {real} "$@"
"""


@pytest.mark.real
@pytest.mark.parametrize("by", ["file", "environment"])
def test_a_licence_reaches_the_servers_that_want_one_and_nothing_else(
    by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real Vault behind a script that calls itself an Enterprise: no record, log or command line has the licence."""
    proof, licence = tmp_path / "proof", tmp_path / "licence.hclic"
    licence.write_text(LICENCE)
    own = executable(tmp_path / "vault", ENTERPRISE.format(proof=proof, real=place_of("1.11.0")))
    scenario = tmp_path / "enterprise.yaml"
    scenario.write_text(OUTAGE.read_text().replace("target: 1.11.0", "target: 1.11.0+ent").partition("expect:")[0])
    if by == "environment":
        monkeypatch.setenv("VAULT_LICENSE", LICENCE)
    given = Brought((("vault", "1.11.0+ent", own),), (), licence if by == "file" else None)
    done = rehearsed(tmp_path, given, scenario)

    assert [finding.rule for finding in done.judgement.findings] == ["reviewer-fallback-local"]
    assert proof.read_text() == LICENCE
    written = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
    assert any(path.name == "record.jsonl" for path in written)
    assert not [path for path in written if LICENCE.encode() in path.read_bytes()]
    assert LICENCE not in json.dumps(msgspec.to_builtins(done.judgement))
    assert not list((tmp_path / "tmp").iterdir())


# --- images -----------------------------------------------------------------------------------------------------------


@pytest.mark.kind
def test_an_image_of_the_users_binary_is_theirs_alone(
    machine: Engine, mirror: Mirror, registry: Registry, tmp_path: Path
) -> None:
    """It goes before the vendor's, and who brings nothing gets nothing of it, whatever the cache has lost."""
    registry.publish(VERSION)
    own = executable(tmp_path / "vault", f"#!/bin/sh\necho 'Vault v{VERSION} (ours)'\n")
    kept = store(tmp_path / "cache", own)
    mine = images.Images(machine, kept, tmp_path / "cache", lambda _: None, registry.prefix)
    made = mine.get(VAULT, VERSION)
    digest = hashlib.sha256(own.read_bytes()).hexdigest()
    assert made.source == f"made here of vault {VERSION} (brought by the user: {own}, sha256 {digest})"
    assert mine.get(VAULT, VERSION) == made
    assert not [path for path in registry.asked if "manifests" in path]

    assert "is not available" in Shop(machine, tmp_path / "empty", None, offline=True).refusal()
    sells(mirror, "theirs")
    assert Shop(machine, tmp_path / "other", mirror, "127.0.0.1:1").images.get(VAULT, VERSION).id != made.id


@pytest.mark.kind
def test_an_image_of_the_users_is_asked_for_its_version(machine: Engine, tmp_path: Path) -> None:
    """A real Vault's image under a name of the user's: right, of another version, not there, and without a Vault."""
    cache = settings.cache()
    real = images.Images(machine, Store(Sources(cache, offline=True), print), cache, print, offline=True)
    theirs = real.get(VAULT, "1.7.0")
    named = {(VAULT, version): theirs.name for version in ("1.7.0", "1.8.0")} | {(VAULT, "1.9.2"): "rehearse.test/no:1"}
    shop = Shop(machine, tmp_path, None, offline=True, own=named)

    got = shop.images.get(VAULT, "1.7.0")
    assert (got.id, got.source) == (theirs.id, f"brought by the user: {theirs.name}")
    said = shop.refusal(version="1.8.0")
    assert said.startswith(
        f"vault-image 1.8.0 was to be {theirs.name} (--image), but its /bin/vault answers 'Vault v1.7.0"
    )
    assert "no registry is asked while offline" in shop.refusal(version="1.9.2")
    assert not [thing for thing in machine.leftovers("trial") if thing.kind == "container"]
