"""A binary comes from a release server, or from a mirror of it, and is believed only after its checksum.

The layout of a mirror: below its base URL, `vault/` and `consul/` hold what https://releases.hashicorp.com/ has there,
`kubernetes/` what https://dl.k8s.io/ holds, `etcd/` what https://github.com/etcd-io/etcd/releases/download/ holds, and
`kind/` what https://github.com/kubernetes-sigs/kind/releases/download/ holds. For instance
MIRROR/vault/1.11.0/vault_1.11.0_linux_amd64.zip with MIRROR/vault/1.11.0/vault_1.11.0_SHA256SUMS,
MIRROR/kubernetes/v1.32.0/bin/linux/amd64/kube-apiserver with the same name and .sha256,
MIRROR/etcd/v3.5.16/etcd-v3.5.16-linux-amd64.tar.gz with MIRROR/etcd/v3.5.16/SHA256SUMS, and
MIRROR/kind/v0.30.0/kind-linux-amd64 with the same name and .sha256sum.

A checksum says as much as the connection it came over; so a server without TLS is asked only where the user says so.
Those of Vault and Consul are signed by their vendor as well (the same name and .sig), and that holds whoever mirrors
them. The others' are not, or not with a key that could be shipped.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, Final
from urllib.parse import urljoin, urlsplit

import requests

from harness.artifacts import signatures
from harness.errors import MissingPrerequisite
from harness.wait import Stopwatch, pause

_CONNECT_SECONDS: Final = 3.0
_SILENT_SECONDS: Final = 10.0
_TRIES: Final = 3
_LONGEST_PAUSE: Final = 20.0  # a server that wants more patience is given up: there is another source
_SLOWEST: Final = 10_000  # bytes a second, once a download has had time to get going
_GETTING_GOING_SECONDS: Final = 30.0
_CHUNK: Final = 1 << 16
_MOST_CHECKSUMS: Final = 1 << 20
_MOST_INDEX: Final = 64 << 20
_MOST_BYTES: Final = 1 << 30
_MOST_UNPACKED: Final = 2 << 30


class Untrustworthy(MissingPrerequisite):
    """What a source gave is not what it says it is, or nobody could know. No other source may paper over that."""


class _AbsentError(MissingPrerequisite):
    """A server was asked, and has no such file."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """Where a binary came from, and in *note* on what it was believed."""

    url: str
    note: str


@dataclass(frozen=True, slots=True)
class _Release:
    """Where a product is published: below *vendor*, or below *mirrored* on a mirror. *member* is "" if not packed."""

    vendor: str
    mirrored: str
    file: str
    checksums: str
    member: str = ""
    signature: str = ""
    """of the file of checksums, by the key that is called as the vendor is; "" if there is none"""
    signer: str = ""


def _of_hashicorp(product: str) -> _Release:
    return _Release(
        vendor=f"https://releases.hashicorp.com/{product}",
        mirrored=product,
        file=f"{{version}}/{product}_{{version}}_linux_{{arch}}.zip",
        checksums=f"{{version}}/{product}_{{version}}_SHA256SUMS",
        member=product,
        signature=f"{{version}}/{product}_{{version}}_SHA256SUMS.sig",
        signer=signatures.HASHICORP,
    )


_RELEASES: Final[Mapping[str, _Release]] = {
    "vault": _of_hashicorp("vault"),
    "consul": _of_hashicorp("consul"),
    "kube-apiserver": _Release(
        vendor="https://dl.k8s.io",
        mirrored="kubernetes",
        file="v{version}/bin/linux/{arch}/kube-apiserver",
        checksums="v{version}/bin/linux/{arch}/kube-apiserver.sha256",
    ),
    "etcd": _Release(
        vendor="https://github.com/etcd-io/etcd/releases/download",
        mirrored="etcd",
        file="v{version}/etcd-v{version}-linux-{arch}.tar.gz",
        checksums="v{version}/SHA256SUMS",
        member="etcd-v{version}-linux-{arch}/etcd",
    ),
    "kind": _Release(
        vendor="https://github.com/kubernetes-sigs/kind/releases/download",
        mirrored="kind",
        file="v{version}/kind-linux-{arch}",
        checksums="v{version}/kind-linux-{arch}.sha256sum",
    ),
}


class Downloads:
    """Knows the release servers, and which of them could not be reached: those are asked once, not for every binary."""

    def __init__(
        self,
        mirror: str,
        environment: Mapping[str, str],
        tell: Callable[[str], None],
        *,
        insecure: bool = False,
        silent_seconds: float = _SILENT_SECONDS,
    ) -> None:
        """*mirror* replaces every vendor's server ("": none does). *environment* is read for proxies and CA files only.

        *insecure*: a mirror without TLS is asked too.
        *silent_seconds* is how long a server may go without sending a byte; left out, it is ten seconds.
        """
        self._mirror, self._insecure = mirror.rstrip("/"), insecure
        self._environment = environment
        self._tell = tell
        self._silent_seconds = silent_seconds
        self._unreachable: set[str] = set()

    def fetch(self, product: str, version: str, arch: str, binary: Path) -> Fetched:
        """Download *version* of *product* for Linux on *arch* into the new file *binary*; return where it came from.

        Whoever gave *binary* removes its directory; what is left beside it after an error goes with that. Raises
        Untrustworthy if what came does not have the published checksum, if that was not signed by who should have, if
        it is no honest archive, and for a mirror without TLS; MissingPrerequisite if the server cannot be reached, has
        no such version, or does not deliver it, and for a product that no server has in this form.
        """
        if product not in _RELEASES:
            raise MissingPrerequisite(
                f"{product} is not published in the form that is needed here: nothing to download"
            )
        release, words = _RELEASES[product], {"version": version, "arch": arch}
        base = f"{self._mirror}/{release.mirrored}" if self._mirror else release.vendor
        url = f"{base}/{release.file.format(**words)}"
        plain = self._without_tls(url)
        sums_url = f"{base}/{release.checksums.format(**words)}"
        sums = self._read(sums_url)
        expected = _checksum(sums, sums_url, url)
        note = self._signed(sums, f"{base}/{release.signature.format(**words)}", release)
        packed = binary.with_name(PurePosixPath(urlsplit(url).path).name)
        self._tell(f"{product} {version}: downloading {without_credentials(url)}")
        with packed.open("wb") as file:
            found = self._get(url, file, _MOST_BYTES)
        if found != expected:
            raise Untrustworthy(
                f"{without_credentials(url)} has SHA-256 {found}, but {expected} is published for it. It was thrown "
                "away. Ask whoever runs that server; nothing else is tried, because this can be tampering"
            )
        if release.member:
            _unpack(packed, release.member.format(**words), binary)
            packed.unlink()
        else:
            packed.replace(binary)
        return Fetched(without_credentials(url), f"{plain}{note}")

    def read(self, product: str, file: str) -> bytes:
        """Return what the server of *product* has as *file*, such as an index of its releases; it is signed by nobody.

        Raises as `fetch`.
        """
        release, text = _RELEASES[product], BytesIO()
        url = f"{f'{self._mirror}/{release.mirrored}' if self._mirror else release.vendor}/{file}"
        self._without_tls(url)
        self._get(url, text, _MOST_INDEX)
        return text.getvalue()

    def _without_tls(self, url: str) -> str:
        """Return what a report has to say of a *url* without TLS. Raises Untrustworthy where nobody said it may be."""
        if url.startswith("https:"):
            return ""
        if not self._insecure:
            raise Untrustworthy(
                f"{without_credentials(url)} was not asked: without TLS whoever is on the way can put another binary "
                "and its checksum in its place, and it would be run at once. Name the mirror with https://, or add "
                "--insecure-mirror if nobody else can be on the way"
            )
        return "came without TLS; "

    def _read(self, url: str) -> bytes:
        text = BytesIO()
        self._get(url, text, _MOST_CHECKSUMS)
        return text.getvalue()

    def _signed(self, sums: bytes, url: str, release: _Release) -> str:
        """Return what is known of who signed *sums*; *url* is where the signature is, if the vendor makes any.

        Raises Untrustworthy for a signature that is not the vendor's, and for none where the vendor itself is asked.
        """
        if not release.signature:
            return "its checksum alone was checked: its vendor signs none with a key of its own"
        named = without_credentials(url)
        try:
            signature = self._read(url)
        except _AbsentError as error:
            if not self._mirror:
                raise Untrustworthy(
                    f"{named} does not exist, though the vendor signs every release: not downloaded, because this can "
                    "be tampering"
                ) from error
            return "its checksum alone was checked: the mirror has no signature of the vendor's"
        try:
            return f"its checksum was signed by {signatures.check(sums, signature, release.signer)}"
        except signatures.NotSigned as error:
            raise Untrustworthy(
                f"{named} is no signature of {release.signer} for the checksums beside it: {error}. Nothing was "
                "downloaded. Ask whoever runs that server; nothing else is tried, because this can be tampering"
            ) from error

    def _get(self, url: str, sink: IO[bytes], most: int) -> str:
        """Write what is at *url* to *sink* and return its SHA-256; a server that asks for patience gets some."""
        for left in reversed(range(_TRIES)):
            sink.seek(0)
            sink.truncate()
            try:
                return self._get_once(url, sink, most)
            except _NotNow as answer:
                if not left or answer.seconds > _LONGEST_PAUSE:
                    raise MissingPrerequisite(f"{answer}; given up") from answer
                self._tell(f"{answer}; trying again in {answer.seconds:g} s")
                pause(answer.seconds)
        raise AssertionError("the last try either returns or raises")

    def _get_once(self, url: str, sink: IO[bytes], most: int) -> str:
        digest, watch, size, named = hashlib.sha256(), Stopwatch(), 0, without_credentials(url)
        with self._answer(url) as answer:
            expected = int(answer.headers.get("Content-Length", 0))
            for chunk in answer.iter_content(_CHUNK):
                digest.update(chunk)
                size += sink.write(chunk)
                if size > most:
                    raise Untrustworthy(f"{named} is larger than {most} bytes: not believed, and thrown away")
                if watch.seconds > _GETTING_GOING_SECONDS and size < _SLOWEST * watch.seconds:
                    raise MissingPrerequisite(f"{named} came at {size / watch.seconds:.0f} bytes a second: given up")
        if size < expected:
            raise _NotNow(f"{named} ended after {size} of {expected} bytes", 0.0)
        return digest.hexdigest()

    @contextmanager
    def _answer(self, url: str) -> Iterator[requests.Response]:
        """Yield the answer to a GET, once it is 200; what goes wrong here or while it is read gets our names."""
        server, named = urlsplit(url).netloc.rpartition("@")[2], without_credentials(url)
        if server in self._unreachable:
            raise MissingPrerequisite(f"{named} was not asked: {server} could not be reached before")
        try:
            with (
                self._session(url) as session,
                session.get(url, stream=True, timeout=(_CONNECT_SECONDS, self._silent_seconds)) as answer,
            ):
                _check_status(answer, named)
                yield answer
        except requests.exceptions.ChunkedEncodingError as error:
            raise _NotNow(f"{named} broke off: {_reason(error)}", 0.0) from error
        except (requests.exceptions.ConnectionError, requests.exceptions.Timeout) as error:
            self._unreachable.add(server)
            sentence = f"{named} could not be reached, or fell silent: {_reason(error)}"
            self._tell(f"{sentence}; {server} is not asked again")
            raise MissingPrerequisite(sentence) from error
        except requests.exceptions.RequestException as error:
            raise MissingPrerequisite(f"{named} cannot be asked: {_reason(error)}") from error

    def _session(self, url: str) -> requests.Session:
        session = _Session()
        # Else requests would read this process's environment and a .netrc, which may hold credentials for other things.
        session.trust_env = False
        session.headers["Accept-Encoding"] = "identity"
        session.proxies.update(_proxies(self._environment, urlsplit(url).hostname or ""))
        authorities = self._environment.get("SSL_CERT_FILE") or self._environment.get("SSL_CERT_DIR")
        if authorities and Path(authorities).exists():
            session.verify = authorities
        return session


class _Session(requests.Session):
    """One that TLS is never taken from, not even on the way to a server that has it."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return where *resp* sends us on to. Raises Untrustworthy where that is from TLS to none."""
        target = super().get_redirect_target(resp)
        if target and resp.url.startswith("https:") and not urljoin(resp.url, target).startswith("https:"):
            resp.close()
            raise Untrustworthy(f"{without_credentials(resp.url)} redirects to a server without TLS: not followed")
        return target


class _NotNow(Exception):
    """The server may well deliver if it is asked again after so many *seconds*."""

    def __init__(self, message: str, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(message)


def _checksum(sums: bytes, url: str, of: str) -> str:
    """Return the checksum of the file at *of* that stands in *sums*, which came from *url*."""
    name = PurePosixPath(urlsplit(of).path).name
    for line in sums.decode(errors="replace").splitlines():
        words = line.split()
        # kube-apiserver's file holds the sum alone; the others name the file, with a star for "binary".
        if words and re.fullmatch(r"[0-9a-fA-F]{64}", words[0]) and words[1:] in ([], [name], [f"*{name}"]):
            return words[0].lower()
    raise MissingPrerequisite(f"{without_credentials(url)} publishes no SHA-256 for {name}: not downloaded")


def without_credentials(text: str) -> str:
    """Return *text* with the user and password of every URL in it left out."""
    return re.sub(r"(?<=://)[^/@\s]+@", "", text)


def _check_status(answer: requests.Response, named: str) -> None:
    status = answer.status_code
    if status in {404, 410}:
        raise _AbsentError(f"{named} does not exist ({status}): that version was not published there")
    if status == 429 or status >= 500:
        # A date is allowed here too, but hardly used; then one second is as good as any.
        wished = answer.headers.get("Retry-After", "1")
        raise _NotNow(f"{named} answered {status}", float(wished) if wished.isdecimal() else 1.0)
    if status != 200:
        raise MissingPrerequisite(f"{named} answered {status} {answer.reason}")


def _reason(error: BaseException) -> str:
    """Return the innermost of the reasons that are wrapped around each other, without credentials."""
    inner: object = error
    while isinstance(inner, BaseException):
        last: BaseException = inner
        inner = getattr(inner, "reason", None) or next((a for a in inner.args if isinstance(a, BaseException)), None)
    return without_credentials(re.sub(r"^HTTPS?Connection(?:Pool)?\([^)]*\): ", "", str(last)))


def _proxies(environment: Mapping[str, str], host: str) -> dict[str, str]:
    lower = {name.lower(): value for name, value in environment.items() if name.lower().endswith("_proxy") and value}
    for exempt in lower.get("no_proxy", "").replace(",", " ").split():
        if exempt == "*" or f".{host}".endswith(f".{exempt.lstrip('*.')}"):
            return {}
    return {
        scheme: lower.get(f"{scheme}_proxy", lower.get("all_proxy", ""))
        for scheme in ("http", "https")
        if f"{scheme}_proxy" in lower or "all_proxy" in lower
    }


def _unpack(archive: Path, member: str, binary: Path) -> None:
    """Write the one wanted *member* of *archive* to *binary*; an archive with a climbing path is refused whole."""
    try:
        if archive.suffix == ".zip":
            with zipfile.ZipFile(archive) as packed:
                _refuse_climbing(archive, packed.namelist())
                with packed.open(member) as source:
                    _copy(source, binary)
            return
        with tarfile.open(archive, "r:*") as tar:
            _refuse_climbing(archive, tar.getnames())
            content = tar.extractfile(tar.getmember(member)) if tar.getmember(member).isreg() else None
            if content is None:
                raise Untrustworthy(f"{member} is no regular file in the archive: not unpacked")
            with content:
                _copy(content, binary)
    except KeyError as error:
        raise Untrustworthy(f"the archive has the published checksum, but no {member} inside") from error
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError) as error:
        raise Untrustworthy(f"the archive has the published checksum, but cannot be unpacked: {error}") from error


def _refuse_climbing(archive: Path, names: list[str]) -> None:
    for name in names:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise Untrustworthy(f"the archive {archive.name} wants to write outside of itself ({name!r}): not unpacked")


def _copy(source: IO[bytes], binary: Path) -> None:
    with binary.open("wb") as target:
        shutil.copyfileobj(_Bounded(source), target, 1 << 20)


class _Bounded:
    """A stream that is refused once more came out of it than any server needs: a few bytes can unpack to terabytes."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source, self._left = source, _MOST_UNPACKED

    def read(self, size: int = -1) -> bytes:
        chunk = self._source.read(size)
        self._left -= len(chunk)
        if self._left < 0:
            raise Untrustworthy(f"the archive unpacks to more than {_MOST_UNPACKED} bytes: not believed")
        return chunk
