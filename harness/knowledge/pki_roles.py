"""What Vault takes as a role of a pki secrets engine: kinds of keys and how long they are, by version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from harness.knowledge.versions import at_least

ED25519: Final = "1.9.0"
"""From here a role may say key_type ed25519 (CHANGELOG 1.9.0, GH-11780). An older Vault answers 400, "unknown key type
ed25519". Run: 1.8.0, 1.9.2."""

BITS_BY_TYPE: Final = "1.10.0"
"""From here key_bits that are left out are those of the kind of key. An older Vault takes 2048, whatever the kind, and
refuses that for ec: 400, "unsupported bit length for EC key: 2048". Run: 1.9.2, 1.10.0."""

BITS: Final[Mapping[str, tuple[int, ...]]] = {"rsa": (2048, 3072, 4096), "ec": (224, 256, 384, 521), "ed25519": ()}
"""How many bits a key of each kind may have (V builtin/logical/pki, sdk/helper/certutil); none: nobody can choose."""


def needs_bits(version: str, key_type: str) -> bool:
    """Does a role with this kind of key have to say how many bits?"""
    return key_type == "ec" and not at_least(version, BITS_BY_TYPE)
