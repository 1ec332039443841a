"""Tests over versions that are not everywhere run where those are, and what did not run is named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from harness.artifacts.store import CachedArtifact
from harness.scenario import loading, plan
from tests import versions_at_hand
from tests.versions_at_hand import further

ROOT = Path(__file__).parent.parent

TESTS = """
import pytest
from tests.versions_at_hand import further

@further("vault:1.13.0")
def test_over_one(): pass

@pytest.mark.parametrize("version", [
    "1.7.0", pytest.param("1.3.0", marks=further("vault:1.3.0")), pytest.param("1.12.0", marks=further("vault:1.12.0")),
])
def test_over_each(version): pass

@further("vault:1.3.0", "kube-apiserver:1.29.0")
def test_over_two_products(): pass
"""

BY_CHANCE = """
def test_by_chance(request):
    place = request.config.rootpath / "was here"
    there = place.exists()
    place.touch()
    assert there, "the first time"
"""


def keep(cache: Path, product: str, version: str) -> None:
    """Put the record of a binary into *cache*."""
    place = cache / "artifacts" / product / f"{version}-linux-amd64"
    place.mkdir(parents=True)
    kept = CachedArtifact(product, version, "a test", "00" * 32, 1, 0.0)
    (place / "artifact.json").write_bytes(msgspec.json.encode(kept))


def run(directory: Path, *options: str, tests: str = TESTS) -> tuple[int, str]:
    """Run *tests* below *directory* with our hooks, 1.13.0 alone being cached; how it ended and what it said."""
    keep(directory / "rehearse", "vault", "1.13.0")
    file = directory / "test_over_versions.py"
    file.write_text(tests)
    words = [
        "-c",
        str(ROOT / "pyproject.toml"),
        f"--rootdir={directory}",
        "-p",
        "tests.conftest",
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, *options, str(file)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "XDG_CACHE_HOME": str(directory)},
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.processes
@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "side by side"])
def test_what_did_not_run_is_named_at_the_end(workers: tuple[str, ...], tmp_path: Path) -> None:
    code, said = run(tmp_path, *workers)

    assert code == 0, said
    assert "2 passed, 3 skipped" in said
    file = "test_over_versions.py"
    each, two = f"{file}::test_over_each[1.3.0]", f"{file}::test_over_two_products"
    assert f"vault:1.3.0: 2 did not run: {each}, {two}" in said
    assert f"kube-apiserver:1.29.0: 1 did not run: {two}" in said
    assert f"vault:1.12.0: 1 did not run: {file}::test_over_each[1.12.0]" in said
    assert "vault:1.13.0" not in said


@pytest.mark.processes
def test_where_every_version_has_to_be_there_a_missing_one_fails(tmp_path: Path) -> None:
    code, said = run(tmp_path, "--every-version")

    assert code == 1
    assert "2 passed, 3 errors" in said
    assert "not in the cache: vault:1.3.0, kube-apiserver:1.29.0" in said


@pytest.mark.processes
def test_what_passes_only_when_run_again_is_named_with_what_failed(tmp_path: Path) -> None:
    """The gate runs real tests twice where they fail, and whoever reads its end sees which."""
    code, said = run(tmp_path, "-n", "2", "--reruns", "1", tests=BY_CHANCE)

    assert code == 0, said
    assert "1 passed, 1 rerun" in said
    end = said.partition("failed, and was run again")[2]
    assert "test_over_versions.py::test_by_chance" in end
    assert "AssertionError: the first time" in end


def test_the_core_is_what_the_shipped_scenarios_need() -> None:
    needed = set()
    for file in sorted((ROOT / "scenarios").glob("*.yaml")):
        loaded = loading.load(file)
        needed |= set(plan.make(loaded.scenario, loaded.name, "local").artifacts)

    assert needed == {(product, each) for product, several in versions_at_hand.CORE.items() for each in several}


def test_a_mark_names_what_is_not_everywhere() -> None:
    assert further("vault:1.13.0").args == ("vault:1.13.0",)
    with pytest.raises(AssertionError, match="of the core"):
        further("vault:1.7.0")
    with pytest.raises(AssertionError, match="say it as"):
        further("1.13.0")


def test_vaults_at_hand_are_the_core_and_what_is_cached(tmp_path: Path) -> None:
    keep(tmp_path, "vault", "1.13.0")
    keep(tmp_path, "etcd", "3.5.15")

    expected = ["1.4.0", "1.7.0", "1.8.0", "1.9.2", "1.9.3", "1.11.0", "1.13.0"]
    assert versions_at_hand.vaults_at_hand(tmp_path) == expected
    assert versions_at_hand.at_hand(tmp_path) == {"vault:1.13.0", "etcd:3.5.15"}
