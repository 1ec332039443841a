"""A version becomes a container image: one that is here, the vendor's from a registry, or one made of its binary.

Images live in the store of the container engine. The ones that are made here carry labels that say of what, so that a
stale one is never used, and `made` finds them all.
"""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import indent
from typing import IO, Final

import msgspec

from harness import settings
from harness.artifacts import brought, debian_layer, node_image, templates
from harness.artifacts import store as artifacts
from harness.artifacts.binaries import Artifact
from harness.artifacts.debian_layer import LABEL
from harness.artifacts.downloads import without_credentials
from harness.artifacts.node_image import ImageBuild
from harness.artifacts.store import Store
from harness.clients.container_engine import Engine
from harness.clients.container_engine import Image as Stored
from harness.errors import HarnessError, LeftBehind, MissingPrerequisite, RigError, Unreachable, advised
from harness.host.locks import alone
from harness.knowledge import versions

VAULT: Final = "vault-image"
OPENBAO: Final = "openbao-image"
NODE: Final = "node-image"
PRELOADED: Final = "furnished-node-image"
SERVERS: Final = (VAULT, OPENBAO)
"""Those of what a Vault may be on its way."""

_ANSWER_SECONDS: Final = 8  # a registry that is there answers in one
_RECIPE_LABEL: Final = "rehearse.recipe"
_VERSION_LABEL: Final = "rehearse.version"
_BINARIES_LABEL: Final = "rehearse.binaries"
_SOURCE_LABEL: Final = "rehearse.source"
_TRIMMED_LABEL: Final = "rehearse.trimmed"
_BROUGHT_LABEL: Final = "rehearse.brought"
_REPOSITORIES: Final = {
    VAULT: "rehearse/vault",
    OPENBAO: "rehearse/openbao",
    NODE: "rehearse/node",
    PRELOADED: "rehearse/furnished-node",
}
_BINARIES: Final = {VAULT: "vault", OPENBAO: "openbao", NODE: "kubernetes"}
"""Of which binary each is made, whatever else is in it."""

_PROGRAMS: Final = {VAULT: "vault", OPENBAO: "bao"}
"""How that is called in an image that has nothing else."""

_UNREACHABLE: Final = re.compile(
    r"dial |lookup |no such host|timeout|timed out|deadline|refused|reset by peer|unreachable|proxyconnect|x509|tls:"
    r"|\bEOF\b|HTTP response to HTTPS",
    re.IGNORECASE,
)
_LIMITED: Final = re.compile(r"toomanyrequests|too many requests|\b429\b", re.IGNORECASE)
_FULL: Final = "no space left on device"


_OFFLINE: Final = "the engine's store has none of the vendor's, and no registry is asked while offline"


class Image(msgspec.Struct, frozen=True):
    """An image in the store of the engine, with its origin."""

    product: str
    version: str
    name: str
    """what to put into a pod spec, or to hand to `kind create cluster --image`"""
    id: str
    """sha256:..., of its configuration"""
    source: str
    """where it originally came from, in words; with the digest where a registry has one"""
    note: str = ""
    """what else a report has to say about this image"""
    trimmed: str = ""
    """what the binary in it leaves out of its release, in words; empty: nothing"""
    brings_network: bool = False
    """has this node image a network of its own for pods? Then kind must be told disableDefaultCNI"""


class Images:
    """Gets images and keeps them in the engine's store. Any number may share an engine, in one process or in many."""

    def __init__(
        self,
        engine: Engine,
        store: Store,
        cache: Path,
        tell: Callable[[str], None],
        registry: str = "",
        *,
        offline: bool = False,
        own: Mapping[tuple[str, str], str] | None = None,
    ) -> None:
        """*cache* (made if missing) is where images are put together, and where the locks are.

        *tell* is called with a line for people whenever something takes a while. *registry*, such as
        registry.example.com/mirror, is asked instead of the vendors'; *offline*: no registry is asked at all.
        *own* names images of the user's, by product and version, which go before all others.
        """
        self._engine, self._store, self._cache, self._tell = engine, store, cache.absolute(), tell
        self._registry, self._offline = registry.removeprefix("https://").strip("/"), offline
        self._silent: dict[str, str] = {}
        self._own = dict(own or {})

    def get(self, product: str, version: str) -> Image:
        """Return *version* of *product*, which is VAULT, OPENBAO or NODE: from the first source that has it.

        Those are an image of the user's own, one that was made here before, a vendor's in the engine's store, its
        registry, and making one.
        Two who want the same image at the same time get it once. Whoever wants its room back calls `remove`.

        Raises MissingPrerequisite, which names every source, what each answered, and what would help; RigError and
        Unreachable where the engine itself does not answer.
        """
        if product not in _BINARIES:
            raise MissingPrerequisite(f"there is no way to get {product!r}; there are {', '.join(_BINARIES)}")
        try:
            versions.parse(version)
        except ValueError as error:
            raise MissingPrerequisite(f"{product} {version!r} cannot be got: {error}") from error
        if name := self._own.get((product, version)):
            found = brought.image(self._engine, product, version, name, offline=self._offline)
            return _described(product, version, found, f"brought by the user: {name}{_digest_of(found)}")
        return self._here(product, version) or self._alone(product, version)

    def at_hand(self, product: str, version: str) -> Image | None:
        """Return what `get` would return if it had nothing to get; None where it had. Raises as `get`."""
        if product not in _BINARIES:
            return None
        if name := self._own.get((product, version)):
            found = self._engine.image(name)
            source = f"brought by the user: {name}"
            return None if found is None else _described(product, version, found, source)
        return self._here(product, version)

    def get_all(self, wanted: Sequence[tuple[str, str]]) -> list[Image]:
        """Return the (product, version) pairs of *wanted* in their order, each as `get` would. Raises as `get`."""
        found = {pair: self.get(*pair) for pair in dict.fromkeys(wanted)}
        return [found[pair] for pair in wanted]

    def preloaded(self, node: Image, images: Sequence[Image]) -> Image:
        """Return a node image like *node* whose clusters have *images* from the beginning; it is kept for the next run.

        Bringing an image into a cluster takes seconds that a second rehearsal need not spend again. Raises
        MissingPrerequisite where it cannot be made.
        """
        parts = " ".join([node.id, *(image.id for image in images), templates.text("node/import.sh")])
        digest = hashlib.sha256(parts.encode()).hexdigest()[:8]
        name = f"{_REPOSITORIES[PRELOADED]}:{_tag(node.version)}-{digest}"
        labels = {
            LABEL: PRELOADED,
            _VERSION_LABEL: node.version,
            _RECIPE_LABEL: digest,
            _SOURCE_LABEL: f"made here of {node.name} and {', '.join(image.name for image in images)}",
        }
        place = self._cache / "images"
        try:
            settings.made(place)
            with alone(place / f"{digest}.lock", self._tell, f"{name}: waiting for somebody else who makes it"):
                image = self._engine.image(name) or self._preload(node, images, name, labels)
        except (HarnessError, OSError) as error:
            raise MissingPrerequisite(f"a node image with Vault's images in it cannot be made: {error}") from error
        return msgspec.structs.replace(
            node, product=PRELOADED, name=image.name, id=image.id, source=labels[_SOURCE_LABEL]
        )

    def _preload(self, node: Image, images: Sequence[Image], name: str, labels: Mapping[str, str]) -> Stored:
        self._tell(f"{node.product} {node.version}: making {name}, which has {', '.join(one.name for one in images)}")
        with tempfile.TemporaryDirectory(dir=self._cache / "images", ignore_cleanup_errors=True) as work:
            return node_image.add(self._engine, node.name, [one.name for one in images], Path(work), name, labels)

    # --- sources, in their order ---

    def _here(self, product: str, version: str) -> Image | None:
        made = self._made_before(product, version)
        return made if made or self._is_of_own(product, version) else self._vendors(product, version)

    def _alone(self, product: str, version: str) -> Image:
        place = self._cache / "images"
        try:
            settings.made(place)
            waiting = f"{product} {version}: somebody else is getting it already; waiting for them"
            if self._offline:
                self._insist_on_ingredients(product, version)
            with alone(place / f"{product}-{version}.lock", self._tell, waiting):
                return self._here(product, version) or self._obtain(product, version)
        except OSError as error:
            helped = advised(error, "choose another place for the cache (REHEARSE_CACHE)")
            raise MissingPrerequisite(f"{product} {version} cannot be put together in {place}: {helped}") from error

    def _insist_on_ingredients(self, product: str, version: str) -> None:
        """Raise before anybody is waited for: what could not be made here is not worth the wait either."""
        try:
            self._ingredients(product, version)
        except HarnessError as error:
            raise self._not_to_be_had(product, version, [_OFFLINE, _not_made(error)]) from error

    def _obtain(self, product: str, version: str) -> Image:
        answers: list[str] = []
        own = self._is_of_own(product, version)
        for name in [] if self._offline or own else _published(product, version, self._registry):
            try:
                return self._pull(product, version, name)
            except HarnessError as error:
                answers.append(without_credentials(str(error)))
        if self._offline:
            answers.append(_OFFLINE)
        try:
            return self._make(product, version)
        except HarnessError as error:
            answers.append(_not_made(error))
        raise self._not_to_be_had(product, version, answers)

    def _not_to_be_had(self, product: str, version: str, answers: Sequence[str]) -> MissingPrerequisite:
        lines = [f"  - {indent(each, '    ').strip()}" for each in answers]
        helps = self._remedy(product, version, "\n".join(answers))
        return MissingPrerequisite("\n".join([f"{product} {version} is not available:", *lines, helps]))

    def _made_before(self, product: str, version: str) -> Image | None:
        """Return an image that was made by today's recipe of the very binaries that the cache has, or None.

        A binary that the cache has no more is no reason to make the image again. One that the user brings goes before
        the cache's, and what was made of one serves those alone who bring it again.
        """
        kept = {f"{one.product}-{one.version}": one.sha256 for one in artifacts.cached(self._cache)}
        own = {f"{one.product}-{one.version}": one.sha256 for one in self._store.all_own()}
        kept |= own
        for image in made(self._engine):
            labels = image.labels
            parts = dict(part.rpartition("@")[::2] for part in labels.get(_BINARIES_LABEL, "").split())
            if (
                (labels[LABEL], labels.get(_VERSION_LABEL)) == (product, version)
                and labels.get(_RECIPE_LABEL) == _recipe(product)
                and all(kept.get(name, digest) == digest for name, digest in parts.items())
                and set(labels.get(_BROUGHT_LABEL, "").split()) == own.keys() & parts.keys()
            ):
                return _described(product, version, image, labels.get(_SOURCE_LABEL, ""))
        return None

    def _is_of_own(self, product: str, version: str) -> bool:
        """Has the user brought a binary of which it is to be made, whatever others have?"""
        return any(
            (one.product, one.version) == (_BINARIES[product], version)
            or (product == NODE and one.product in brought.UNSEEN)
            for one in self._store.all_own()
        )

    def _vendors(self, product: str, version: str) -> Image | None:
        """Return the vendor's image from the engine's store; one that came from no registry is anybody's."""
        names = [*_published(product, version, self._registry), *_published(product, version, "")]
        for name in dict.fromkeys(names):
            image = self._engine.image(name)
            if image is not None and image.digest:
                return _described(product, version, image, f"registry image {name}@{image.digest}")
        return None

    def _pull(self, product: str, version: str, name: str) -> Image:
        registry = _registry_of(name)
        if registry in self._silent:
            raise MissingPrerequisite(f"{name} was not asked for: {self._silent[registry]}")
        with self._answering(registry):
            self._engine.published(name, _ANSWER_SECONDS)
            self._tell(f"{product} {version}: pulling {name}")
            image = self._engine.pull(name)
        self._tell(f"{product} {version}: ready")
        return _described(product, version, image, f"registry image {name}@{image.digest}")

    @contextmanager
    def _answering(self, registry: str) -> Iterator[None]:
        """Remember inside the block when *registry* cannot be reached or wants to be left in peace."""
        try:
            yield
        except (RigError, Unreachable) as error:
            said = without_credentials(str(error))
            if _LIMITED.search(said):
                self._silent[registry] = f"{registry} has had enough of requests from here"
            elif isinstance(error, Unreachable) or _UNREACHABLE.search(said):
                self._silent[registry] = f"{registry} could not be reached before"
                self._tell(f"{registry} could not be reached, and is not asked again: {said}")
            raise

    def _ingredients(self, product: str, version: str) -> ImageBuild:
        """Return what an image is made of, which is here then. Raises MissingPrerequisite."""
        if product in _PROGRAMS:
            return self._of_program(product, self._store.get(_BINARIES[product], version))
        return node_image.of(version, self._engine, self._store, self._cache, self._tell)

    def _make(self, product: str, version: str) -> Image:
        making = self._ingredients(product, version)
        source = "made here of " + ", ".join(_told(one) for one in making.binaries)
        labels = {
            LABEL: product,
            _VERSION_LABEL: version,
            _RECIPE_LABEL: _recipe(product),
            _BINARIES_LABEL: " ".join(f"{one.product}-{one.version}@{one.sha256}" for one in making.binaries),
            _SOURCE_LABEL: source,
            _TRIMMED_LABEL: "; ".join(one.trimmed for one in making.binaries if one.trimmed),
            _BROUGHT_LABEL: " ".join(f"{one.product}-{one.version}" for one in making.binaries if one.brought),
        }
        parts = f"{labels[_RECIPE_LABEL]} {labels[_BINARIES_LABEL]} {labels[_BROUGHT_LABEL]}".rstrip()
        digest = hashlib.sha256(parts.encode()).hexdigest()[:8]
        name = f"{_REPOSITORIES[product]}:{_tag(version)}-{digest}"
        self._tell(f"{product} {version}: making {name}")
        with brought.steady(*making.binaries):
            image = making.make(name, labels)
        self._tell(f"{product} {version}: ready")
        return _described(product, version, image, source)

    def _of_program(self, product: str, binary: Artifact) -> ImageBuild:
        def make(name: str, labels: Mapping[str, str]) -> Stored:
            with tempfile.TemporaryFile(dir=self._cache / "images") as file:
                _pack(product, file, binary.path)
                file.seek(0)
                return self._engine.build_from(file, name, labels)

        return ImageBuild((binary,), make)

    def _remedy(self, product: str, version: str, answers: str) -> str:
        helps = ["leave out --offline"] if self._offline else []
        if _FULL in answers:
            helps.append(f"make room in {self._engine.about().folder} (docker system df says what takes it)")
        if _LIMITED.search(answers):
            helps.append("docker login, which most registries allow more, or wait")
        if product == OPENBAO:
            brought = f"bring its release's binary (--binary openbao:{version}=/path/to/bao) or an image"
            return f"What would help: {brought} (--image openbao:{version}=openbao/openbao:{version})"
        vendors = _published(product, version, "")[0]
        helps.append(f"name a registry that has {vendors} (--registry)")
        helps.append(f"docker pull {vendors} where it can be, and bring it here through a registry")
        if licence := versions.needs_licence(version):
            helps.append(licence)
        return f"What would help: {'; or '.join(helps)}"


def made(engine: Engine) -> list[Stored]:
    """Return every image that was made here, those included on which others stand.

    Whoever builds an image of one of ours gets its labels as well; so its name has to be one of ours, too.
    """
    known = {**_REPOSITORIES, debian_layer.BASE: f"rehearse/{debian_layer.BASE}"}
    return [image for image in engine.images(LABEL) if image.name.rpartition(":")[0] == known.get(image.labels[LABEL])]


def names(image: Stored) -> list[str]:
    """Return what *image*, one that was made here, is called by: its product, and that with its version."""
    product, version = image.labels[LABEL], image.labels.get(_VERSION_LABEL, "")
    return [product, f"{product}-{version}"] if version else [product]


def origin(image: Stored) -> str:
    """Return where *image*, one that was made here, came from, in words."""
    return image.labels.get(_SOURCE_LABEL, "made here, for node images to stand on")


def remove(engine: Engine, wanted: Sequence[str]) -> int:
    """Remove the images that were made here; return the bytes that they took, shared ones counted for each.

    *wanted* are products, or product-version pairs such as vault-image-1.7.0; none means all. Raises LeftBehind, which
    names every image that could not be removed, because a container uses it; all others are gone then.
    """
    freed, left = 0, []
    # what stands on another image goes before it
    standing = [PRELOADED, NODE, VAULT, OPENBAO, debian_layer.BASE]
    for image in sorted(made(engine), key=lambda one: standing.index(one.labels[LABEL])):
        if not wanted or set(wanted) & set(names(image)):
            try:
                engine.remove_image(image.name)
                freed += image.size
            except RigError as error:
                left.append(str(error))
    if left:
        raise LeftBehind("\n".join(left))
    return freed


def _not_made(error: HarnessError) -> str:
    return f"cannot be made here: {without_credentials(str(error))}"


def _pack(product: str, file: IO[bytes], binary: Path) -> None:
    """Write the folder of which the image is built to *file*: the same bytes for the same binary, whoever packs it."""
    dockerfile = templates.text(f"{product}/Dockerfile").encode()
    with tarfile.open(fileobj=file, mode="w") as archive, binary.open("rb") as content:
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(dockerfile)
        archive.addfile(entry, io.BytesIO(dockerfile))
        for name, mode in (("root", 0o755), ("root/tmp", 0o1777), ("root/bin", 0o755)):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            archive.addfile(entry)
        entry = tarfile.TarInfo(f"root/bin/{_PROGRAMS[product]}")
        entry.size, entry.mode = binary.stat().st_size, 0o755
        archive.addfile(entry, content)


def _described(product: str, version: str, image: Stored, source: str) -> Image:
    ours = LABEL in image.labels
    if product == NODE and ours:
        note = "made here: one bridge for the pods of one node instead of kindnet, Debian's containerd"
        return Image(product, version, image.name, image.id, source, note, brings_network=True)
    trimmed = image.labels.get(_TRIMMED_LABEL, "")
    note = "made here: the binary alone, without the vendor's entrypoint" if ours else ""
    return Image(product, version, image.name, image.id, source, note, trimmed)


def _told(binary: Artifact) -> str:
    # of what the cache has, the digest can be looked up
    digest = f", sha256 {binary.sha256}" if binary.brought else ""
    return f"{binary.product} {binary.version} ({binary.source}{digest})"


def _digest_of(image: Stored) -> str:
    return f"@{image.digest}" if image.digest else ""


def _published(product: str, version: str, registry: str) -> list[str]:
    """Return the names under which the vendor publishes it, or a *registry* that mirrors the vendors'.

    OpenBao has none here: its binary is brought as well, and a run of either is of what the user has chosen.
    """
    if product == OPENBAO:
        return []
    if product == NODE:
        names = [f"kindest/node:v{version}"]
    elif "+ent" in version:
        names = [f"hashicorp/vault-enterprise:{_tag(version)}"]
    else:
        names = [f"hashicorp/vault:{version}"]
        # The official image of Docker's library ended with 1.13.
        if not versions.at_least(version, "1.14.0"):
            names.append(f"library/vault:{version}" if registry else f"vault:{version}")
    return [f"{registry}/{name}" for name in names] if registry else names


def _registry_of(name: str) -> str:
    host, slash, _ = name.partition("/")
    return host if slash and (set(host) & set(".:") or host == "localhost") else "docker.io"


def _tag(version: str) -> str:
    return version.replace("+", "-")


def _recipe(product: str) -> str:
    """Return what changes whenever an image of *product* would be made differently, its binaries apart."""
    text = templates.text(f"{product}/Dockerfile") if product in _PROGRAMS else node_image.recipe()
    return hashlib.sha256(text.encode()).hexdigest()[:16]
