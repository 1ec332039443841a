"""Who signed a file: OpenPGP signatures, checked against the keys of vendors that this project ships.

A key is believed because it came with this program, and not because of who vouches for it.
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from harness.artifacts import templates

if TYPE_CHECKING:
    from pysequoia import Cert

HASHICORP: Final = "HashiCorp"

_FINGERPRINTS: Final = {HASHICORP: "C874011F0AB405110D02105534365D9472D7468F"}
"""As each vendor publishes it; the key itself is a file of its name under clusters/keys/."""

_NEW_FORMAT: Final = 0x40
_PARTIAL: Final = 224  # from here on, the first octet of a length says that only a part of the packet follows
_WHOLE: Final = 255


class NotSigned(Exception):
    """A file was not signed by who should have; the message says what is wrong, without blaming anybody."""


def check(document: bytes, signature: bytes, signer: str) -> str:
    """Return the name and the key of *signer* if *signature*, a detached one, is theirs and that of *document*.

    The key must have been valid when they signed; that it ended since is no fault of the signature. Raises NotSigned.
    """
    import pysequoia

    key = _key(signer)
    try:
        verified = pysequoia.verify(
            bytes=document, store=lambda _: [key], signature=pysequoia.Sig.from_bytes(_regular(signature))
        )
    except RuntimeError as error:
        # What follows the first line is a stack of the library.
        raise NotSigned(str(error).splitlines()[0].rstrip(". ")) from None
    if not any(one.certificate == key.fingerprint for one in verified.valid_sigs):
        raise NotSigned("it was made by another key")
    return f"{signer}, key {fingerprint(signer)}"


def signers() -> list[str]:
    """Return the vendors whose signatures can be checked."""
    return sorted(_FINGERPRINTS)


def fingerprint(signer: str) -> str:
    """Return the fingerprint of the key of *signer*, in groups of four, as it is published."""
    text = _FINGERPRINTS[signer]
    return " ".join(text[at : at + 4] for at in range(0, len(text), 4))


def ends(signer: str) -> datetime | None:
    """Return when the key of *signer* ends: what is signed later is refused. None for never."""
    end: datetime | None = _key(signer).expiration
    return end


@lru_cache
def _key(signer: str) -> Cert:
    import pysequoia

    key = pysequoia.Cert.from_bytes(templates.text(f"keys/{signer.lower()}.asc").encode())
    if key.fingerprint.upper() != _FINGERPRINTS[signer]:
        raise NotSigned(f"the key of {signer} that is here has another fingerprint: {key.fingerprint}")
    return key


def _regular(signature: bytes) -> bytes:
    """Return *signature* with the length of its number as the standard wants it, if it is one of RSA in binary.

    Those of 2021 were made by a library that wrote the length of the key there, leading zeros included. The number is
    the same, and so is what was signed; libraries that hold to the standard take every second one for no signature.
    """
    try:
        body = _body(signature)
        at = 4
        for _ in ("hashed", "unhashed"):
            at += 2 + int.from_bytes(body[at : at + 2])
        at += 2
        number = int.from_bytes(body[at + 2 :])
    except IndexError:
        return signature
    if body[:1] != b"\x04" or body[2:3] != b"\x01" or not number:
        return signature
    bits = number.bit_length()
    regular = body[:at] + bits.to_bytes(2) + number.to_bytes((bits + 7) // 8)
    return b"\xc2\xff" + len(regular).to_bytes(4) + regular


def _body(packet: bytes) -> bytes:
    """Return what is in *packet*, whose length is written in one of the two ways of RFC 4880; b"" if in no such way."""
    if not packet[0] & _NEW_FORMAT:
        start = 1 + (1 << (packet[0] & 3))
        return packet[start : start + int.from_bytes(packet[1:start])]
    if packet[1] < 192:
        return packet[2 : 2 + packet[1]]
    if packet[1] < _PARTIAL:
        return packet[3 : 3 + ((packet[1] - 192) << 8) + packet[2] + 192]
    return packet[6 : 6 + int.from_bytes(packet[2:6])] if packet[1] == _WHOLE else b""
