"""The doctor finds what a rehearsal would run into, says what mends it, and changes nothing."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

import harness
from harness.artifacts import signatures
from harness.artifacts.go_builds import Go
from harness.clients.container_engine import INSTALL, Image
from harness.clients.engine_requirements import About, insist_on_cgroup, insist_on_clock
from harness.errors import MissingPrerequisite
from harness.host import capacity, ports
from harness.host.ports import Ports
from harness.host.process import namespaces_allowed
from harness.maintenance import doctor
from harness.maintenance.doctor import CheckResult, Places
from tests.containers import empty_image
from tests.runs import SCENARIOS

IMPOSSIBLE = 1 << 62
NAMES = [
    "platform",
    "Python",
    "mount namespaces",
    "memory",
    "cores",
    "home directory",
    "cache directory",
    "state directory",
    "temporary directory",
    "ports",
    "binaries",
    "signatures",
    "Go",
    "clock",
    "container engine",
]
ENGINE_NAMES = [
    "privileged containers",
    "control groups",
    "engine's clock",
    "engine's disk",
    "memory for kind",
    "images",
    "inotify",
]


def new(base: Path) -> Places:
    """Places of which only the temporary directory exists."""
    (base / "temporary").mkdir()
    return Places(base / "home", base / "cache" / "rehearse", base / "state" / "rehearse", base / "temporary")


def tree(base: Path) -> list[str]:
    return sorted(str(path.relative_to(base)) for path in base.rglob("*"))


def by_name(lines: list[CheckResult]) -> dict[str, CheckResult]:
    return {line.name: line for line in lines}


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return path


# --- a whole examination ----------------------------------------------------------------------------------------------


@pytest.mark.processes
def test_a_new_user_lacks_no_directory_and_none_is_made(tmp_path: Path) -> None:
    """Directories that can be made are as good as there, and examining does not make them."""
    lines = doctor.examine(new(tmp_path), {"PATH": str(tmp_path)})
    assert [line.name for line in lines] == NAMES
    found = by_name(lines)
    for name in ("home", "cache", "state", "temporary"):
        assert found[f"{name} directory"].state != "lacking"
    assert found["binaries"].state == found["Go"].state == "note"
    assert (found["mount namespaces"].state == "fine") == (namespaces_allowed() == "")
    assert tree(tmp_path) == ["temporary"]


@pytest.mark.processes
def test_every_ill_has_its_mend_and_nothing_well_has_one(tmp_path: Path) -> None:
    """On a machine where everything that can be taken away is: files where directories belong, and an empty PATH."""
    for name in ("home", "cache", "state", "temporary"):
        (tmp_path / name).write_text("a file")
    base = tmp_path
    lines = doctor.examine(Places(base / "home", base / "cache", base / "state", base / "temporary"), {})
    assert [line.name for line in lines] == NAMES
    assert {line.name: line.mend for line in lines if (line.mend == "") != (line.state == "fine")} == {}
    lacking = {line.name: line for line in lines if line.state == "lacking"}
    assert {"cache directory", "state directory", "temporary directory", "ports"} <= set(lacking)
    assert lacking["cache directory"].says == f"{base / 'cache'} cannot be written to: Not a directory"
    assert "REHEARSE_CACHE" in lacking["cache directory"].mend
    assert by_name(lines)["home directory"].state == "note"


# --- the machine ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("system", "machine", "state"),
    [
        ("Linux", "x86_64", "fine"),
        ("Linux", "aarch64", "fine"),
        ("Linux", "AMD64", "fine"),
        ("Linux", "riscv64", "lacking"),
        ("Darwin", "arm64", "lacking"),
        ("Windows", "AMD64", "lacking"),
    ],
)
def test_servers_run_on_linux_on_amd64_and_arm64(system: str, machine: str, state: str) -> None:
    line = doctor._platform(system, machine)
    assert line.state == state
    assert f"{system} on {machine}" in line.says


@pytest.mark.parametrize(
    ("version", "state"), [((3, 10, 14), "lacking"), ((3, 11, 0), "fine"), ((3, 14, 1), "fine"), ((4, 0, 0), "fine")]
)
def test_python_has_to_be_3_11_or_newer(version: tuple[int, ...], state: str) -> None:
    assert doctor._python(version).state == state


@pytest.mark.parametrize(
    ("settings", "mend"),
    [
        ({"kernel/unprivileged_userns_clone": "0"}, "as root: sysctl kernel.unprivileged_userns_clone=1;"),
        (
            {"kernel/apparmor_restrict_unprivileged_userns": "1", "kernel/unprivileged_userns_clone": "1"},
            "as root: sysctl kernel.apparmor_restrict_unprivileged_userns=0;",
        ),
        (
            {"kernel/unprivileged_userns_clone": "0", "user/max_user_namespaces": "0"},
            "sysctl kernel.unprivileged_userns_clone=1 && sysctl user.max_user_namespaces=15000;",
        ),
        ({"user/max_user_namespaces": "96365"}, "in a container: --cap-add SYS_ADMIN"),
        ({}, "in a container: --cap-add SYS_ADMIN"),
    ],
)
def test_a_kernel_that_forbids_namespaces_is_asked_which_setting_does(
    tmp_path: Path, settings: dict[str, str], mend: str
) -> None:
    """The mend is the one command that helps here, not a list of all that might; running as root always helps."""
    for name, value in settings.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{value}\n")
    reason = "tried to take a mount namespace of its own: Operation not permitted; run as root, or allow others"
    line = doctor._namespaces(reason, tmp_path)
    assert line.state == "lacking"
    assert line.says.endswith("Operation not permitted")
    assert mend in line.mend
    assert line.mend.endswith("or run rehearse as root")


@pytest.mark.parametrize(
    ("left", "state", "words"),
    [
        (0, "lacking", "0 clusters"),
        (519 * 10**6, "lacking", "0 clusters"),
        (520 * 10**6, "note", "1 cluster "),
        (790 * 10**6, "fine", "2 clusters"),
        (24 * 10**9, "fine", "87 clusters"),
    ],
)
def test_memory_is_counted_in_clusters(left: int, state: str, words: str) -> None:
    """A Vault takes 250 MB and each cluster 270 MB."""
    line = doctor._memory(left)
    assert line.state == state
    assert words in line.says


@pytest.mark.parametrize(
    ("limits", "left"), [([], None), (["max\n"], None), (["9223372036854771712\n"], None), (["max\n", "500\n"], 500)]
)
def test_a_container_may_be_allowed_less_memory_than_the_machine_has(
    tmp_path: Path, limits: list[str], left: int | None
) -> None:
    """Of the limits, those that are not set, not there or larger than the machine change nothing."""
    files = [tmp_path / str(number) for number in range(len(limits))]
    for path, text in zip(files, limits, strict=True):
        path.write_text(text)
    found = capacity.memory_left([*files, tmp_path / "absent"])
    assert found == left if left is not None else 500 < found <= psutil.virtual_memory().total


@pytest.mark.parametrize(
    ("date", "drift", "state", "words"),
    [
        (1_767_225_600.0, 0.0, "fine", "2026-01-01 00:00 UTC"),
        (1_767_225_599.0, 0.0, "lacking", "2025-12-31 23:59 UTC is too early"),
        (0.0, 0.0, "lacking", "1970-01-01"),
        (1_800_000_000.0, 0.9, "fine", "2027"),
        (1_800_000_000.0, 3600.0, "note", "set by +3600.0 s"),
        (1_800_000_000.0, -2.5, "note", "set by -2.5 s"),
    ],
)
def test_a_clock_before_the_first_release_or_set_meanwhile_is_not_trusted(
    date: float, drift: float, state: str, words: str
) -> None:
    line = doctor._clock(date, drift)
    assert line.state == state
    assert words in line.says


# --- directories ------------------------------------------------------------------------------------------------------


def a_file(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("a file")


def a_link_to_nothing(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(path.parent / "nothing")


@pytest.mark.parametrize("make", [a_file, a_link_to_nothing])
@pytest.mark.parametrize(
    ("place", "variable"),
    [
        *((f"state{inside}", "REHEARSE_STATE") for inside in ("", "/live", "/ports", "/runs")),
        *((f"cache{inside}", "REHEARSE_CACHE") for inside in ("", "/artifacts", "/build")),
    ],
)
def test_what_stands_where_a_directory_belongs_is_named(
    tmp_path: Path, make: Callable[[Path], None], place: str, variable: str
) -> None:
    """Also further below, as after a run as root: the trouble would come in the middle of a run."""
    make(tmp_path / place)
    (line,) = [
        line
        for line in (doctor._state(tmp_path / "state"), doctor._cache(tmp_path / "cache", 0))
        if line.state == "lacking"
    ]
    assert f"{tmp_path / place} cannot be written to" in line.says
    assert variable in line.mend


def test_a_directory_that_no_user_may_write_to_is_lacking() -> None:
    """Not even root makes files in /proc."""
    line = doctor._directory("cache directory", "REHEARSE_CACHE", [Path("/proc/rehearse/cache")], 0)
    assert line.state == "lacking"
    assert line.says.startswith("/proc cannot be written to: ")


def test_too_little_room_is_lacking_and_room_for_few_versions_is_worth_a_note(tmp_path: Path) -> None:
    """What is free is that of the file system on which the directory would be made."""
    wanting = doctor._directory("state directory", "REHEARSE_STATE", [tmp_path / "absent"], IMPOSSIBLE)
    assert (wanting.state, wanting.says.partition(":")[0]) == ("lacking", str(tmp_path / "absent"))
    enough = doctor._cache(tmp_path, 0)
    scarce = doctor._cache(tmp_path, IMPOSSIBLE)
    assert [enough.state, scarce.state] == ["fine", "note"]
    assert "from Go modules" in scarce.says


NOEXEC = """
import sys
from pathlib import Path
from harness.maintenance import doctor

print(doctor._cache(Path(sys.argv[1]) / "rehearse", 0).says)
"""


@pytest.mark.processes
def test_a_cache_that_runs_no_programs_is_lacking(tmp_path: Path) -> None:
    """On a file system mounted so; where nobody may mount one, the same directory is as it is."""
    mount, expected = ["env"], "GB free"
    if not namespaces_allowed():
        user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        script = 'mount -t tmpfs -o noexec,size=2g none "$0" && exec "$@"'
        mount, expected = ["unshare", *user, "--mount", "sh", "-c", script, str(tmp_path)], "(noexec)"
    done = subprocess.run(
        [*mount, sys.executable, "-c", NOEXEC, str(tmp_path)],
        cwd=Path(harness.__path__[0]).parent,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert done.stdout.strip().endswith(expected)


def test_a_temporary_directory_that_a_pod_hides_is_lacking(tmp_path: Path) -> None:
    """A pod has its own /run; links to there are seen through."""
    (tmp_path / "run" / "user").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "run" / "user")
    (tmp_path / "runs").mkdir()
    hidden = [tmp_path / "run"]
    found = {name: doctor._temporary(tmp_path / name, hidden).state for name in ("run", "run/user", "link", "runs")}
    assert found == {"run": "lacking", "run/user": "lacking", "link": "lacking", "runs": "fine"}


# --- what a run takes from them ---------------------------------------------------------------------------------------


@pytest.mark.processes
def test_ports_are_tried_without_a_trace_and_without_those_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there are locks they are respected; where there are none, none are made."""
    ours = tmp_path / "ports"
    assert doctor._ports(ours, tmp_path, 5).state == "fine"
    assert tree(tmp_path) == []
    with Ports(ours) as running:
        taken = running.take(3)
        assert doctor._ports(ours, tmp_path, 5).state == "fine"
        assert {path.name for path in ours.glob("*.lock")} == {f"{port}.lock" for port in taken}
        monkeypatch.setattr(ports, "_RANGE", taken)
        assert doctor._ports(ours, tmp_path, 1).state == "lacking"


@pytest.mark.processes
def test_more_ports_than_there_are_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a range of two, because trying all of them could meet a run that is just starting."""
    monkeypatch.setattr(ports, "_RANGE", range(21000, 21002))
    line = doctor._ports(tmp_path / "ports", tmp_path, 3)
    assert line.state == "lacking"
    assert "3 free ports were needed" in line.says
    assert line.mend


def test_a_doctor_says_whose_signatures_can_be_checked_and_until_when(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the key by its fingerprint; a key that has ended is worth a note, and none at all keeps Vault from here."""
    line = doctor._signatures(["HashiCorp"], datetime(2026, 11, 1, tzinfo=UTC))
    assert line.state == "fine"
    assert "checked for Vault, with HashiCorp's key C874 011F 0AB4 0511 0D02 1055 3436 5D94 72D7 468F" in line.says
    later = doctor._signatures(["HashiCorp"], datetime(2031, 1, 1, tzinfo=UTC))
    assert (later.state, later.mend) == ("note", "install a newer rehearse, which has a newer key")

    def gone(_signer: str) -> None:
        raise FileNotFoundError("keys/hashicorp.asc")

    monkeypatch.setattr(signatures, "_key", gone)
    assert doctor._signatures(["HashiCorp"], datetime(2026, 11, 1, tzinfo=UTC)).state == "lacking"


def test_binaries_are_counted_by_product_and_unfinished_ones_are_not(tmp_path: Path) -> None:
    """A leaf is one with its record; beside them are locks and the attempts of killed processes."""
    for leaf, size in {
        "vault/1.7.0-linux-amd64": 2_000_000,
        "vault/1.11.0-linux-amd64": 3_000_000,
        "vault/.1.9.3-linux-amd64.x": 9_000_000,
        "etcd/3.5.16-linux-amd64": 1_000_000,
        "go/1.26.6-linux-amd64/go/bin": 4_000_000,
    }.items():
        product = tmp_path / leaf / leaf.partition("/")[0]
        product.parent.mkdir(parents=True)
        product.write_bytes(bytes(size))
        (tmp_path / "/".join(leaf.split("/")[:2]) / "artifact.json").write_text("{}")
    (tmp_path / "kube-apiserver" / "1.32.0-linux-amd64").mkdir(parents=True)
    (tmp_path / "vault" / "1.7.0-linux-amd64.lock").touch()
    line = doctor._binaries(tmp_path)
    assert line.state == "fine"
    assert line.says == "kept from before: etcd 1 (1 MB), go 1 (4 MB), vault 2 (5 MB)"


@pytest.mark.processes
@pytest.mark.parametrize(
    ("says", "state", "words"),
    [
        ("echo go1.23.0", "fine", "go1.23.0"),
        ("echo go1.22.9", "note", "Python package index"),
        ("echo broken >&2; exit 1", "note", "Python package index"),
    ],
)
def test_a_go_that_is_too_old_or_broken_counts_as_none(tmp_path: Path, says: str, state: str, words: str) -> None:
    """It is looked for on the PATH that is given, and asked."""
    go = program(tmp_path / "bin" / "go", says)
    line = doctor._go(doctor._find_go({"PATH": str(go.parent)}), has_pip=True)
    assert line.state == state
    assert words in line.says


def test_without_go_and_without_pip_no_version_can_be_built() -> None:
    """Still a note: what a release server gives can be rehearsed."""
    assert doctor._go(None, has_pip=False) == CheckResult(
        "Go",
        "note",
        "none on PATH that is 1.23 or newer; it is only needed for versions that no release server gives, and then "
        "there is no pip to fetch one",
        "install Go 1.23 or newer, or pip",
    )
    assert doctor._go(Go(Path("/opt/go/bin/go"), "go1.26.8"), has_pip=False).state == "fine"


# --- the container engine ---------------------------------------------------------------------------------------------


def without_docker(base: Path) -> dict[str, str]:
    return {"PATH": str(base)}


def without_engine(base: Path) -> dict[str, str]:
    return {"PATH": str(program(base / "docker", "exit 1").parent), "DOCKER_HOST": f"unix://{base}/engine"}


def far_away(base: Path) -> dict[str, str]:
    return {"PATH": str(program(base / "docker", "exit 1").parent), "DOCKER_HOST": "tcp://10.0.0.1:2376"}


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        (without_docker, "there is no docker command on PATH"),
        (without_engine, "/engine is no socket"),
        (far_away, "the engine is at tcp://10.0.0.1:2376"),
    ],
)
def test_a_machine_without_an_engine_is_told_so_and_lacks_nothing(
    tmp_path: Path, environment: Callable[[Path], dict[str, str]], says: str
) -> None:
    """The other drivers need none; and what mends it is said once, in the mend."""
    (line,) = doctor._engine_lines(environment(tmp_path))
    assert (line.name, line.state) == ("container engine", "note")
    assert says in line.says
    assert INSTALL not in line.says
    assert "nox -s engine" in line.mend


@pytest.mark.kind
def test_a_machine_with_an_engine_has_a_line_for_all_that_a_kind_cluster_needs() -> None:
    lines = doctor._engine_lines(os.environ)
    assert [line.name for line in lines] == ["container engine", *ENGINE_NAMES]
    assert lines[0].state == "fine"
    assert {line.state for line in lines} <= {"fine", "note"}
    assert {line.name: line.mend for line in lines if (line.mend == "") != (line.state == "fine")} == {}


@pytest.mark.kind
def test_privileged_containers_are_tried_out_and_nothing_is_left_of_the_trial() -> None:
    """Here they work, or the engine says why not, as it does for plain runc where a capability is withheld."""
    with empty_image() as (engine, image):
        bounding = next(line for line in Path("/proc/self/status").read_text().splitlines() if "CapBnd" in line)
        withheld = not int(bounding.split()[1], 16) >> 24 & 1
        assert ("unable to apply caps" in engine.privileges_refused(image, runtime="runc")) == withheld
        assert engine.privileges_refused(image) == ""
        assert engine.leftovers("trial") == []
        assert doctor._try_privileges(engine, [Image(image, image, "", 0, {})]) == ""


@pytest.mark.parametrize(
    ("reason", "state", "mend"),
    [
        ("", "fine", ""),
        (None, "note", "artifacts fetch --driver kind"),
        ("runc create failed: unable to apply caps: operation not permitted", "note", "runc-without-sys-resource"),
        ("privileged mode is incompatible with user namespaces", "note", "an engine of this machine itself"),
    ],
)
def test_what_keeps_privileged_containers_from_starting_has_a_mend_of_its_own(
    reason: str | None, state: str, mend: str
) -> None:
    line = doctor._privileges(reason)
    assert (line.state, mend in line.mend) == (state, True)
    assert (reason or "") in line.says


def about(cgroup: int) -> About:
    return About("28.0.0", cgroup, rootless=False, folder=Path("/"), processors=2, memory=8 * 10**9)


@pytest.mark.parametrize(
    ("cgroup", "kubernetes", "refused"),
    [
        (1, ["1.34.9", "1.22.0"], None),
        (1, ["1.36.1", "1.30.0", "1.35.0"], "of Kubernetes 1.35.0, 1.36.1 refuse"),
        (2, ["1.35.0", "1.40.0"], None),
        (1, [], None),
    ],
)
def test_a_kubelet_that_would_refuse_the_control_groups_is_refused_beforehand(
    cgroup: int, kubernetes: list[str], refused: str | None
) -> None:
    """In one sentence, with the versions, instead of minutes of waiting for a cluster that never comes up."""
    if refused is None:
        insist_on_cgroup(about(cgroup), kubernetes)
        return
    with pytest.raises(MissingPrerequisite, match=refused):
        insist_on_cgroup(about(cgroup), kubernetes)


@pytest.mark.parametrize(("cgroup", "state"), [(1, "note"), (2, "fine")])
def test_the_doctor_says_the_same_of_control_groups(cgroup: int, state: str) -> None:
    line = doctor._cgroup(about(cgroup))
    assert line.state == state
    assert ("unified_cgroup_hierarchy" in line.mend) == (state == "note")


@pytest.mark.parametrize(("ahead", "said"), [(0.0, ""), (-0.04, ""), (93.2, "93.2 s ahead of"), (-7.0, "7.0 s behind")])
def test_the_doctor_says_of_the_engines_clock_what_a_run_would_say(ahead: float, said: str) -> None:
    of = msgspec.structs.replace(about(1), ahead=ahead)
    line = doctor._engine_clock(of)
    assert (line.state, said in line.says) == ("note" if said else "fine", True)
    if said:
        assert "time server" in line.mend
        with pytest.raises(MissingPrerequisite, match=said):
            insist_on_clock(of)


def test_an_engine_without_a_clock_is_no_reason_to_call_it_right() -> None:
    assert doctor._engine_clock(about(1)).state == "note"


def test_an_engine_without_room_for_images_is_told(tmp_path: Path) -> None:
    assert doctor._engine_disk(tmp_path, 0).state == "fine"
    line = doctor._engine_disk(tmp_path, IMPOSSIBLE)
    assert (line.state, "docker system df" in line.mend) == ("note", True)


@pytest.mark.parametrize(
    ("left", "state", "words"),
    [(899 * 10**6, "note", "0 kind clusters"), (10**9, "note", "1 kind cluster "), (18 * 10**8, "fine", "2 kind")],
)
def test_a_kind_cluster_takes_more_memory_than_processes_do(left: int, state: str, words: str) -> None:
    line = doctor._engine_memory(left)
    assert (line.state, words in line.says) == (state, True)


def test_images_are_counted_once_however_many_names_they_have() -> None:
    one, two = Image("a:1", "sha256:1", "", 10**8, {}), Image("a:2", "sha256:1", "", 10**8, {})
    assert doctor._images([]).state == "note"
    assert "(100 MB" in doctor._images([one, two]).says


@pytest.mark.parametrize(
    ("instances", "watches", "mend"),
    [
        ("512", "524288", ""),
        ("128", "524288", "as root: sysctl fs.inotify.max_user_instances=512"),
        (
            "128",
            "8192",
            "as root: sysctl fs.inotify.max_user_instances=512 && sysctl fs.inotify.max_user_watches=524288",
        ),
        (None, None, ""),
    ],
)
def test_limits_of_inotify_are_those_that_kind_asks_for(
    tmp_path: Path, instances: str | None, watches: str | None, mend: str
) -> None:
    """A limit that cannot be read is none that anybody could raise."""
    folder = tmp_path / "fs" / "inotify"
    folder.mkdir(parents=True)
    for name, value in (("max_user_instances", instances), ("max_user_watches", watches)):
        if value is not None:
            (folder / name).write_text(f"{value}\n")
    line = doctor._inotify(tmp_path)
    assert (line.mend, line.state) == (mend, "note" if mend else "fine")


# --- the runtime that asks for less -----------------------------------------------------------------------------------

BUNDLE = {
    "process": {
        "args": ["/bin/sh", "-c", 'echo "CAP_SYS_RESOURCE"'],
        "capabilities": {
            "bounding": ["CAP_SYS_RESOURCE", "CAP_KILL"],
            "effective": ["CAP_KILL", "CAP_SYS_RESOURCE"],
            "permitted": ["CAP_CHOWN", "CAP_SYS_RESOURCE", "CAP_KILL"],
            "ambient": ["CAP_SYS_RESOURCE"],
            "inheritable": None,
        },
    }
}
LESS = {
    "bounding": ["CAP_KILL"],
    "effective": ["CAP_KILL"],
    "permitted": ["CAP_CHOWN", "CAP_KILL"],
    "ambient": [],
    "inheritable": None,
}


@pytest.mark.processes
@pytest.mark.parametrize("indent", [None, 4])
@pytest.mark.parametrize(
    ("words", "file"),
    [
        (["--root", "/run/x", "create", "--bundle", "BASE", "--pid-file", "p", "id"], "config.json"),
        (["create", "--bundle=BASE", "id"], "config.json"),
        (["create", "-b", "BASE", "id"], "config.json"),
        (["exec", "--process", "BASE/process.json", "--detach", "id"], "process.json"),
        (["exec", "--process=BASE/process.json", "id"], "process.json"),
        (["kill", "id", "9"], ""),
    ],
)
def test_a_runtime_may_ask_for_every_capability_but_the_one_that_is_withheld(
    tmp_path: Path, words: list[str], file: str, indent: int | None
) -> None:
    """The file that the engine has written is changed in that and in nothing else, and runc gets the same words."""
    contents = {"config.json": BUNDLE, "process.json": BUNDLE["process"]}
    for name, content in contents.items():
        (tmp_path / name).write_text(json.dumps(content, indent=indent))
    program(tmp_path / "bin" / "runc", 'for word in "$@"; do echo "$word"; done')
    shim = SCENARIOS.parent / "clusters" / "engine" / "runc-without-sys-resource"
    words = [word.replace("BASE", str(tmp_path)) for word in words]
    environment = {"PATH": f"{tmp_path / 'bin'}:{os.defpath}"}
    done = subprocess.run(["sh", shim, *words], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == words
    for name, content in contents.items():
        wanted: Any = copy.deepcopy(content)
        if name == file:
            wanted.get("process", wanted)["capabilities"] = LESS
        assert json.loads((tmp_path / name).read_text()) == wanted
