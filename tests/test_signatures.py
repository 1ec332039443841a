"""Whose binary it is: TLS or nothing, and the vendor's signature over the checksums wherever there is one."""

from __future__ import annotations

import ssl
from pathlib import Path

import pysequoia
import pytest

from harness.artifacts import signatures, templates
from harness.artifacts.signatures import HASHICORP, NotSigned
from harness.host import pki
from tests.test_artifacts import ARCHIVE, SIGNATURE, SUMS, VERSION, Mirror, Shop, answering, vault
from tests.test_artifacts import mirror as mirror  # noqa: PLC0414  # a fixture

pytestmark = pytest.mark.processes

SIGNED = Path(__file__).with_name("signed") / "terraform-provider-null_3.1.0_SHA256SUMS"


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> pysequoia.Tsk:
    """A key of our own in the place of the vendor's."""
    own = pysequoia.Tsk.generate("Nobody <nobody@example.com>")
    monkeypatch.setattr(signatures, "_key", lambda _signer: own.extract_certificate())
    return own


def signed(content: bytes, key: pysequoia.Tsk) -> bytes:
    return bytes(pysequoia.sign(key.signer(), content, mode=pysequoia.SignatureMode.DETACHED))


# --- keys and signatures ----------------------------------------------------------------------------------------------


def test_the_key_that_is_shipped_is_the_one_that_the_vendor_publishes() -> None:
    """By its fingerprint, as https://www.hashicorp.com/security has it."""
    key = pysequoia.Cert.from_bytes(templates.text("keys/hashicorp.asc").encode())
    assert key.fingerprint.upper() == "C874011F0AB405110D02105534365D9472D7468F"
    assert not key.is_revoked
    assert signatures.fingerprint(HASHICORP) == "C874 011F 0AB4 0511 0D02 1055 3436 5D94 72D7 468F"
    assert str(signatures.ends(HASHICORP)).startswith("2030-03-01")


def test_what_the_vendor_has_signed_is_known_as_signed_by_it() -> None:
    """The checksums of a real release of 2021, by a subkey that has ended since, in the vendor's irregular writing."""
    document, signature = SIGNED.read_bytes(), SIGNED.with_name(f"{SIGNED.name}.sig").read_bytes()
    assert signatures.check(document, signature, HASHICORP).endswith("72D7 468F")
    for other in (document + b"\n", document.replace(b"0", b"1", 1), b""):
        with pytest.raises(NotSigned, match="no valid signatures"):
            signatures.check(other, signature, HASHICORP)


def test_no_damage_to_a_signature_goes_unnoticed_or_ends_in_an_error_of_ours() -> None:
    document, signature = SIGNED.read_bytes(), SIGNED.with_name(f"{SIGNED.name}.sig").read_bytes()
    for at in range(0, len(signature), 7):
        with pytest.raises(NotSigned):
            signatures.check(document, signature[:at], HASHICORP)
    # When it was made and by which key; the number that proves it. What lies between is not signed.
    for at in (*range(3, 25), *range(31, len(signature), 7)):
        broken = signature[:at] + bytes([signature[at] ^ 0x55]) + signature[at + 1 :]
        with pytest.raises(NotSigned):
            signatures.check(document, broken, HASHICORP)


@pytest.mark.parametrize("signature", [b"", b"\n", b"<html>", b"\xc2", b"\xc2\xff", b"\x88\x01", b"\0" * 500])
def test_what_is_no_signature_at_all_is_told(signature: bytes) -> None:
    with pytest.raises(NotSigned, match=r"\w+"):
        signatures.check(b"any", signature, HASHICORP)


# --- with a download --------------------------------------------------------------------------------------------------


def test_a_good_signature_is_what_a_report_says_of_the_binary(
    mirror: Mirror, tmp_path: Path, key: pysequoia.Tsk
) -> None:
    mirror.vault(vault())
    mirror.files[SIGNATURE] = signed(mirror.files[SUMS], key)
    shop = Shop(tmp_path / "cache", mirror=mirror.url)
    got = shop.store.get("vault", VERSION)
    assert (
        got.note == f"came without TLS; its checksum was signed by HashiCorp, key {signatures.fingerprint(HASHICORP)}"
    )
    assert Shop(shop.cache, offline=True).store.get("vault", VERSION).note == got.note


def test_a_signature_by_another_key_or_of_other_checksums_stops_everything(
    mirror: Mirror, tmp_path: Path, key: pysequoia.Tsk
) -> None:
    """Nothing is downloaded, and nothing is built in its place, although there is a recipe."""
    mirror.vault(vault("1.7.0"), "1.7.0")
    sums = "/vault/1.7.0/vault_1.7.0_SHA256SUMS"
    stranger = pysequoia.Tsk.generate("Mallory <mallory@example.com>")
    for wrong in (signed(mirror.files[sums], stranger), signed(b"other", key), b"", b"<html>"):
        mirror.files[f"{sums}.sig"] = wrong
        shop = Shop(tmp_path / "cache", mirror=mirror.url)
        message = shop.refusal(version="1.7.0")
        assert f"{sums}.sig is no signature of HashiCorp for the checksums beside it" in message
        assert "can be tampering" in message
        assert not any("building" in line for line in shop.told)
    assert not any(path.endswith(".zip") for path in mirror.asked)


def test_a_mirror_without_signatures_is_believed_and_a_report_says_so(mirror: Mirror, tmp_path: Path) -> None:
    mirror.vault(vault())
    got = Shop(tmp_path / "cache", mirror=mirror.url).store.get("vault", VERSION)
    assert got.note.endswith("its checksum alone was checked: the mirror has no signature of the vendor's")


def test_a_mirror_that_cannot_say_whether_it_has_a_signature_is_not_believed(mirror: Mirror, tmp_path: Path) -> None:
    mirror.vault(vault())
    mirror.answers[SIGNATURE] = [answering(503, Retry_After="3600")]
    assert f"{SIGNATURE} answered 503" in Shop(tmp_path / "cache", mirror=mirror.url).refusal()
    assert ARCHIVE not in mirror.asked


# --- without TLS ------------------------------------------------------------------------------------------------------


def test_a_mirror_without_tls_is_not_asked_unless_somebody_says_so(mirror: Mirror, tmp_path: Path) -> None:
    """On loopback too: who runs it there need not be whom the user thinks of. Nothing is built in its place."""
    mirror.vault(vault("1.7.0"), "1.7.0")
    shop = Shop(tmp_path / "cache", mirror=mirror.url, insecure_mirror=False)
    message = shop.refusal(version="1.7.0")
    assert "was not asked: without TLS" in message
    assert "--insecure-mirror" in message
    assert mirror.asked == []
    assert shop.told == []


@pytest.fixture
def secure(mirror: Mirror, tmp_path: Path) -> tuple[Mirror, dict[str, str]]:
    """The mirror with TLS, and the environment in which its certificate is believed."""
    authority = pki.Authority(tmp_path, "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.certificate, authority.key)
    mirror.server.socket = context.wrap_socket(mirror.server.socket, server_side=True, do_handshake_on_connect=False)
    mirror.url = f"https://{mirror.address}"
    return mirror, {"SSL_CERT_FILE": str(authority.ca)}


@pytest.mark.parametrize("insecure", [False, True])
@pytest.mark.parametrize("path", [SUMS, SIGNATURE, ARCHIVE])
def test_no_redirect_leads_from_tls_to_none(
    secure: tuple[Mirror, dict[str, str]], tmp_path: Path, path: str, *, insecure: bool
) -> None:
    """Whoever is asked there would be asked without TLS, even if he sent us back at once."""
    mirror, environment = secure
    mirror.vault(vault())
    elsewhere = Mirror()
    try:
        mirror.answers[path] = [answering(302, Location=f"{elsewhere.url}{path}")]
        shop = Shop(tmp_path / "cache", mirror=mirror.url, environment=environment, insecure_mirror=insecure)
        assert f"{path} redirects to a server without TLS: not followed" in shop.refusal()
        assert elsewhere.asked == []
    finally:
        elsewhere.server.server_close()


def test_a_redirect_within_tls_is_followed(secure: tuple[Mirror, dict[str, str]], tmp_path: Path) -> None:
    mirror, environment = secure
    mirror.vault(vault())
    mirror.files["/elsewhere.zip"] = mirror.files[ARCHIVE]
    mirror.answers[ARCHIVE] = [answering(302, Location="/elsewhere.zip")]
    shop = Shop(tmp_path / "cache", mirror=mirror.url, environment=environment, insecure_mirror=False)
    got = shop.store.get("vault", VERSION)
    assert got.note == "its checksum alone was checked: the mirror has no signature of the vendor's"
