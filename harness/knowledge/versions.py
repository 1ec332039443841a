"""What a version is, which is newer, and which releases there never were."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from packaging.version import InvalidVersion, Version

_NUMBER: Final = r"(?:0|[1-9][0-9]{0,3})"
_SHAPE: Final = re.compile(rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:[-+][0-9A-Za-z.+-]{{1,40}})?")

OPENBAO: Final = "openbao"
"""What goes on from Vault under another name: its versions are written openbao-2.6.2."""

OPENBAO_IS_LIKE: Final = (1, 16, 0)
"""The Vault whose auth methods OpenBao has: it was made of 1.14, and has since taken over what 1.16 has of the
Kubernetes auth method (plugin v0.18.0), and nothing of what came later. Read: openbao v2.0.0 and v2.6.2,
builtin/credential."""

OPENBAO_WITH_POSTGRESQL: Final = "2.1.0"
"""The first OpenBao with the storage `postgresql` (CHANGELOG 2.1.0)."""

OPENBAO_WITHOUT_FILE: Final = "2.7.0"
"""The first OpenBao without the storage `file` (CHANGELOG 2.7.0)."""

RAFT_SINCE: Final = "1.4.0"
"""From here raft is a storage of Vault (changelog 1.4.0: integrated storage)."""

JOINS_BY_FILES: Final = "1.4.2"
"""From here retry_join of raft names the files by which nodes know each other (vault#8894, backported with #8939: 1.4.0
has text there, and joins nobody by files), and several nodes may join at a time (changelog 1.4.2, GH-9008: a panic
before). An older one is asked to join by the API."""

BACKS_OFF: Final = "1.7.0"
"""From here on a Vault Agent that is refused waits longer and longer before it tries again, up to five minutes; older
ones always wait two seconds or so (CHANGELOG 1.7.0, GH-10964; run: agents 1.4.0 and 1.11.0)."""

RENDERS_SECONDS: Final = 300
"""So often a Vault Agent renders what has no lease (static_secret_render_interval). Only then, or when its token has to
be renewed, does it find out that this is refused, whatever its version: one that is told to end does so then, and logs
in once it is started anew (run: agents 1.16.3 and 1.17.0 at Vault 1.16.3 and 1.17.0)."""

EXITS_ON_RETRY: Final = "1.8.0"
"""From here on a Vault Agent retries what its templates read for ever, unless it is told to end, as the injector tells
it (CHANGELOG 1.8.0)."""

OLDEST_KUBERNETES: Final = "1.22.0"
"""From here bound service account tokens are final; older API servers are not rehearsed with."""

# The last release of each closed Vault line (releases after it do not exist), and the last of 1, which 2.0 follows.
# Source: the Vault changelog and tags, as listed in the version table of the Kubernetes auth plugin.
_LAST_VAULT_PATCH: Final = {
    (1, 4): 7, (1, 5): 9, (1, 6): 7, (1, 7): 10, (1, 8): 12, (1, 9): 10,
    (1, 10): 11, (1, 11): 12, (1, 12): 11, (1, 13): 13,
}  # fmt: skip
_LAST_VAULT_OF_1: Final = (1, 21)


def parse(text: str) -> Version:
    """Return *text* as an ordered version. Raises ValueError with what would be right."""
    text = number(text)
    if not _SHAPE.fullmatch(text):
        raise ValueError("a version has three numbers, such as 1.11.0")
    try:
        return Version(text.replace("+ent.hsm", "+ent-hsm"))
    except InvalidVersion:
        raise ValueError("a version has three numbers, such as 1.11.0") from None


def at_least(version: str, floor: str) -> bool:
    """Is *version* the release *floor* or a newer one? A build suffix such as +ent does not count.

    Of OpenBao it is asked of which Vault it is made, unless *floor* is one of its own, too.
    """
    if product(version) == OPENBAO != product(floor):
        return release(floor) <= OPENBAO_IS_LIKE
    return release(version) >= release(floor)


def product(version: str) -> str:
    """Return whose version it is: vault, or openbao."""
    return OPENBAO if version.startswith(f"{OPENBAO}-") else "vault"


def number(version: str) -> str:
    """Return a version without the name of its product: 2.6.2 of openbao-2.6.2."""
    return version.removeprefix(f"{OPENBAO}-")


def of_product(version: str, answered: str) -> str:
    """Return a number that a server *answered* as a version of the product of another *version*: openbao-2.6.2."""
    return f"{OPENBAO}-{answered}" if answered and product(version) == OPENBAO else answered


def called(version: str, name: str = "") -> str:
    """Return a version with the name of its product as people write it: Vault 1.11.0, OpenBao 2.6.2.

    A *name* of a node, or of one of several Vaults, is followed by a space, and stands between: Vault west 1.11.0.
    """
    return f"{'OpenBao' if product(version) == OPENBAO else 'Vault'} {name}{number(version)}"


def as_option(version: str) -> str:
    """Return a version as options name what users bring: vault:1.11.0, openbao:2.6.2."""
    return f"{product(version)}:{number(version)}"


def answering(version: str, answered: str) -> str:
    """Return what a server *answered* where *version* was asked for: Vault 1.11.0, or a number alone.

    A Vault and an OpenBao answer a number alike: where an OpenBao was asked for, it may be either.
    """
    return f"Vault {answered or '?'}" if product(version) != OPENBAO else answered or "?"


def alone(version: str) -> str:
    """Return a version as it stands after the word Vault: 1.11.0, OpenBao 2.6.2."""
    return called(version) if product(version) == OPENBAO else version


def path(several: Iterable[str], between: str = " -> ", *, before: str = "") -> str:
    """Return *several* versions in order, each product named once: Vault 1.14.1 -> 1.16.3 -> OpenBao 2.6.2.

    *before* is the product that was named before, which needs no name again.
    """
    told = []
    for version in several:
        told.append(number(version) if product(version) == before else called(version))
        before = product(version)
    return between.join(told)


@lru_cache(maxsize=1024)
def release(version: str) -> tuple[int, ...]:
    """Return the numbers of *version*, by which releases are ordered."""
    return parse(version).release


def ascending(versions: Iterable[str]) -> list[str]:
    """Return *versions* without repeats, oldest first."""
    return sorted(set(versions), key=parse)


def needs_licence(vault: str) -> str:
    """Return the word about the licence of a Vault Enterprise, or nothing where none is needed."""
    if "+ent" not in vault:
        return ""
    return (
        f"Vault {vault} is Vault Enterprise: the vendor gives it under a licence, without which it does not start from "
        f"1.8 on (a run takes yours from VAULT_LICENSE_PATH); Vault {vault.partition('+')[0]} logs in alike"
    )


def never_released(vault: str) -> str:
    """Return why there is no such Vault release, or an empty text where nothing speaks against it."""
    major, minor, patch = release(vault)[:3]
    if product(vault) == OPENBAO:
        return "" if major == 2 else "the releases of OpenBao begin with 2.0.0"
    last = _LAST_VAULT_PATCH.get((major, minor))
    if major == 1 and (major, minor) > _LAST_VAULT_OF_1:
        return f"there is no Vault {major}.{minor}: the line goes from 1.21 to 2.0"
    if last is not None and patch > last:
        return f"the last release of this line is {major}.{minor}.{last}"
    return ""
