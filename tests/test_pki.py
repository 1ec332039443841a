"""Key material is private on disk, unknown to every text, and a tampered token is wrong in its signature alone."""

from __future__ import annotations

import ssl
import stat
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import jwt
import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import secret
from harness.host import pki
from harness.secret import Secret, Secrets, redact


@pytest.fixture(scope="module", autouse=True)
def nothing_remembered() -> Iterator[None]:
    """Forget the many tokens of this file afterwards: every text of every later test would be searched for them."""
    with mock.patch.object(secret, "_of_no_run", Secrets()), Secrets().open():
        yield


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> pki.TokenSigner:
    return pki.TokenSigner(tmp_path_factory.mktemp("keys"))


claims_said = st.dictionaries(
    st.sampled_from(["sub", "jti", "kubernetes.io"]), st.text(st.characters(codec="utf-8"), max_size=30), max_size=3
)


def parts(token: Secret) -> list[str]:
    return token.reveal().split(".")


@settings(max_examples=30)
@given(claims=claims_said)
def test_a_token_says_what_was_signed_and_the_cluster_vouches_for_it(
    signer: pki.TokenSigner, claims: dict[str, str]
) -> None:
    token = signer.sign(claims)
    assert pki.claims_of(token) == claims
    checked = jwt.decode(token.reveal(), signer.public.read_text(), algorithms=["RS256"], options={"verify_sub": False})
    assert checked == claims


@settings(max_examples=30)
@given(claims=claims_said)
def test_a_tampered_token_differs_in_one_character_of_its_signature(
    signer: pki.TokenSigner, claims: dict[str, str]
) -> None:
    """It says the same and is as long, so that nothing but the signature can be what it is refused for."""
    token = signer.sign(claims)
    forged = pki.tampered(token)
    assert parts(forged)[:2] == parts(token)[:2]
    assert len(forged.reveal()) == len(token.reveal())
    pairs = zip(parts(token)[2], parts(forged)[2], strict=True)
    assert len([pair for pair in pairs if pair[0] != pair[1]]) == 1
    assert pki.claims_of(forged) == claims


@settings(max_examples=30)
@given(claims=claims_said)
def test_nobody_vouches_for_a_tampered_token(signer: pki.TokenSigner, claims: dict[str, str]) -> None:
    """The character that changed is one that counts: the last ones may hold bits that are thrown away."""
    forged = pki.tampered(signer.sign(claims)).reveal()
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(forged, signer.public.read_text(), algorithms=["RS256"])


def test_another_clusters_key_vouches_for_nothing_of_ours(signer: pki.TokenSigner, tmp_path: Path) -> None:
    """Two clusters have the same issuer, and differ by their keys."""
    stranger = pki.TokenSigner(tmp_path)
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(signer.sign({}).reveal(), stranger.public.read_text(), algorithms=["RS256"])


def test_a_dead_token_still_says_what_it_said(signer: pki.TokenSigner) -> None:
    """Claims are read and not judged: neither time nor audience is looked at."""
    assert pki.claims_of(signer.sign({"exp": 1, "nbf": 2**33, "aud": "x"}))["exp"] == 1


def test_keys_are_private_files(tmp_path: Path) -> None:
    """0600, all of them: what is public is in the same directory and need not be more."""
    pki.TokenSigner(tmp_path)
    pki.Authority(tmp_path, "localhost")
    names = ["sa.key", "sa.pub", "ca.crt", "tls.crt", "tls.key"]
    modes = {file.name: oct(stat.S_IMODE(file.stat().st_mode)) for file in tmp_path.iterdir()}
    assert modes == dict.fromkeys(names, "0o600")
    pki.Authority(tmp_path, "localhost", client=True)
    modes = {file.name: oct(stat.S_IMODE(file.stat().st_mode)) for file in tmp_path.iterdir()}
    assert modes == dict.fromkeys([*names, "client.crt", "client.key"], "0o600")


def test_a_new_content_replaces_the_old_one_whole(tmp_path: Path) -> None:
    pki.write_private(tmp_path / "token", b"a longer one")
    pki.write_private(tmp_path / "token", b"short")
    assert (tmp_path / "token").read_bytes() == b"short"


def test_no_key_gets_into_a_text(tmp_path: Path) -> None:
    """Neither whole nor line by line; certificates and public keys may."""
    signed = pki.TokenSigner(tmp_path)
    server = pki.Authority(tmp_path, "localhost", client=True)
    for file in (signed.private, server.key, server.client[1]):
        body = [line for line in file.read_text().splitlines() if len(line) >= 16 and "-----" not in line]
        assert body
        assert not [line for line in body if line in redact(f"a log says {line}")]
    for file in (signed.public, server.ca):
        assert redact(file.read_text()) == file.read_text()


def test_an_authority_vouches_for_the_names_it_was_given(tmp_path: Path) -> None:
    """The certificate, its key and its authority belong together, and none of another server's does."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, other = pki.Authority(tmp_path / "a", "localhost", "127.0.0.1"), pki.Authority(tmp_path / "b", "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(one.certificate, one.key)
    with pytest.raises(ssl.SSLError, match="KEY_VALUES_MISMATCH"):
        context.load_cert_chain(one.certificate, other.key)
    certificate = x509.load_pem_x509_certificate(one.certificate.read_bytes())
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(one.ca.read_bytes()))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
