"""Which Vault does what where one logs in by a client certificate: each fact once, with its source.

V is hashicorp/vault. "Run" means: seen with real servers by this project: 1.4.0, 1.7.0, 1.11.0, 1.13.0,
1.16.3, 1.17.0, 1.18.0, 1.19.0 and 1.21.2.
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

SAYS_CONSTRAINTS: Final = "1.18.0"
"""From here a certificate that nothing matches and one that other constraints keep out are answered alike. Run:
1.17.0 against 1.18.0."""

LEAF_COMPARED: Final = "1.20.1"
"""From here a role that trusts a certificate itself compares all of it, after its other constraints, and says so
(CVE-2025-6037; run: 1.19.0 against 1.21.2)."""

_NO_MATCH: Final = "invalid certificate or no client certificate supplied"
_EITHER: Final = "failed to match all constraints for this login certificate"
_WORDS: Final[dict[Refusal, tuple[tuple[str, str], ...]]] = {
    # with the version from which on they are said
    "no match": (
        ("", _NO_MATCH),
        ("1.16.0", f"{_NO_MATCH}; additionally got errors during verification: <nil>"),
        (SAYS_CONSTRAINTS, _EITHER),
    ),
    "constraints": (
        ("", "no chain matching all constraints could be found for this login certificate"),
        (SAYS_CONSTRAINTS, _EITHER),
    ),
    "other key": (
        ("", "public key mismatch of a trusted leaf certificate"),
        (LEAF_COMPARED, "certificate mismatch of a trusted leaf certificate"),
    ),
    "expired": (("", "failed to verify client's certificate: x509: certificate has expired or is not yet valid"),),
}


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
    words = [said for since, said in _WORDS[refusal] if not since or at_least(version, since)]
    return 500 if refusal == "expired" else 400, words[-1]


def words_of(refusal: Refusal, error: str) -> str:
    """Return those words of an *error* by which a refusal is known, or nothing where it is another one."""
    said = (words.rpartition("x509: ")[2] for _, words in _WORDS[refusal])
    return next((words for words in said if words in error), "")


def refusal_of(error: str) -> Refusal | None:
    """Return which refusal an error text tells of, or None; "no match" where it may be constraints as well."""
    return next((refusal for refusal in _WORDS if words_of(refusal, error)), None)
