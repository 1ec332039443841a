"""What Vault does with the tokens that it gave: each fact once, with its source.

V is hashicorp/vault. "Run" means: seen with real servers by this project.
"""

from __future__ import annotations

from typing import Final

from harness.knowledge import versions

DEFAULT_TTL: Final = "768h"
"""Vault's own default for the life of a token, with renewals and without (system default_lease_ttl, max_lease_ttl)."""

BATCH_NOT_RENEWED: Final = "batch tokens cannot be renewed"
"""How a renewal of a batch token is refused, with 400 (V vault/expiration.go RenewToken). Run: 1.3.0 to 1.16.3."""

NOT_RENEWABLE: Final = "lease is not renewable"
"""How a renewal of a token is refused, with 400, that was made by a token role whose `renewable` is false (V
vault/expiration.go). Run: 1.4.0 to 1.16.3."""

GONE: Final = "token not found"
"""How the renewal of a token by its last use (token_num_uses) is refused, with 400: what is used up is revoked while it
is renewed. Every request after the last use is 403, like that of an unknown token. Run: 1.3.0 to 1.16.3."""

_DENIED: Final = "permission denied"
NAMES_INVALID_TOKEN: Final = "1.17.0"
"""From here a request with a token that ended, or that nobody knows, is refused with the words `invalid token` beside
those for a policy that does not grant (V CHANGELOG 1.17.0, GH-26307). Run: 1.16.3 / 1.17.0, 1.19.0."""

POLICIES_CHANGED: Final = "policies have changed, not renewing"
"""How userpass and cert refuse, with 500, to renew the token of a user or role whose policies are others than at the
login, letter by letter: a policy that it has with a capital is none of the token's, for which Vault folds the case (V
builtin/credential/userpass/path_login.go and cert/path_login.go, pathLoginRenew). Run: 1.3.0 to 1.17.0."""

FOLDS_POLICIES: Final = "1.18.0"
"""From here they fold the case as well, and renew. Run: 1.17.0 / 1.18.0, 1.19.0, 1.21.2."""

COMPARES_POLICIES: Final = ("userpass", "cert")
"""The kinds of mounts that compare policies at a renewal."""


def unknown_token(version: str) -> tuple[int, str]:
    """Return the status and the words by which Vault *version* refuses a token that ended, or that it never gave."""
    if versions.at_least(version, NAMES_INVALID_TOKEN):
        return 403, f"2 errors occurred:\n\t* {_DENIED}\n\t* invalid token\n\n"
    return 403, _DENIED
