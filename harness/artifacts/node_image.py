"""How an image for a kind node is made without any registry: the base of all, our binaries, and the images of its pods.

The pods' images are written as an archive that containerd reads, so that the engine never holds an image that calls
itself registry.k8s.io.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from harness.artifacts import debian_layer, go_recipes, templates
from harness.artifacts import store as artifacts
from harness.artifacts.binaries import Artifact
from harness.artifacts.go_builds import passing_home
from harness.artifacts.store import Store
from harness.clients.container_engine import Engine, Image
from harness.errors import MissingPrerequisite

_COMMANDS: Final = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy")
_SCRIPTS: Final = ("kube-proxy.sh", "fill.sh", "import.sh")
_ANSWER_SECONDS: Final = 60.0
_PATH: Final = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LESS_GARBAGE: Final = "GOGC=400"
"""A control plane makes much garbage at its start; to collect it as often as Go does costs a fifth of that time."""

_MOUNT: Final = "/mnt"


@dataclass(frozen=True, slots=True)
class ImageBuild:
    """What an image is made of, and what makes it under a name, with labels."""

    binaries: tuple[Artifact, ...]
    make: Callable[[str, Mapping[str, str]], Image]


def recipe() -> str:
    """Return a text that changes whenever a node image would be made differently, its binaries apart."""
    return "\0".join([debian_layer.recipe(), _LESS_GARBAGE, *(templates.text(f"node/{name}") for name in _SCRIPTS)])


def of(version: str, engine: Engine, store: Store, cache: Path, tell: Callable[[str], None]) -> ImageBuild:
    """Return what an image for Kubernetes *version* is made of; the binaries are there, built if they had to be.

    Raises MissingPrerequisite for a binary that is not available.
    """
    kubernetes = store.get("kubernetes", version)
    names = _images(kubernetes)
    wanted = [
        ("etcd", _version(names["etcd"])),
        ("coredns", _version(names["coredns"])),
        ("pause", go_recipes.PAUSE),
    ]
    binaries = (kubernetes, *store.get_all(wanted))

    def make(name: str, labels: Mapping[str, str]) -> Image:
        base = debian_layer.get(engine, store, cache, tell)
        work = cache / "images" / f"{labels[debian_layer.LABEL]}-{version}"
        shutil.rmtree(work, ignore_errors=True)  # of a process that was killed: only one at a time makes this image
        work.mkdir(mode=0o700)
        try:
            return _NodeImageBuild(engine, base, work, binaries, names).make(name, labels)
        finally:
            shutil.rmtree(work, ignore_errors=True)

    return ImageBuild(binaries, make)


def add(engine: Engine, node: str, names: Sequence[str], work: Path, made: str, labels: Mapping[str, str]) -> Image:
    """Make the image *made* of the image *node*: each cluster of it begins with the images *names*, unpacked.

    They are the engine's. *work* is a new folder for the time being; the caller removes it.
    """
    for number, name in enumerate(names):
        with (work / f"{number}.tar").open("wb") as archive:
            archive.writelines(engine.export(name))
    (work / "import.sh").write_text(templates.text("node/import.sh"))
    with engine.workshop(node, _workshop(made), work, _MOUNT) as container:
        archives = [f"{_MOUNT}/{number}.tar" for number in range(len(names))]
        engine.execute(container, ["sh", f"{_MOUNT}/import.sh", *archives])
        return engine.commit(container, made, labels, debian_layer.changes())


def _workshop(made: str) -> str:
    """Return the name of the container in which the image *made* comes to be."""
    return "rehearse-making-" + re.sub(r"[^a-z0-9.-]", "-", made)


def _images(kubernetes: Artifact) -> dict[str, str]:
    """Return the names of the images that this version's kubeadm asks for, by the last word of their repository."""
    argv = [
        str(kubernetes.path),
        "kubeadm",
        "config",
        "images",
        "list",
        "--kubernetes-version",
        f"v{kubernetes.version}",
    ]
    with passing_home() as home:
        try:
            done = subprocess.run(
                argv, env={"HOME": str(home)}, capture_output=True, text=True, timeout=_ANSWER_SECONDS, check=True
            )
        except (OSError, subprocess.SubprocessError) as error:
            said = getattr(error, "stderr", "") or ""
            raise MissingPrerequisite(
                f"kubeadm {kubernetes.version} does not name its images: {error} {said}"
            ) from error
    found = {line.rpartition("/")[2].partition(":")[0]: line for line in done.stdout.split()}
    if missing := {*_COMMANDS, "etcd", "coredns", "pause"} - found.keys():
        raise MissingPrerequisite(f"kubeadm {kubernetes.version} names no image for {', '.join(sorted(missing))}")
    return found


def _version(image: str) -> str:
    """Return the version of what is in *image*: that of registry.k8s.io/etcd:3.5.16-0 is 3.5.16."""
    found = re.search(r":v?(\d+\.\d+\.\d+)", image)
    if found is None:
        raise MissingPrerequisite(f"kubeadm asks for {image}, and that tag tells no version")
    return found[1]


@dataclass(frozen=True, slots=True)
class _NodeImageBuild:
    """One container of the base in which a node image comes to be, and the folder that it sees as /mnt."""

    engine: Engine
    base: str
    work: Path
    binaries: tuple[Artifact, ...]
    names: Mapping[str, str]

    def make(self, name: str, labels: Mapping[str, str]) -> Image:
        kubernetes = self.binaries[0]
        shutil.copyfile(kubernetes.path, self.work / "kubernetes")
        for script in _SCRIPTS:
            (self.work / script).write_text(templates.text(f"node/{script}"))
        with self.engine.workshop(self.base, _workshop(name), self.work, _MOUNT) as container:
            self.engine.execute(container, ["sh", f"{_MOUNT}/kube-proxy.sh"])
            self._write_images(self.work / "images.tar")
            fill = ["sh", f"{_MOUNT}/fill.sh", kubernetes.version, self.names["pause"]]
            self.engine.execute(container, fill)
            return self.engine.commit(container, name, labels, debian_layer.changes())

    def _write_images(self, archive: Path) -> None:
        """Write the images of every pod that a control plane consists of to *archive*, as docker save would."""
        paths = {one.product: one.path for one in self.binaries}
        with tarfile.open(archive, "w") as tar:
            kube = _layer(tar, paths["kubernetes"], "usr/local/bin/kube", _COMMANDS)
            with (self.work / "kube-proxy.tar").open("rb") as file:
                proxy = _packed(tar, file)
            images = [_image(tar, self.names[name], [kube], "") for name in _COMMANDS if name != "kube-proxy"]
            images.append(_image(tar, self.names["kube-proxy"], [kube, proxy], ""))
            for product, place in (("etcd", "usr/local/bin/etcd"), ("coredns", "coredns"), ("pause", "pause")):
                images.append(_image(tar, self.names[product], [_layer(tar, paths[product], place)], f"/{place}"))
            _add(tar, "manifest.json", msgspec.json.encode(images))


class _Layer(msgspec.Struct, frozen=True):
    name: str
    digest: str
    """that of the layer before it is compressed"""


def _layer(tar: tarfile.TarFile, binary: Path, place: str, names: Sequence[str] = ()) -> _Layer:
    """Add a layer with *binary* at *place*, with symbolic links of these *names* beside it, and return it."""
    with tempfile.TemporaryFile(dir=Path(str(tar.name)).parent) as file:
        with tarfile.open(fileobj=file, mode="w") as layer, binary.open("rb") as content:
            entry = tarfile.TarInfo(place)
            entry.size, entry.mode = binary.stat().st_size, 0o755
            layer.addfile(entry, content)
            for name in names:
                entry = tarfile.TarInfo(str(Path(place).with_name(name)))
                entry.type, entry.linkname = tarfile.SYMTYPE, Path(place).name
                layer.addfile(entry)
            entry = tarfile.TarInfo("tmp")
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777
            layer.addfile(entry)
        file.seek(0)
        return _packed(tar, file)


def _packed(tar: tarfile.TarFile, layer: IO[bytes]) -> _Layer:
    """Add *layer*, a tar file, to *tar* and return it: compressed, because every cluster begins with a copy of it."""
    digest = hashlib.sha256()
    while piece := layer.read(1 << 20):
        digest.update(piece)
    layer.seek(0)
    with tempfile.TemporaryFile(dir=Path(str(tar.name)).parent) as file:
        with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1, mtime=0) as packed:
            shutil.copyfileobj(layer, packed, 1 << 20)
        entry = tarfile.TarInfo(f"{digest.hexdigest()}/layer.tar")
        entry.size = file.tell()
        file.seek(0)
        tar.addfile(entry, file)
    return _Layer(entry.name, digest.hexdigest())


def _image(tar: tarfile.TarFile, name: str, layers: Sequence[_Layer], entrypoint: str) -> dict[str, Any]:
    """Add the configuration of the image *name* to *tar* and return its entry in the manifest."""
    config = msgspec.json.encode(
        {
            "architecture": artifacts.architecture(),
            "os": "linux",
            "config": {"Env": [_PATH, _LESS_GARBAGE], "Entrypoint": [entrypoint] if entrypoint else None},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer.digest}" for layer in layers]},
        }
    )
    file = f"{hashlib.sha256(config).hexdigest()}.json"
    _add(tar, file, config)
    return {"Config": file, "RepoTags": [name], "Layers": [layer.name for layer in layers]}


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))
