"""What an answer of Vault says: yes, no, not now, or that something failed on the way.

The one place that tells a refusal from everything that merely looks like one. A standby, a sealed node, a quota or a
proxy says "not now": whoever asks again, or asks another node, may well be granted it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal

Says = Literal["granted", "refused", "not now", "failed"]
"""failed: Vault, or what stands before it, reports a fault of its own, and not that it declines what was asked."""

NodeState = Literal["active", "standby", "sealed", "not initialised", "removed"]

_NOT_NOW: Final = frozenset(
    {
        408,  # a proxy waited long enough
        412,  # a performance standby has not seen the token's creation yet (Enterprise, from 1.10)
        425,
        429,  # a standby's health, a rate limit, or a lease count quota
        472,  # a disaster recovery secondary
        473,  # a performance standby's health
        474,  # a standby that does not hear its active node (from 1.19)
    }
)

STATES: Final[Mapping[int | None, NodeState]] = {
    200: "active",
    429: "standby",
    472: "standby",
    473: "standby",
    474: "standby",
    503: "sealed",
    501: "not initialised",
    530: "removed",  # from the raft configuration, whatever its seal (from 1.19)
}
"""What a node's health says of it, by its status."""

TELLS_OF_OTHERS: Final = "1.19.0"
"""From here on sys/health tells how a node stands to the others: 474 and 530. V CHANGELOG 1.19.0, GH-28991."""

HEARS_NOBODY: Final = 474
REMOVED: Final = 530
"""The health of a node that stands by and knows of no active one, and of one that the others have removed."""

TELLING: Final = {str(HEARS_NOBODY): "haunhealthycode", str(REMOVED): "removedcode"}
"""By what it answers so, what in its query has it answer otherwise: V api-docs/system/health."""

SEALS_ITSELF: Final = "1.19.0"
"""From here on a node that is removed from the raft configuration seals itself. V CHANGELOG 1.19.0, GH-28875."""

NOBODY_LEADS: Final = "local node not active but active cluster node not found"
"""What a node that stands by answers with 500 where it knows nobody to hand a request to. V http/handler.go."""

KNOWS_NOT_EVEN_ITSELF: Final = "1.11.0"
"""From here on a node that led over raft until too few were left to elect anybody knows nobody who leads; before, it
takes itself for it, and redirects there. One that stood by redirects to who led, in every version. Run, of three nodes
two stopped: 1.9.2, 1.9.3 / 1.11.0, 1.12.0, 1.13.0, 1.16.3, 1.19.0; 1.10 was not."""

REDIRECTED: Final = 307
"""How a node that stands by answers what it does not forward. V documentation, concepts/ha."""

_NOT_NOW_WORDS: Final = re.compile(
    r"vault is sealed|\bstandby\b|not active|no active|active (?:cluster )?node not found|(?:not|no) (?:the )?leader|"
    r"leadership|error during forwarding|upgrade from non-versioned|upgrading from non-versioned",
    re.IGNORECASE,
)
"""How a node says that it does not serve (V http/handler.go), and kv-v2 that it still prepares itself, with a 400."""

_CHECKED: Final = re.compile(
    r"\bclaim\b|\bissuer\b|\baudience\b|service account|namespace not authorized|not authorized|unauthorized|"
    r"permission denied|invalid role|role name|ca\.crt|\bx509\b|jose|\bjwt\b|token is expired|not valid yet|"
    # up to 1.3 whatever went wrong with a review, by these words. Run: 1.3.0
    r"lookup failed|tokenreviews|"
    # of a token of 1.10 or newer: see `kubernetes_auth.foreign_token`
    r"failed to look up namespace from the token|"
    # of a signature: see `kubernetes_auth.WITHOUT_ES384`, and up to 1.10 one that none of the pem_keys has made (run)
    r"signed with unexpected algorithm|asn1: (?:structure|syntax) error|"
    # of a client certificate that has ended: see `cert_logins.answer`
    r"failed to verify client's certificate|"
    # what 1.13.0 answers with 500: see `secret_logins.answer`
    r"invalid username or password|invalid secret id|invalid role id|invalid role or secret id|"
    # of a renewal: see `token_store.POLICIES_CHANGED`
    r"policies have changed, not renewing|"
    # 1.10 or newer, of a token of its own that was given before other data were put in place (run: 1.11.0)
    r"token mac for",
    re.IGNORECASE,
)
"""How the auth methods word the checks that a login did not pass, the Kubernetes one above all. Up to 1.12 that answers
them with 500, like every plain error of a plugin: see `kubernetes_auth.answer`."""


LOST_CONNECTION: Final = re.compile(
    r"terminating connection due to administrator command|driver: bad connection|unexpected EOF|broken pipe|"
    r"connection reset by peer|conn closed"
)
"""How a Vault over PostgreSQL says that the connection is gone on which it asked: from 1.11.0 on, with pgx, it does not
try another one by itself (run: 1.11.0 over PostgreSQL 15 that was started anew; PR 15343)."""

ASKS_GONE_CONNECTIONS: Final = "1.11.0"
"""From here a request may fail on such a connection; before, the next one was tried (source as above)."""

MOST_LOST_CONNECTIONS: Final = 5
"""So often that may be: it keeps two idle connections unless told otherwise (database/sql; max_idle_connections)."""


def says(status: int | None, words: str = "") -> Says:
    """Return what an answer with this HTTP *status* and these *words* says. None, no answer at all, is "not now".

    Of the 5xx only a 500 can be a refusal, and only in the words of a check that was not passed.
    """
    if status is None or status < 200 or status in _NOT_NOW:
        return "not now"
    if status < 300:
        return "granted"
    if status < 400 or status > 500:
        return "not now"
    if _NOT_NOW_WORDS.search(words):
        return "not now"
    if status < 500 or _CHECKED.search(words):
        return "refused"
    return "failed"
