"""Client certificates on paper: whether a role that trusts one, or an authority, knows what is shown."""

from __future__ import annotations

from typing import Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509 import Certificate, NameOID

from harness.secret import Secret
from harness.wait import now

Trust = Literal["", "number alone", "whole"]


def trust(trusted: str, shown: Secret) -> Trust:
    """Return how far what a role trusts, as PEM, speaks for the certificate that is *shown* with its key: not at all,
    by its serial number and the authority that it names alone, or wholly.
    """
    known, leaf = x509.load_pem_x509_certificate(trusted.encode()), _shown(shown)
    if is_authority(trusted):
        try:
            leaf.verify_directly_issued_by(known)
        except (InvalidSignature, ValueError):
            return ""
        return "whole"
    if (known.serial_number, _authority(known)) != (leaf.serial_number, _authority(leaf)):
        return ""
    return "whole" if known.public_key() == leaf.public_key() else "number alone"


def is_authority(trusted: str) -> bool:
    """Is what a role trusts, as PEM, whoever issues certificates?"""
    known = x509.load_pem_x509_certificate(trusted.encode())
    return known.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def lives(shown: Secret, passed: float) -> bool:
    """Is a certificate that is *shown* good so many seconds after this moment?"""
    leaf = _shown(shown)
    return leaf.not_valid_before_utc.timestamp() <= now() + passed <= leaf.not_valid_after_utc.timestamp()


def common_name(shown: Secret) -> str:
    """Return the common name of a certificate that is *shown*."""
    (found,) = _shown(shown).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found.value)


def _shown(bundle: Secret) -> Certificate:
    text = bundle.reveal()
    return x509.load_pem_x509_certificate(text[text.index("-----BEGIN CERTIFICATE") :].encode())


def _authority(certificate: Certificate) -> bytes | None:
    return certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
