"""What the user brings: binaries and images of their own, and the licence of a Vault Enterprise.

Nothing of it goes into the cache, which others share. A binary stays where it is, and is checked again whenever it is
started: what a report names by its digest is what ran.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from harness import wait
from harness.artifacts import binaries, digests, go_recipes
from harness.artifacts.binaries import Artifact
from harness.artifacts.downloads import Untrustworthy
from harness.clients import engine_things
from harness.clients.container_engine import Engine
from harness.clients.container_engine import Image as Stored
from harness.clients.engine_things import Thing
from harness.errors import HarnessError, MissingPrerequisite, RigError
from harness.knowledge import versions
from harness.secret import Secret
from harness.wait import now

IMAGES: Final = {"vault": "vault-image", "openbao": "openbao-image", "node": "node-image"}
"""What --image calls a product, and what a plan calls its image."""

LICENCE_FILE: Final = "licence.hclic"
"""What the file is called in which a server finds its licence."""

_MADE_OF: Final = {"vault": "vault-image", "openbao": "openbao-image", "kubernetes": "node-image"}
UNSEEN: Final = frozenset({"etcd", "coredns", "pause"})
"""What a node image has beside Kubernetes; in which version, kubeadm alone knows."""

_MOST_LICENCE: Final = 1 << 16
_IMAGE_SECONDS: Final = 120
_COMMANDS: Final = {
    "vault-image": ("vault", "/bin/vault"),
    # its releases had it in /bin, and have it in /usr/bin
    "openbao-image": ("openbao", "bao"),
    "node-image": ("kubernetes", "/usr/bin/kubelet"),
}
_POD_HIDES: Final = ("/run", "/var/run")


class Brought(msgspec.Struct, frozen=True):
    """What the command line names of the user's own. It can be pickled, and holds no secret."""

    binaries: tuple[tuple[str, str, Path], ...] = ()
    """product, version, and the file"""
    images: tuple[tuple[str, str, str], ...] = ()
    """what --image calls the product, version, and the image's name"""
    licence_file: Path | None = None

    def words(self) -> list[str]:
        """Return it as options of the command line."""
        words = [f"--binary={product}:{version}={path}" for product, version, path in self.binaries]
        words += [f"--image={product}:{version}={name}" for product, version, name in self.images]
        return [*words, f"--licence-file={self.licence_file}"] if self.licence_file else words

    def paths(self) -> dict[tuple[str, str], Path]:
        """Return the files by product and version."""
        return {(product, version): path for product, version, path in self.binaries}

    def names(self) -> dict[tuple[str, str], str]:
        """Return the images' names by product, as a plan calls it, and version."""
        return {(IMAGES[product], version): name for product, version, name in self.images}

    def unused(self, artifacts: Iterable[tuple[str, str]]) -> list[str]:
        """Return the options for which nothing among *artifacts*, those of one or many plans, has any use."""
        wanted = set(artifacts)
        images = any(product in IMAGES.values() for product, _ in wanted)
        unused = []
        for product, version, _ in self.binaries:
            made = (_MADE_OF.get(product, ""), version) in wanted or (images and product in UNSEEN)
            if (product, version) not in wanted and not made:
                unused.append(f"--binary {product}:{version}")
        unused += [
            f"--image {product}:{version}"
            for product, version, _ in self.images
            if (IMAGES[product], version) not in wanted
        ]
        return unused


def parsed(text: str, products: Iterable[str]) -> tuple[str, str, str]:
    """Return product, version and place out of *text*, such as "vault:1.15.6=/opt/vault".

    Raises ValueError with what would be right.
    """
    name, equals, place = text.partition("=")
    product, colon, version = name.partition(":")
    known = sorted(products)
    if not (equals and colon and place):
        raise ValueError(f"{text!r} is not PRODUCT:VERSION=PLACE, such as {known[-1]}:1.15.6=...")
    if product not in known:
        raise ValueError(f"there is no product {product!r}; there are {', '.join(known)}")
    try:
        versions.parse(version)
    except ValueError as error:
        raise ValueError(f"{version!r}: {error}") from None
    return product, version, place


def take(product: str, version: str, path: Path) -> Artifact:
    """Return the user's binary at *path*, which is what it is said to be.

    Raises MissingPrerequisite where it is not there, is no file, or may not be executed, and Untrustworthy, which is
    one too, where it does not run or answers as another version.
    """
    named = f"{product} {version} was to be {path} (--binary)"
    try:
        before = _fingerprint(path)
    except OSError as error:
        raise MissingPrerequisite(
            f"{named}, and that cannot be read: {error.strerror}; name the file itself"
        ) from error
    if not stat.S_ISREG(before[0]):
        what = "a directory" if stat.S_ISDIR(before[0]) else "no file"
        raise MissingPrerequisite(f"{named}, and that is {what}; name the file itself")
    if not os.access(path, os.X_OK | os.R_OK):
        mend = f"chmod u+rx {shlex.quote(str(path))}"
        raise MissingPrerequisite(f"{named}, and this user may not read and execute it: {mend}")
    if any(path.resolve().is_relative_to(place) for place in _POD_HIDES):
        raise MissingPrerequisite(f"{named}, and a Vault in a pod sees nothing below /run: put it elsewhere")
    binaries.insist_on_version(product, version, path, f"brought as {path}")
    artifact = Artifact(
        product,
        version,
        path,
        source=f"brought by the user: {path}",
        sha256=digests.digest(path),
        note="asked for its version, and not kept in the cache",
        brought=before,
    )
    _insist_unchanged(artifact)
    return artifact


@contextmanager
def steady(*artifacts: Artifact) -> Iterator[None]:
    """Start servers of *artifacts* inside the block: what the user has brought must be the same before and after it.

    Raises RigError where it is not, whatever became of the server: nobody knows what it was that ran.
    """
    for one in artifacts:
        _insist_unchanged(one)
    try:
        yield
    except HarnessError:
        for one in artifacts:
            _insist_unchanged(one)
        raise
    for one in artifacts:
        _insist_unchanged(one)


def _insist_unchanged(artifact: Artifact) -> None:
    if not artifact.brought:
        return
    named = f"{artifact.path}, brought as {artifact.product} {artifact.version}"
    again = "leave it alone while a run goes on, and run again"
    try:
        # who makes a link to it changes its times, and nothing else
        if _fingerprint(artifact.path) != artifact.brought and digests.digest(artifact.path) != artifact.sha256:
            raise RigError(f"{named}, was changed during the run, so nobody knows what ran: {again}")
    except OSError as error:
        raise RigError(f"{named}, went away during the run ({error.strerror}): {again}") from error


def _fingerprint(path: Path) -> tuple[int, ...]:
    about = path.stat()
    return (about.st_mode, about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)


def image(engine: Engine, product: str, version: str, name: str, *, offline: bool) -> Stored:
    """Return the user's image *name*, which holds *version* of *product*; it is pulled if the engine does not have it.

    Raises MissingPrerequisite where it cannot be had, and Untrustworthy where it answers as another version.
    """
    named = f"{product} {version} was to be {name} (--image)"
    try:
        found = engine.image(name)
        if found is None and offline:
            raise MissingPrerequisite(f"{named}, the engine has no such image, and no registry is asked while offline")
        found = found or engine.pull(name)
        told = _said(engine, found.id, product)
    except MissingPrerequisite:
        raise
    except HarnessError as error:
        raise MissingPrerequisite(f"{named}, and that cannot be used: {error}") from error
    binary, command = _COMMANDS[product]
    if not go_recipes.answers(binary, version, told):
        raise Untrustworthy(f"{named}, but its {command} answers {told[:200]!r}: not used")
    return found


def _said(engine: Engine, name: str, product: str) -> str:
    """Return what the program that matters in the image *name* says of its version."""
    binary, command = _COMMANDS[product]
    question = [word for word in go_recipes.question(binary) if word != "kubelet"]
    asked = engine.start(
        name,
        question,
        entrypoint=[command],
        labels=engine_things.labels("trial", now() + _IMAGE_SECONDS),
        network_mode="none",
    )
    try:
        wait.until(lambda: engine.ended(asked), what=f"{name} to say its version", seconds=_IMAGE_SECONDS, every=0.05)
        return "\n".join(engine.logs(asked, "all")).strip()
    finally:
        engine.remove(Thing("container", asked, asked, {}))


def licence(file: Path | None, environment: Mapping[str, str]) -> Secret | None:
    """Return the licence for Vault Enterprise: out of *file*, or as the user's *environment* has it for Vault itself.

    Raises MissingPrerequisite for a file that cannot be read or holds none.
    """
    if file is None and (content := environment.get("VAULT_LICENSE", "").strip()):
        return Secret(content)
    named = str(file) if file else environment.get("VAULT_LICENSE_PATH", "")
    if not named:
        return None
    try:
        with Path(named).open("rb") as stream:
            content = stream.read(_MOST_LICENCE + 1).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise MissingPrerequisite(f"the licence {named} cannot be read: {why}; name another --licence-file") from None
    if not content or len(content) > _MOST_LICENCE:
        raise MissingPrerequisite(f"{named} holds no licence: it is {'too large' if content else 'empty'}")
    return Secret(content)


def is_enterprise(version: str) -> bool:
    """Is this a Vault that wants a licence?"""
    return bool(versions.needs_licence(version))
