"""When Vault gives up to revoke a lease, which is irrevocable then.

From 1.8.0 on a revocation that fails is tried again 20, 40, 80, 160 and 320 s later, each half of it more or less,
and the sixth failure is the last: the lease is marked with the error and stays, over starts and upgrades too, and is
tried once a day. So it takes 5 to 15 minutes; an error that cannot pass (a mount that is not there any more) marks it
at once. What it stands for (credentials of a database) may be valid all the while. Up to 1.7 the sixth failure took
it out of Vault's memory until the next start. vault/expiration.go of 1.7.0, 1.15.5 and 1.17.0 (maxRevokeAttempts,
revokeRetryBase, errIsUnrecoverable); Vault documentation, api-docs/system/leases. Run: 1.9.2, whose PostgreSQL was
away: the sixth attempt came 9 min 50 s after the first, and another time 12 min 7 s, and the lease was irrevocable
still on 1.11.0, over a PostgreSQL that was back.
"""

from __future__ import annotations

from typing import Final

SINCE: Final = "1.8.0"
"""The first version that counts such leases (sys/leases/count?type=irrevocable)."""

ATTEMPTS: Final = 6

TRIED_AFTER: Final = (20, 60, 140, 300, 620)
"""So many seconds after the first attempt the others come, half of each wait more or less."""

MINUTES: Final = (5, 15)
"""From the first attempt to the last, at least and at most."""

TO_LIST: Final = "vault read sys/leases type=irrevocable"
TO_REVOKE: Final = "vault lease revoke -sync <LEASE-ID>"
"""Without -sync it is queued, and stays. Run: 1.11.0, once its PostgreSQL was back: with it the lease was gone."""
TO_DROP: Final = "vault lease revoke -force -prefix"
"""With the prefix after it. It forgets leases without asking the engine: what they stand for stays as it is."""
