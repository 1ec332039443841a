"""Which Vault does what where one logs in by a client certificate: each fact once, with its source.

V is hashicorp/vault. "Run" means: seen with real servers by this project: 1.4.0, 1.7.0, 1.11.0, 1.13.0 and 1.16.3.
"""

from __future__ import annotations

from typing import Final, Literal

from harness.knowledge.versions import at_least

KEYS_COMPARED: Final = "1.16.0"
"""From here a role that trusts a certificate itself compares its key (CVE-2024-2048, HCSEC-2024-05; also 1.15.5 and
1.14.10). Before, its serial number and the authority that it names were enough: whoever knows them, and they are no
secrets, logs in by a certificate of one's own making. Run: 1.13.0 lets it in and 1.16.3 does not."""

_KEYS_COMPARED_IN: Final = ("1.14.10", "1.15.5")

NAMES_FOLDED: Final = "1.7.0"
"""From here a login finds a role in whatever case its name is said. Before, roles are kept in lower case and looked up
as they are said: nobody logs in to one with a capital, by that name. Run: 1.3.0, 1.4.0 and 1.6.0 against 1.7.0."""

Refusal = Literal["no match", "constraints", "other key", "expired"]

_WORDS: Final[dict[Refusal, str]] = {
    "no match": "invalid certificate or no client certificate supplied",
    "constraints": "no chain matching all constraints could be found for this login certificate",
    "other key": "public key mismatch of a trusted leaf certificate",
    "expired": "failed to verify client's certificate: x509: certificate has expired or is not yet valid",
}
NO_MATCH_GOES_ON: Final = "1.16.0"
"""From here the words of a certificate that nothing matches go on (run: 1.13.0 against 1.16.3)."""


def compares_keys(version: str) -> bool:
    """Does a role that trusts a certificate itself compare its key?"""
    line = version.split(".")[:2]
    backported = any(one.split(".")[:2] == line and at_least(version, one) for one in _KEYS_COMPARED_IN)
    return at_least(version, KEYS_COMPARED) or backported


def finds(role: str, version: str) -> bool:
    """Does a login that names *role* as it was written come to it?"""
    return role == role.lower() or at_least(version, NAMES_FOLDED)


def answer(refusal: Refusal, version: str) -> tuple[int, str]:
    """Return the HTTP status and the words with which Vault *version* refuses a login by a certificate."""
    more = "; additionally got errors during verification: <nil>"
    goes_on = refusal == "no match" and at_least(version, NO_MATCH_GOES_ON)
    return 500 if refusal == "expired" else 400, _WORDS[refusal] + (more if goes_on else "")


def words_of(refusal: Refusal) -> str:
    """Return the words by which a refusal is known, whatever the version."""
    return _WORDS[refusal].rpartition("x509: ")[2]


def refusal_of(error: str) -> Refusal | None:
    """Return which refusal an error text tells of, or None."""
    return next((refusal for refusal in _WORDS if words_of(refusal) in error), None)
