"""Shipped scenarios are brought up and imported from outside: what comes of each is judged as the original."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace

from harness import settings
from harness.cli.commands import main
from harness.drivers.local.shared_clusters import SharedClusters
from harness.importing.provenance import WAYS
from harness.knowledge import kubernetes_auth
from harness.record.journal import Journal
from harness.rehearsal import rehearsal
from harness.scenario import loading, matrix, topology
from harness.scenario.loading import Loaded
from harness.scenario.topology import MountSpec
from harness.session import one_rehearsal
from tests.importing import variants
from tests.runs import SCENARIOS, on_paper, started

pytestmark = pytest.mark.real

CHOSEN = (
    "a-config-written-in-a-pod-by-1.7-never-worked-for-another-cluster",
    "a-copied-pod-token-as-the-reviewer-dies-with-the-pod",
    "a-new-issuer-of-the-cluster-refuses-every-login-of-a-vault-that-stays",
    "a-projected-token-for-vault-needs-a-reviewer-beside-it",
    "a-reviewer-without-auth-delegator-refuses-everyone",
    "a-vault-outside-any-cluster-keeps-the-app-as-its-reviewer",
    "keys-that-vault-fetches-itself-are-missed-once-it-starts-anew",
    "secret-ids-and-passwords-log-in-as-before-beside-kubernetes",
    "the-outage-apps-in-another-cluster-are-refused-after-the-upgrade",
)
"""One for each way to come to a reviewer, kind of mount and place of Vault; the others differ in the course alone."""


@pytest.fixture(scope="module", name="clusters")
def shared_by_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedClusters]:
    """Yield control planes that serve one scenario after the other."""
    place = tmp_path_factory.mktemp("clusters")
    with ExitStack() as stack:
        yield stack.enter_context(SharedClusters(settings.temporary(), place))


def before_anything(original: Loaded) -> Loaded:
    """Return the scenario as it is before its first step, of which hardly anything is asked."""
    document = matrix.plain(original.scenario)
    for key in ("expect", "matrix", "probes"):
        document.pop(key, None)
    for key in ("target", "via"):
        document["vault"].pop(key, None)
    return loading.loads(json.dumps({**document, "course": [{"look": {}}], "probes": ["health"]}), original.file)


class Importer:
    """Imports a running system from outside, as a user would: over the wire, with options and files."""

    def __init__(self, directory: Path, original: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
        self._directory, self._patch = directory, monkeypatch
        self._original = original
        self.results: dict[str, Result] = {}
        self.secrets: list[str] = []

    def __call__(self, rig: Any) -> None:
        vault = rig._vault.client
        self._patch.setenv("VAULT_TOKEN", vault.root.reveal())
        self.secrets = [vault.root.reveal(), *(p.kube.administrator_token.reveal() for p in rig._planes.values())]
        config = self._directory / "kubeconfig"
        config.write_text(
            json.dumps(merged({name: json.loads(p.kube.kubeconfig()) for name, p in rig._planes.items()}))
        )
        certificate, key = vault.certificate or ("", "")
        words = ["import", "--vault-addr", vault.address, "--timeout", "60", "--kubeconfig", str(config)]
        words += [
            "--vault-ca-file",
            str(vault.ca),
            "--vault-client-cert",
            str(certificate),
            "--vault-client-key",
            str(key),
        ]
        words += [word for name in rig._planes for word in ("--context", f"{name}={name}")]
        spec = self._original.scenario.vault
        words += ["--target", spec.target] if spec.target else []
        words += [word for stop in spec.via for word in ("--via", stop)]
        if spec.cluster is None:
            words += ["--vault-in", "outside"]
        self.results["unsaid"] = CliRunner().invoke(main, words)
        said = [word for mount, way in truth(self._original).items() for word in ("--reviewer", f"{mount}={way}")]
        self.results["said"] = CliRunner().invoke(main, [*words, *said])


def merged(configs: Mapping[str, Any]) -> dict[str, Any]:
    """Return one kubeconfig with a context for each cluster."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": one["clusters"][0]["cluster"]} for name, one in configs.items()],
        "users": [{"name": name, "user": one["users"][0]["user"]} for name, one in configs.items()],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}} for name in configs],
    }


def truth(original: Loaded) -> dict[str, str]:
    """Return how each mount's reviewer came to be, which whoever runs an installation can find out."""
    mounts = topology.of(original.scenario).mounts
    return {path: way(mount) for path, mount in mounts.items() if mount.of_kind.reviews}


def way(mount: MountSpec) -> str:
    if mount.reviewer:
        return {"long-lived": "secret"}.get(mount.reviewer, mount.reviewer)
    disable = bool(mount.fields.get("disable_local_ca_jwt"))
    stored = kubernetes_auth.stored_reviewer(
        mount.written_by, token_file=mount.with_token_file, explicit=False, disable_local=disable
    )
    return "copied" if stored == "frozen" else "none"


def judgement(loaded: Loaded, directory: Path) -> tuple[str, list[tuple[str, ...]]]:
    """Return what a scenario is judged, and each finding with its role in place of the app, whose name is ours."""
    plain = matrix.plain(loaded.scenario)
    for key in ("expect", "matrix"):
        plain.pop(key, None)
    scenario = loading.loads(json.dumps(plain)).scenario
    _, judged = on_paper(scenario, directory)
    apps = topology.of(scenario).apps

    def of(app: str) -> str:
        return f"{apps[app].mount}/{apps[app].role}" if app in apps else ""

    found = [(one.kind, one.effect, one.rule, of(one.app), one.hop) for one in judged.findings]
    return judged.verdict, sorted(found)


def with_course(imported: Loaded, original: Loaded) -> Loaded:
    """Return the imported scenario with what the original does, which no installation tells."""
    course = matrix.plain(original.scenario).get("course")
    if course is None:
        return imported
    return loading.loads(json.dumps(matrix.plain(imported.scenario) | {"course": course}))


@pytest.mark.parametrize("name", CHOSEN)
def test_an_imported_scenario_is_judged_as_the_original(
    name: str, clusters: SharedClusters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From outside nothing is missing; the truth is among the variants; and with it the judgement is the same."""
    original = loading.load(SCENARIOS / f"{name}.yaml")
    look = before_anything(original)
    places = one_rehearsal.Places(
        settings.cache(), tmp_path / "state", settings.temporary(), dict(settings.environment())
    )
    driver = one_rehearsal.driver_of(one_rehearsal.Options(), places, lambda _line: None, clusters)
    importer = Importer(tmp_path, original, monkeypatch)
    with Journal.opened(tmp_path / "run") as journal:
        # runs at a time, of several processes too, have rooms and ports of their own by this name
        begun = replace(started(look.scenario, name, "local"), run_id=f"test-run-{os.getpid()}")
        rehearsal.recorded(begun, driver, journal, afterwards=importer)
    assert importer.results, (tmp_path / "run" / "record.jsonl").read_text()[-2000:]
    assert {one.exit_code for one in importer.results.values()} == {0}, importer.results["unsaid"].stderr
    assert not [one for one in importer.secrets for done in importer.results.values() if one in done.output]
    unsaid, said = (loading.loads(importer.results[key].stdout) for key in ("unsaid", "said"))
    assert said.scenario.matrix is None
    wanted = judgement(original, tmp_path / "original")
    assert judgement(with_course(said, original), tmp_path / "imported") == wanted
    cells = variants(unsaid)
    axes = unsaid.scenario.matrix.axes["reviewer"] if unsaid.scenario.matrix else {}
    for path, true in truth(original).items():
        first = unsaid.scenario.auth[path].reviewer or "none"
        assert true == first or true in axes, (true, cells.keys())
        assert true in WAYS
