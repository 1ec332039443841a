"""An image is of the version it says, comes from where it says, and is made once; else there is a reason in words."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from harness import settings
from harness.artifacts import debian_layer, images, node_image, templates
from harness.artifacts.binaries import Artifact
from harness.artifacts.images import NODE, OPENBAO, VAULT, Image, Images
from harness.artifacts.store import Sources, Store
from harness.clients.container_engine import Engine, reach
from harness.clients.container_engine import Image as Stored
from harness.errors import MissingPrerequisite
from harness.host.process import Supervisor
from harness.scenario import driver_traits, loading, plan
from tests.runs import OUTAGE
from tests.test_artifacts import Mirror, executable, mirror, script, zipped

__all__ = ["mirror"]

# There is no recipe for it, so that nothing is built where a download is refused.
VERSION = "1.14.5"


class Registry:
    """An image registry on loopback: blobs and manifests by their path, and a status for every other question."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.status, self.silent, self.over = 404, False, threading.Event()
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.give()

            def do_HEAD(self) -> None:
                self.give()

            def give(self) -> None:
                registry.asked.append(self.path)
                if registry.silent:
                    registry.over.wait()
                body = b"{}" if self.path == "/v2/" else registry.blobs.get(self.path.rpartition("/")[2])
                self.answer(200 if body is not None else registry.status, body)

            def answer(self, status: int, body: bytes | None) -> None:
                code = {404: "MANIFEST_UNKNOWN", 429: "TOOMANYREQUESTS"}.get(status, "UNKNOWN")
                content = body or json.dumps({"errors": [{"code": code, "message": f"this is {status}"}]}).encode()
                self.send_response(status)
                kind = "application/vnd.docker.distribution.manifest.v2+json" if b"schemaVersion" in content else "a/b"
                self.send_header("Content-Type", kind if body else "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Docker-Content-Digest", digest(content))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.prefix = f"127.0.0.1:{self.server.server_port}/mirror"

    def publish(self, tag: str) -> str:
        """Publish an image with nothing but one small file under *tag*, and return its digest."""
        layer = tarred({"nothing": b""})
        config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [digest(layer)]}}
        parts = [json.dumps(config).encode(), gzip.compress(layer, mtime=0)]
        for part in parts:
            self.blobs[digest(part)] = part
        media = "application/vnd.docker"
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{media}.distribution.manifest.v2+json",
            "config": {"mediaType": f"{media}.container.image.v1+json", **described(parts[0])},
            "layers": [{"mediaType": f"{media}.image.rootfs.diff.tar.gzip", **described(parts[1])}],
        }
        content = json.dumps(manifest).encode()
        self.blobs[tag] = self.blobs[digest(content)] = content
        return digest(content)


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def described(content: bytes) -> dict[str, Any]:
    return {"size": len(content), "digest": digest(content)}


def tarred(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def registry() -> Iterator[Registry]:
    registry = Registry()
    thread = threading.Thread(target=registry.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield registry
    registry.over.set()
    registry.server.shutdown()
    thread.join()
    registry.server.server_close()


@pytest.fixture
def machine() -> Iterator[Engine]:
    """The engine of this machine; whatever a test brings into its store is gone afterwards."""
    engine = reach(os.environ)
    before = {image.name for image in images.made(engine)}
    yield engine
    for image in images.made(engine):
        if image.name not in before and f":{VERSION}" in image.name:
            engine.remove_image(image.name)
    engine._client.close()


class Shop:
    """Images with a cache of their own, whose Vault comes from a mirror, and the lines that they told."""

    def __init__(self, machine: Engine, cache: Path, mirror: Mirror | None, prefix: str = "", **rest: Any) -> None:
        self.told = list[str]()
        sources = Sources(cache, mirror=mirror.url if mirror else "", insecure_mirror=True, offline=mirror is None)
        self.images = Images(machine, Store(sources, self.told.append), cache, self.told.append, prefix, **rest)

    def refusal(self, product: str = VAULT, version: str = VERSION) -> str:
        with pytest.raises(MissingPrerequisite) as refused:
            self.images.get(product, version)
        return str(refused.value)


def sells(mirror: Mirror, content: str) -> None:
    """Let *mirror* have a Vault of its own, which never runs as a server: *content* makes its digest."""
    mirror.vault(zipped(script(f"Vault v{VERSION} ({content})")))


# --- names and recipes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("product", "version", "registry", "names"),
    [
        (NODE, "1.32.0", "", ["kindest/node:v1.32.0"]),
        (NODE, "1.32.0", "r.example.com/m", ["r.example.com/m/kindest/node:v1.32.0"]),
        (VAULT, "1.14.0", "", ["hashicorp/vault:1.14.0"]),
        (VAULT, "1.13.9", "", ["hashicorp/vault:1.13.9", "vault:1.13.9"]),
        (VAULT, "1.7.0", "r.example.com", ["r.example.com/hashicorp/vault:1.7.0", "r.example.com/library/vault:1.7.0"]),
        (VAULT, "1.15.0+ent", "", ["hashicorp/vault-enterprise:1.15.0-ent"]),
    ],
)
def test_a_version_has_the_names_under_which_its_vendor_publishes_it(
    product: str, version: str, registry: str, names: list[str]
) -> None:
    assert images._published(product, version, registry) == names


@pytest.mark.parametrize(
    ("name", "registry"),
    [
        ("kindest/node:v1.32.0", "docker.io"),
        ("vault:1.7.0", "docker.io"),
        ("r.example.com/kindest/node:v1.32.0", "r.example.com"),
        ("localhost/x:1", "localhost"),
        ("127.0.0.1:5000/x:1", "127.0.0.1:5000"),
    ],
)
def test_an_image_is_asked_of_the_registry_in_its_name(name: str, registry: str) -> None:
    assert images._registry_of(name) == registry


@pytest.mark.parametrize(("product", "program"), [(VAULT, "vault"), (OPENBAO, "bao")])
def test_the_same_binary_is_packed_to_the_same_bytes(product: str, program: str, tmp_path: Path) -> None:
    """And in it are the binary, executable by anyone, and a /tmp that anyone may write to."""
    binary = tmp_path / "brought"
    binary.write_bytes(b"a vault")
    packed = []
    for _ in range(2):
        with io.BytesIO() as file:
            images._pack(product, file, binary)
            packed.append(file.getvalue())
        binary.touch()
        binary.chmod(0o700)
    assert packed[0] == packed[1]
    with tarfile.open(fileobj=io.BytesIO(packed[0])) as archive:
        modes = {entry.name: oct(entry.mode) for entry in archive}
        assert modes[f"root/bin/{program}"] == "0o755"
        assert modes["root/tmp"] == "0o1777"
        dockerfile = archive.extractfile("Dockerfile")
        assert dockerfile is not None
        assert f'ENTRYPOINT ["/bin/{program}"]' in dockerfile.read().decode()


def test_a_rehearsal_on_kind_needs_images_of_its_versions() -> None:
    """Each once, and kind itself, in the version whose files are in the node images that are made here."""
    assert plan.make(loading.load(OUTAGE).scenario, "outage", "kind").artifacts == (
        ("kind", driver_traits.KIND),
        (NODE, "1.32.0"),
        (VAULT, "1.4.0"),
        (VAULT, "1.7.0"),
        (VAULT, "1.11.0"),
    )


def test_only_what_has_a_name_of_ours_counts_as_made_here() -> None:
    """An image that somebody built of one of ours has its labels, and is theirs; so is another name for ours."""
    labels = {debian_layer.LABEL: VAULT, "rehearse.version": VERSION}
    names = [
        f"rehearse/vault:{VERSION}-0123",
        "mine/vault:1",
        f"rehearse/node:{VERSION}",
        "mirror:5000/rehearse/vault:1",
    ]

    class Full:
        removed: ClassVar[list[str]] = []

        def images(self, _label: str) -> list[Stored]:
            stored = [Stored(name, "sha256:1", "", 10, labels) for name in names]
            return [*stored, Stored("rehearse/vault:2", "sha256:2", "", 10, {debian_layer.LABEL: "no kind of ours"})]

        def remove_image(self, name: str) -> None:
            self.removed.append(name)

    assert images.remove(Full(), []) == 10  # type: ignore[arg-type]
    assert Full.removed == names[:1]


@pytest.mark.parametrize(
    ("image", "version"),
    [("registry.k8s.io/etcd:3.5.16-0", "3.5.16"), ("registry.k8s.io/coredns/coredns:v1.11.3", "1.11.3")],
)
def test_a_tag_says_which_version_is_in_the_image(image: str, version: str) -> None:
    assert node_image._version(image) == version


def test_every_file_that_a_node_is_made_of_is_part_of_its_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever edits one of them gets another image, and not the one that was made before."""
    used = {path.name for path in templates.folder("node").iterdir()} - {"kubernetes.go", "pause.go"}
    usual, real = node_image.recipe(), templates.text
    for name in used:
        monkeypatch.setattr(templates, "text", lambda path, name=name: real(path) + "# new" * path.endswith(name))
        assert node_image.recipe() != usual, name


def test_what_a_node_needs_of_debian_is_a_list_without_its_comments() -> None:
    suite, packages = debian_layer._packages()
    assert suite == "bookworm"
    assert {"systemd", "containerd", "iptables", "jq"} <= set(packages)
    assert all(package.replace("-", "").replace(".", "").isalnum() for package in packages)


KUBEADM = """\
#!/bin/sh
[ "$*" = "kubeadm config images list --kubernetes-version v1.99.0" ] || exit 1
for name in kube-apiserver kube-controller-manager kube-scheduler kube-proxy; do echo registry/$name:v1.99.0; done
printf 'registry/coredns/coredns:v1.11.3\\nregistry/etcd:3.5.16-0\\n'
"""


@pytest.mark.processes
def test_kubeadm_says_which_images_there_have_to_be(tmp_path: Path) -> None:
    """All of them: one of which it says nothing would be missed by the cluster, long after."""
    whole = executable(tmp_path / "whole", KUBEADM + "echo registry/pause:3.10\n")
    found = node_image._images(Artifact("kubernetes", "1.99.0", whole, "", ""))
    assert found["pause"] == "registry/pause:3.10"
    assert found["coredns"] == "registry/coredns/coredns:v1.11.3"
    with pytest.raises(MissingPrerequisite, match="names no image for pause"):
        node_image._images(Artifact("kubernetes", "1.99.0", executable(tmp_path / "part", KUBEADM), "", ""))
    with pytest.raises(MissingPrerequisite, match="does not name its images"):
        node_image._images(Artifact("kubernetes", "1.98.0", whole, "", ""))


def test_the_images_of_the_control_plane_are_an_archive_as_docker_saves_it(tmp_path: Path) -> None:
    """Every layer is there, has the digest that the configuration says, and is shared where it is the same."""
    binaries = []
    for product in ("kubernetes", "etcd", "coredns", "pause"):
        (tmp_path / product).write_bytes(product.encode() * 1000)
        binaries.append(Artifact(product, "1.0.0", tmp_path / product, "", ""))
    (tmp_path / "kube-proxy.tar").write_bytes(tarred({"usr/sbin/iptables": b"..."}))
    names = {one: f"registry/{one}:v1" for one in (*node_image._COMMANDS, "etcd", "coredns", "pause")}
    filling = node_image._NodeImageBuild(None, "", tmp_path, tuple(binaries), names)  # type: ignore[arg-type]
    filling._write_images(tmp_path / "images.tar")

    with tarfile.open(tmp_path / "images.tar") as archive:
        files = {entry.name: archive.extractfile(entry).read() for entry in archive}  # type: ignore[union-attr]
    manifest = {entry["RepoTags"][0]: entry for entry in json.loads(files["manifest.json"])}
    assert sorted(manifest) == sorted(names.values())
    layers: dict[str, dict[str, str]] = {}
    for name, entry in manifest.items():
        config = json.loads(files[entry["Config"]])
        unpacked = [gzip.decompress(files[layer]) for layer in entry["Layers"]]
        assert [digest(layer) for layer in unpacked] == config["rootfs"]["diff_ids"]
        with tarfile.open(fileobj=io.BytesIO(unpacked[0])) as layer:
            layers[name] = {one.name: one.linkname for one in layer}
    assert layers["registry/kube-apiserver:v1"]["usr/local/bin/kube-apiserver"] == "kube"
    assert manifest["registry/kube-apiserver:v1"]["Layers"] == manifest["registry/kube-scheduler:v1"]["Layers"]
    assert len(manifest["registry/kube-proxy:v1"]["Layers"]) == 2
    assert "coredns" in layers["registry/coredns:v1"]


def test_who_is_not_root_is_told_what_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    store = Store(Sources(tmp_path), lambda _: None)
    with pytest.raises(MissingPrerequisite, match="sudo -E rehearse artifacts fetch --driver kind"):
        debian_layer._make("base:1", None, store, tmp_path, lambda _: None)  # type: ignore[arg-type]


@pytest.mark.processes
def test_a_step_that_fails_says_so_with_its_last_words(tmp_path: Path) -> None:
    """Without the password that the address of a proxy may carry; and a program that is missing is named."""
    with Supervisor(f"steps-{os.getpid()}", tmp_path / "work", tmp_path / "runs") as supervisor:
        step = debian_layer._Steps(supervisor, tmp_path / "work", {})
        step("true")
        with pytest.raises(MissingPrerequisite, match=r"sh ended with status 3, .*\n.*http://proxy/ refused"):
            step("sh", "-c", "echo http://me:hunter2@proxy/ refused; exit 3")
        with pytest.raises(MissingPrerequisite, match="no such-program on this machine"):
            step("such-program")


# --- the real engine --------------------------------------------------------------------------------------------------


@pytest.mark.kind
def test_an_image_of_the_real_vault_runs_as_anybody(machine: Engine) -> None:
    """Its source names the binary, and who asks again gets the same without anything being made."""
    told = list[str]()
    cache = settings.cache()
    shop = Images(machine, Store(Sources(cache, offline=True), told.append), cache, told.append, offline=True)
    got = shop.get(VAULT, "1.7.0")
    assert (got.version, got.brings_network) == ("1.7.0", False)
    stored = machine.image(got.name)
    assert stored is not None
    assert stored.id == got.id
    said = machine._client.containers.run(got.name, remove=True, user="4711", read_only=True, network_mode="none")
    assert said.decode().startswith("Vault v1.7.0")
    told.clear()
    assert shop.get_all([(VAULT, "1.7.0"), (VAULT, "1.7.0")]) == [got, got]
    assert told == []


@pytest.mark.kind
def test_an_image_that_was_made_is_used_until_its_binary_is_another(
    machine: Engine, mirror: Mirror, registry: Registry, tmp_path: Path
) -> None:
    """It stays in use where the cache has lost its binary; the stale one never is."""
    sells(mirror, "one")
    shop = Shop(machine, tmp_path / "one", mirror, registry.prefix)
    one = shop.images.get(VAULT, VERSION)
    assert one.source == f"made here of vault {VERSION} ({mirror.url}/vault/{VERSION}/vault_{VERSION}_linux_amd64.zip)"
    assert "binary alone" in one.note
    asked = len(registry.asked)
    assert Shop(machine, tmp_path / "empty", None, offline=True).images.get(VAULT, VERSION) == one
    assert len(registry.asked) == asked
    sells(mirror, "two")
    other = Shop(machine, tmp_path / "two", mirror, registry.prefix)
    other.images._store.get("vault", VERSION)
    two = other.images.get(VAULT, VERSION)
    assert (two.name != one.name, two.id != one.id) == (True, True)
    assert shop.images.get(VAULT, VERSION) == one


@pytest.mark.kind
@pytest.mark.parametrize("product", [VAULT, NODE])
def test_a_registry_is_asked_before_anything_is_made(
    product: str, machine: Engine, registry: Registry, tmp_path: Path
) -> None:
    """The source has the digest there; and once it is in the store, no registry is asked again."""
    tag = f"v{VERSION}" if product == NODE else VERSION
    published = registry.publish(tag)
    shop = Shop(machine, tmp_path, None, registry.prefix)
    name = images._published(product, VERSION, registry.prefix)[0]
    try:
        got = shop.images.get(product, VERSION)
        stored = machine.image(name)
        assert stored is not None
        assert got == Image(product, VERSION, name, stored.id, f"registry image {name}@{published}")
        asked = len(registry.asked)
        assert Shop(machine, tmp_path, None, registry.prefix, offline=True).images.get(product, VERSION) == got
        assert len(registry.asked) == asked
    finally:
        machine.remove_image(name)


@pytest.mark.kind
def test_a_node_image_of_unknown_origin_is_not_believed(machine: Engine, tmp_path: Path) -> None:
    """Anybody can call anything kindest/node: only a digest says that it came from a registry."""
    name = f"kindest/node:v{VERSION}"
    machine.build_from(io.BytesIO(tarred({"Dockerfile": b"FROM scratch\nCOPY nothing /\n", "nothing": b""})), name, {})
    try:
        message = Shop(machine, tmp_path, None, offline=True).refusal(NODE)
        assert f"{NODE} {VERSION} is not available" in message
        assert "leave out --offline" in message
    finally:
        machine.remove_image(name)


@pytest.mark.kind
@pytest.mark.parametrize(
    ("status", "answer", "help_", "asked"),
    [(429, "this is 429", "docker login", 1), (404, "manifest", "name a registry that has hashicorp/vault", 2)],
)
def test_what_a_registry_answers_is_told_with_what_would_help(
    machine: Engine, registry: Registry, tmp_path: Path, status: int, answer: str, help_: str, asked: int
) -> None:
    """A missing image is asked for under its other name too; a registry that has had enough is left in peace."""
    registry.status = status
    message = Shop(machine, tmp_path, None, registry.prefix).refusal(version="1.13.99")
    assert answer in message.lower()
    assert help_ in message
    assert "cannot be made here: vault 1.13.99 is not available" in message
    repositories = {path.split("/")[3] for path in registry.asked if "manifests" in path}
    assert len(repositories) == asked


@pytest.mark.kind
def test_where_the_disk_is_full_the_message_says_where(machine: Engine, tmp_path: Path) -> None:
    """The engine keeps images in a place of its own, which the user may not know."""
    helps = Shop(machine, tmp_path, None).images._remedy(VAULT, "1.7.0", "write /x: no space left on device")
    assert f"make room in {machine.about().folder}" in helps


RESOLVER = """\
{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "resolver", "namespace": "kube-system"}, "spec": {
"restartPolicy": "OnFailure", "containers": [{"name": "resolver", "image": "registry.k8s.io/kube-apiserver:v%s",
"command": ["/usr/local/bin/kube", "kubectl", "get", "--raw", "/version"],
"env": [{"name": "KUBERNETES_SERVICE_HOST", "value": "kubernetes.default.svc"}]}]}}
"""


@pytest.mark.kind
def test_a_node_that_was_made_here_runs_pods_that_find_each_other(machine: Engine, tmp_path: Path) -> None:
    """A cluster is made of it, CoreDNS becomes ready, and a pod reaches the API server by its name."""
    cache, told, version = settings.cache(), list[str](), "1.32.0"
    store = Store(Sources(cache, offline=True), told.append)
    image = Images(machine, store, cache, told.append, offline=True).get(NODE, version)
    kind, name = str(store.get("kind", driver_traits.KIND).path), f"rehearse-test-{os.getpid()}"
    config = tmp_path / "kind.json"
    patch = json.dumps(
        {"kind": "KubeletConfiguration", **({"failCgroupV1": False} if machine.about().cgroup == 1 else {})}
    )
    networking = {"disableDefaultCNI": image.brings_network}
    about = {"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4", "networking": networking}
    config.write_text(json.dumps({**about, "kubeadmConfigPatches": [patch]}))
    options = ["--name", name, "--kubeconfig", str(tmp_path / "kubeconfig")]
    kubectl = ["kubectl", "--kubeconfig=/etc/kubernetes/admin.conf", "--namespace=kube-system"]
    node = f"{name}-control-plane"
    try:
        create = [kind, "create", "cluster", *options, "--image", image.name, "--config", str(config), "--wait", "120s"]
        subprocess.run(create, check=True, capture_output=True, timeout=300)
        machine.execute(node, [*kubectl, "rollout", "status", "deployment/coredns", "--timeout=120s"])
        machine.execute(node, [*kubectl, "create", "-f", "-"], stdin=[(RESOLVER % version).encode()])
        done = "--for=jsonpath={.status.phase}=Succeeded"
        machine.execute(node, [*kubectl, "wait", "pod/resolver", done, "--timeout=60s"])
        assert f'"gitVersion": "v{version}"' in machine.execute(node, [*kubectl, "logs", "resolver"])
    finally:
        subprocess.run([kind, "delete", "cluster", *options], check=True, capture_output=True, timeout=120)


@pytest.mark.kind
def test_a_registry_that_is_silent_is_given_up_soon_and_asked_once(
    machine: Engine, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many images are wanted of it, and the message says that it was not asked again."""
    monkeypatch.setattr(images, "_ANSWER_SECONDS", 1)
    registry.silent = True
    shop = Shop(machine, tmp_path, None, registry.prefix)
    message = shop.refusal(version="1.13.99")
    assert "gave no answer" in message
    assert f"{registry.prefix}/library/vault:1.13.99 was not asked for" in message
    assert "was not asked for" in shop.refusal(NODE)
    assert sum("is not asked again" in line for line in shop.told) == 1
