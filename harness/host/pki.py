"""Key material for test systems only: certificate authorities, server certificates, service account keys.

Not for anything that outlives a run, but for the key of machines that rehearse together: keys are unencrypted files in
a 0700 directory.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from harness.errors import naming
from harness.secret import Secret


class Authority:
    """A certificate authority of its own for one server; *directory* gets ca.crt, tls.crt and tls.key (0600).

    With *client* it also gets client.crt and client.key, by which the server knows us.
    """

    def __init__(self, directory: Path, *names: str, client: bool = False) -> None:
        import trustme

        self.ca = directory / "ca.crt"
        self.certificate, self.key = directory / "tls.crt", directory / "tls.key"
        self.client = (directory / "client.crt", directory / "client.key")
        authority = trustme.CA()
        write_private(self.ca, authority.cert_pem.bytes())
        _write_issued(authority.issue_cert(*names), self.certificate, self.key)
        if client:
            _write_issued(authority.issue_cert("rehearsal.invalid"), *self.client)


class ClientAuthority:
    """A certificate authority for client certificates, which are kept in memory alone."""

    def __init__(self) -> None:
        import trustme

        self._authority = trustme.CA()
        self.certificate = self._authority.cert_pem.bytes().decode()
        """as PEM"""

    def issue(self, name: str, seconds: int, ago: int = 1) -> tuple[str, Secret]:
        """Return a certificate for a common *name* and a life of *seconds*, as PEM; and the same after its key.

        It begins so many seconds *ago*: a clock that is a little behind takes it, too.
        """
        begins = datetime.now(UTC) - timedelta(seconds=ago)
        made = self._authority.issue_cert(
            f"{name.lower().replace('_', '-')}.rehearsal.invalid",
            common_name=name,
            not_before=begins,
            not_after=begins + timedelta(seconds=seconds + 1),
        )
        leaf = made.cert_chain_pems[0].bytes().decode()
        return leaf, Secret(made.private_key_pem.bytes().decode() + leaf)


def not_issued(certificate: str, authority: str) -> str:
    """Return why a PEM *certificate* is not good as one of the PEM *authority*, in words; "" where it is."""
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature

    try:
        leaf, ca = (x509.load_pem_x509_certificate(one.encode()) for one in (certificate, authority))
        leaf.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        return "the certificate is not signed by the CA that Vault shows now"
    return "" if datetime.now(UTC) < leaf.not_valid_after_utc else "the certificate has ended"


def forged(certificate: str) -> Secret:
    """Return a key and, after it, a certificate that says all that a PEM *certificate* says, its number and whose it is
    as well, and that nobody has signed but this key.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtensionOID

    model, key = x509.load_pem_x509_certificate(certificate.encode()), ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateBuilder(
        model.issuer,
        model.subject,
        key.public_key(),
        model.serial_number,
        model.not_valid_before_utc,
        model.not_valid_after_utc,
    )
    for one in model.extensions:
        if one.oid != ExtensionOID.SUBJECT_KEY_IDENTIFIER:
            builder = builder.add_extension(one.value, critical=one.critical)
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Secret((private + builder.sign(key, hashes.SHA256()).public_bytes(pem)).decode())


RS256: Final = "RS256"

_CURVES: Final = {"ES256": "SECP256R1", "ES384": "SECP384R1", "ES512": "SECP521R1"}
"""The curve of its key, by the algorithm with which an API server signs then (Kubernetes pkg/serviceaccount/jwt.go)."""


class Signer:
    """A key pair with which tokens are signed; the private key stays in memory."""

    def __init__(self, algorithm: str = RS256) -> None:
        """*algorithm* is RS256, ES256, ES384 or ES512."""
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec, rsa

        self.algorithm = algorithm
        self._key = (
            rsa.generate_private_key(public_exponent=65537, key_size=2048)
            if algorithm == RS256
            else ec.generate_private_key(getattr(ec, _CURVES[algorithm])())
        )
        encoding, info = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        self.public_key = self._key.public_key().public_bytes(encoding, info).decode()
        """as PEM"""

    def sign(self, claims: dict[str, Any]) -> Secret:
        """Return a JWT with *claims*, signed with the private key."""
        import jwt

        return Secret(jwt.encode(claims, self._key, algorithm=self.algorithm))


class TokenSigner(Signer):
    """The key pair with which a cluster signs service account tokens; *directory* gets sa.key and sa.pub (0600)."""

    def __init__(self, directory: Path, algorithm: str = RS256) -> None:
        """*algorithm* is one of those of a Signer."""
        from cryptography.hazmat.primitives import serialization

        super().__init__(algorithm)
        self.private, self.public = directory / "sa.key", directory / "sa.pub"
        pem = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        Secret(pem.decode())
        write_private(self.private, pem)
        write_private(self.public, self.public_key.encode())


def is_signed(token: Secret, public_key: str) -> bool:
    """Is a JWT signed with the private key that belongs to *public_key*, a PEM text? Its claims are not looked at."""
    import jwt

    options = {f"verify_{claim}": False for claim in ("exp", "nbf", "iat", "aud", "iss")}
    try:
        jwt.decode(token.reveal(), public_key, algorithms=[RS256, *_CURVES], options=options)  # type: ignore[arg-type]
    except (jwt.PyJWTError, ValueError):
        return False
    return True


def is_on_curve(public_key: str) -> bool:
    """Is a public key, a PEM text, one on a curve? Not where it is of RSA, or no key at all."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        return isinstance(load_pem_public_key(public_key.encode()), ec.EllipticCurvePublicKey)
    except ValueError:
        return False


def as_pem(keys: Iterable[Mapping[str, str]]) -> tuple[str, ...]:
    """Return public keys, a JWK each, as a PEM text each. Raises jwt.PyJWKError for what is none."""
    import jwt
    from cryptography.hazmat.primitives import serialization

    pem, info = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return tuple(jwt.PyJWK(dict(key)).key.public_bytes(pem, info).decode() for key in keys)


def claims_of(token: Secret) -> dict[str, Any]:
    """Return what a JWT says about itself, unverified."""
    import jwt

    claims: dict[str, Any] = jwt.decode(token.reveal(), options={"verify_signature": False})
    return claims


def algorithm_of(token: Secret) -> str:
    """Return with which algorithm a JWT says that it is signed, such as RS256."""
    import jwt

    return str(jwt.get_unverified_header(token.reveal())["alg"])


def tampered(token: Secret) -> Secret:
    """Return *token* with another signature of the same length: everything it says stands, and nobody signed it."""
    head, _, signature = token.reveal().rpartition(".")
    middle = len(signature) // 2
    other = "A" if signature[middle] != "A" else "B"
    return Secret(f"{head}.{signature[:middle]}{other}{signature[middle + 1 :]}")


def _write_issued(issued: Any, certificate: Path, key: Path) -> None:
    write_private(certificate, b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    content = issued.private_key_pem.bytes()
    Secret(content.decode())
    write_private(key, content)


def write_private(path: Path, content: bytes) -> None:
    """Write a new file that nobody else may read (0600)."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with naming(path), os.fdopen(descriptor, "wb") as file:
        file.write(content)
