"""In which order each Vault makes the checks of a login: of two that fail, the first is the one that is answered.

Each order was found by trying: bare Vaults were given every pair of things that are wrong, with keys of ours in
`pem_keys` and without. P is hashicorp/vault-plugin-auth-kubernetes.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from harness.knowledge.kubernetes_auth import Refusal
from harness.knowledge.versions import at_least

ORDERS: Final[tuple[tuple[str, tuple[Refusal, ...], str], ...]] = (
    (
        "1.16.0",
        (
            "unknown role", "address", "missing ca", "signing key", "algorithm", "issuer", "audience", "expired",
            "service account name", "namespace",
        ),
        "P path_login.go at v0.18.0, hashicorp/cap jwt.go validateAll; run: 1.16.3",
    ),
    (
        "1.11.0",
        (
            "unknown role", "address", "missing ca", "signing key", "algorithm", "issuer", "audience", "expired",
            "namespace", "service account name",
        ),
        "P path_login.go at v0.13.0, hashicorp/cap jwt.go validateAll; run: 1.11.0, 1.12.0, 1.13.0",
    ),
    (
        "0.0.0",
        (
            "unknown role", "address", "missing ca", "issuer", "audience", "namespace", "service account name",
            "signing key", "expired",
        ),
        "P path_login.go at v0.6.0 and v0.9.0, briankassouf/jose jwt.Validator; run: 1.3.0, 1.4.0, 1.6.0 to 1.10.0",
    ),
)  # fmt: skip
"""From which version, in which order, and how that is known: the newest first.

After them Vault asks the API server: "untrusted" and "review" come last of all.
"""

EXPIRY_WITHOUT_KEYS: Final = "1.11.0"
"""From here the end of a token is looked at by Vault itself, and before only where there are pem_keys (P v0.13.0)."""


def checks(version: str) -> tuple[Refusal, ...]:
    """Return the checks that Vault *version* makes by itself before it asks an API server, in their order."""
    return next(order for since, order, _ in ORDERS if at_least(version, since))


def first(version: str, failing: Collection[Refusal]) -> Refusal | None:
    """Return which of the checks that are *failing* Vault *version* answers with, or None where none of them fails."""
    return next((check for check in checks(version) if check in failing), None)


def looks_at_the_end(version: str, *, keys: bool) -> bool:
    """Does Vault *version* compare the end of a login's token with its clock? *keys*: has the config pem_keys?"""
    return keys or at_least(version, EXPIRY_WITHOUT_KEYS)
