"""What a release server serves is what runs: a real archive, from a real server on loopback, in a real rehearsal."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import platformdirs
import pytest

from harness.artifacts.store import Sources, Store, cached
from harness.errors import MissingPrerequisite
from harness.record.events import ArtifactUsed
from harness.scenario import loading, plan
from harness.session.one_rehearsal import Options, Places, rehearse_one
from tests.runs import OUTAGE
from tests.test_artifacts import Mirror, mirror, vault, zipped

__all__ = ["mirror"]

USERS = Path(platformdirs.user_cache_dir("rehearse"))


@pytest.mark.real
def test_a_rehearsal_runs_on_what_the_server_gave(mirror: Mirror, tmp_path: Path) -> None:
    """All but one binary are here; that one is fetched, checked, unpacked, named in the record, and kept."""
    loaded, cache = loading.load(OUTAGE), tmp_path / "cache"
    real = Store(Sources(USERS), print)
    for one in real.get_all(plan.make(loaded.scenario, loaded.name, "local").artifacts):
        entry = one.path.parent
        if (one.product, one.version) == ("vault", "1.11.0"):
            content = one.path.read_bytes()
            continue
        (cache / "artifacts" / one.product).mkdir(parents=True, exist_ok=True)
        (cache / "artifacts" / one.product / entry.name).symlink_to(entry)
    mirror.vault(zipped(content), "1.11.0")
    (tmp_path / "tmp").mkdir()
    places = Places(cache, tmp_path / "state", tmp_path / "tmp", dict(os.environ))
    done = rehearse_one(loaded, Options(mirror=mirror.url, insecure_mirror=True), places)

    assert done.judgement.as_expected
    assert [finding.rule for finding in done.judgement.findings] == ["reviewer-fallback-local"]
    (used,) = [one for one in done.record.of(ArtifactUsed) if (one.product, one.version) == ("vault", "1.11.0")]
    assert used.source == f"{mirror.url}/vault/1.11.0/vault_1.11.0_linux_amd64.zip"
    assert used.sha256 == hashlib.sha256(content).hexdigest()
    assert "without TLS" in used.note
    assert [
        one.version for one in cached(cache) if not (cache / "artifacts" / "vault").joinpath(one.version).is_symlink()
    ]
    asked = len(mirror.asked)
    again = Store(Sources(cache, mirror=mirror.url, insecure_mirror=True), print).get("vault", "1.11.0")
    assert (again.sha256, len(mirror.asked)) == (used.sha256, asked)


@pytest.mark.processes
@pytest.mark.parametrize("version", ["2.0.1", "2.0.4", "1.14.10", "1.20.0"])
def test_what_no_recipe_builds_comes_from_the_server_or_the_reason_says_so(
    version: str, mirror: Mirror, tmp_path: Path
) -> None:
    """Vault 2.x and the lines that do not build from modules: first nobody has it, then the server has."""
    store = Store(Sources(tmp_path, mirror=mirror.url, insecure_mirror=True), print)
    with pytest.raises(MissingPrerequisite) as refused:
        store.get("vault", version)
    assert f"{mirror.url}/vault/{version}/vault_{version}_SHA256SUMS" in str(refused.value)
    assert "cannot be built from Go modules" in str(refused.value)
    assert "name a mirror that has it" in str(refused.value)
    mirror.vault(vault(version), version)
    assert store.get("vault", version).source == f"{mirror.url}/vault/{version}/vault_{version}_linux_amd64.zip"
