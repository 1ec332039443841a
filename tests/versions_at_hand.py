"""Tests over versions beyond the core, which run where their binaries are cached; what did not run is said by name.

The core is what the shipped scenarios need: every machine gets it, from cold if it must, and a test over it carries no
mark. A test over anything else says so with `further`, alone or on one of its parameters:

    @further("vault:1.13.0")
    def test_...
    pytest.param("1.3.0", marks=further("vault:1.3.0", "kube-apiserver:1.29.0"))

Where one of them is not in the cache, the test does not run, and the last lines of the session say which versions were
missing and how many tests wait for each. With --every-version such a test fails instead.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import platformdirs
import pytest

from harness.artifacts import store
from harness.knowledge import versions

CORE: Final = {
    "etcd": ("3.5.16",),
    "kube-apiserver": ("1.32.0",),
    "vault": ("1.4.0", "1.7.0", "1.8.0", "1.9.2", "1.9.3", "1.11.0"),
}
"""What every machine has before the real tests begin; a test holds it to what the shipped scenarios need."""

MISSING: Final = "not in the cache: "


def further(*binaries: str) -> pytest.MarkDecorator:
    """Return the mark of a test that needs *binaries*, such as "vault:1.13.0", beyond the core."""
    for each in binaries:
        product, _, version = each.partition(":")
        assert version, f'{each}: say it as "vault:1.13.0"'
        assert version not in CORE.get(product, ()), f"{each} is of the core, which is always there: no mark"
    return pytest.mark.further(*binaries)


def users_cache() -> Path:
    """Return the user's own cache: tests never see REHEARSE_CACHE."""
    return Path(platformdirs.user_cache_dir("rehearse"))


def at_hand(cache: Path | None = None) -> frozenset[str]:
    """Return what *cache* (left out: the user's) holds, each as "vault:1.13.0"."""
    return frozenset(f"{kept.product}:{kept.version}" for kept in store.cached(cache or users_cache()))


def vaults_at_hand(cache: Path | None = None) -> list[str]:
    """Return every Vault version of the core and of *cache* (left out: the user's), ascending."""
    kept = {each.partition(":")[2] for each in at_hand(cache) if each.startswith("vault:")}
    return versions.ascending({*CORE["vault"], *kept})


def missing(binaries: Iterable[str], kept: frozenset[str]) -> list[str]:
    """Return those of *binaries* that are not among *kept*, in their order."""
    return [each for each in binaries if each not in kept]


def not_run(reasons: Mapping[str, str]) -> list[str]:
    """Return the lines that say what did not run; *reasons* has, by the test's name, why it was left out."""
    waiting = defaultdict[str, list[str]](list)
    for test, reason in sorted(reasons.items()):
        if MISSING in reason:
            for binary in reason.partition(MISSING)[2].split(", "):
                waiting[binary].append(test)
    return [f"{binary}: {len(tests)} did not run: {', '.join(tests)}" for binary, tests in sorted(waiting.items())]
