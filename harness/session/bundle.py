"""A run in one archive, to attach to a report: record, judgement, versions and logs, without any secret.

Everything is redacted once more on its way in: the record was when it was written, and so were the logs. The archive
of a run is always the same, byte for byte, and `judge` reads it anywhere.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

import msgspec

from harness import __version__, secret
from harness.analysis import verdict
from harness.errors import HarnessError
from harness.record import journal
from harness.record.journal import PROOFS, RECORD_FILE, NotARecord, Record
from harness.reports import json, text

SUFFIX: Final = ".tar.gz"
_FORMAT: Final = 1
_MANIFEST: Final = "MANIFEST.json"
_LARGEST: Final = 4 * 2**30
"""Bytes that are unpacked of an archive at most: no run writes more, and what says otherwise is no bundle."""


class NotBundled(HarnessError):
    """No archive was made; the message says why."""


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A file in the archive."""

    name: str
    bytes: int
    sha256: str
    redacted: bool
    """was something taken out on its way in? The record of a run that is whole needs it never"""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What an archive holds: `MANIFEST.json` in it."""

    format: int = _FORMAT
    tool_version: str
    """the release that packed it"""
    run_id: str
    record_version: int
    scenario: str
    driver: str
    outcome: str
    machine: str
    versions: verdict.Versions
    files: tuple[Member, ...]
    not_taken_out: str = (
        "names of clusters, accounts, mounts, roles, policies and secrets' paths, the scenario's own text, and paths "
        "of this machine: read it before you attach it"
    )


def pack(directory: Path, target: Path) -> Manifest:
    """Write the run in *directory* to *target*, which is not there yet, and return what it holds.

    Raises NotARecord where there is no run, and NotBundled where *target* cannot be written or is there.
    """
    record = journal.load(directory)
    judgement = verdict.judge(record)
    contents = dict(_files(directory if directory.is_dir() else directory.parent))
    contents["report.json"] = json.render(judgement).encode()
    contents["report.txt"] = text.render(judgement).encode()
    clean = {name: _redacted(content) for name, content in contents.items()}
    start = record.started
    manifest = Manifest(
        tool_version=__version__,
        run_id=start.run_id,
        record_version=start.record_version,
        scenario=judgement.scenario,
        driver=judgement.driver,
        outcome=judgement.outcome,
        machine=judgement.machine,
        versions=judgement.versions,
        files=tuple(
            Member(
                name=name,
                bytes=len(content),
                sha256=hashlib.sha256(content).hexdigest(),
                redacted=content != contents[name],
            )
            for name, content in sorted(clean.items())
        ),
    )
    clean[_MANIFEST] = msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"
    _write(target, f"rehearsal-{start.run_id}", clean)
    return manifest


def record_at(path: Path) -> Record:
    """Return the record of a run, kept in a directory or a file, or packed. Raises NotARecord where there is none."""
    return unpacked(path) if is_bundle(path) else journal.load(path)


def unpacked(archive: Path) -> Record:
    """Return the record in an *archive* that `pack` made. Raises NotARecord where it holds none."""
    with tempfile.TemporaryDirectory(prefix="rehearse-bundle-") as place:
        _unpack(archive, Path(place))
        record = journal.load(Path(place))
    record.directory = str(archive)
    for name, proof in record.proofs.items():
        proof.directory = f"{archive}:{PROOFS}/{name}"
    return record


def is_bundle(path: Path) -> bool:
    """Is *path* an archive, by its name, and no directory?"""
    return path.name.endswith(SUFFIX) and path.is_file()


def _files(directory: Path) -> Iterator[tuple[str, bytes]]:
    """Yield what belongs to a run: its record, those of its proofs, and the logs of both. Nothing that is a link."""
    proofs = sorted(one for one in (directory / PROOFS).glob("*") if one.is_dir() and not one.is_symlink())
    for place in (directory, *proofs):
        for file in (place / RECORD_FILE, *sorted((place / "logs").glob("*"))):
            if file.is_file() and not file.is_symlink():
                yield file.relative_to(directory).as_posix(), file.read_bytes()


def _redacted(content: bytes) -> bytes:
    """Return *content* without whatever has the shape of a secret, and without what is no text."""
    return secret.redact(content.decode(errors="replace")).encode()


def _write(target: Path, top: str, contents: dict[str, bytes]) -> None:
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0, filename="") as pressed,
        tarfile.open(fileobj=pressed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, content in sorted(contents.items()):
            member = tarfile.TarInfo(f"{top}/{name}")
            member.size, member.mode, member.mtime = len(content), 0o600, 0
            archive.addfile(member, io.BytesIO(content))
    try:
        with target.open("xb") as file:
            target.chmod(0o600)
            file.write(packed.getvalue())
    except FileExistsError:
        raise NotBundled(f"{target} is there already: name another file with -o, or remove it") from None
    except OSError as error:
        raise NotBundled(f"{target} could not be written: {error.strerror}; name another file with -o") from error


def _unpack(archive: Path, place: Path) -> None:
    """Put the records in an archive below *place*: nothing else of it is read, whatever it says of itself."""
    left = _LARGEST
    try:
        with tarfile.open(archive, mode="r:gz") as packed:
            for member in packed:
                path = _place_of(member.name)
                if path is None or not member.isfile():
                    continue
                left -= member.size
                content = packed.extractfile(member) if left >= 0 else None
                if content is None:
                    raise NotARecord(f"{archive} holds more than any run writes")
                for folder in reversed(path.parents):
                    (place / folder).mkdir(mode=0o700, exist_ok=True)
                (place / path).write_bytes(content.read())
    except (tarfile.TarError, EOFError, OSError) as error:
        raise NotARecord(f"{archive} is no bundle of a run ({error})") from error


def _place_of(name: str) -> PurePosixPath | None:
    """Return where a member of an archive belongs, if it is the record of a run or of one of its proofs."""
    parts = PurePosixPath(name).parts[1:]
    if parts == (RECORD_FILE,):
        return PurePosixPath(*parts)
    if len(parts) == 3 and parts[0] == PROOFS and parts[2] == RECORD_FILE and parts[1] not in (".", ".."):
        return PurePosixPath(*parts)
    return None
