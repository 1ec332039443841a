"""A Vault on kind that another one unseals: each on its own path, answered as on processes, and what a kubelet does."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any, Final

import pytest

from harness import wait
from harness.clients.vault import Vault
from harness.record import journal
from harness.record.node_events import LeftToKubelet
from harness.secret import Secret
from tests import courses
from tests.runs import signalled
from tests.test_kind_courses import answers, killed_in, on_processes
from tests.test_kind_faults import (  # noqa: F401  # fixtures
    Harbour,
    Kept,
    Watch,
    foreign,
    harbour,
    image,
    kept,
    machine,
    own_ways,
)
from tests.test_real_seals import MENDED
from tests.test_seals import THERE_AND_BACK, scenario, with_shamir

pytestmark = pytest.mark.kind


def here(file: Path, place: str = "inside") -> Path:
    """Have the scenario in *file* be of the cluster that is kept, with its Vault there or outside of it."""
    text = file.read_text().replace("platform", courses.CLUSTER)
    if place == "outside":
        text = text.replace(f"  cluster: {courses.CLUSTER}\n  service-account: vault/vault\n", "", 1)
    file.write_text(text)
    return file


def found(judgement: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return what was found, without its words."""
    names = ("kind", "effect", "rule", "confidence", "hop", "step")
    return [tuple(one[name] for name in names) for one in judgement["findings"]]


@pytest.mark.parametrize("place", ["inside", pytest.param("outside", marks=pytest.mark.nightly)])
def test_both_orders_and_what_is_mended_in_time_are_answered_as_on_processes(
    place: str,
    kept: Kept,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The token of the seal is in no command line, in no container's description, and nowhere in the record."""
    tokens: list[Secret] = []
    made = Vault.make_seal_token

    def remembered(self: Vault) -> Secret:
        tokens.append(made(self))
        return tokens[-1]

    monkeypatch.setattr(Vault, "make_seal_token", remembered)
    file = here(scenario(tmp_path / "mended.yaml", MENDED), place)
    watch = Watch(kept.harbour.machine)
    watch.start()
    try:
        ending, directory = kept.harbour.rehearse(file, "--reuse")
    finally:
        watch.over.set()
        watch.join()
    assert ending.verdict == ("pass", 0), ending.said
    assert ending.judgement["doubts"] == []
    local = on_processes(file, tmp_path / "local")
    assert answers(ending.judgement) == answers(local)
    assert found(ending.judgement) == found(local)
    assert len(tokens) == 2
    written = "".join(one.read_text(errors="replace") for one in directory.rglob("*") if one.is_file())
    for token in tokens:
        assert token.reveal() not in written + "".join(watch.containers)
    assert kept.harbour.left(directory) == []


FAULTS: Final = {
    "seal": ("seal-vault-sealed", "unseal"),
    "stop": ("seal-vault-away", "start"),
    "end-token": ("seal-token-refused", "new-token"),
}


@pytest.mark.parametrize(
    "fault",
    [pytest.param("seal", marks=pytest.mark.nightly), "stop", pytest.param("end-token", marks=pytest.mark.nightly)],
)
def test_a_pod_whose_vault_is_not_unsealed_is_started_by_its_kubelet_until_it_is(
    fault: str,
    kept: Kept,  # noqa: F811
    tmp_path: Path,
) -> None:
    """It is refused as on processes. In a Pod that is not the end: nobody has to start it once that is mended."""
    cause, mend = FAULTS[fault]
    steps = f"  - seal-vault: {fault}\n    then-look: false\n  - upgrade: 1.9.2\n"
    file = here(scenario(tmp_path / "lost.yaml", steps))
    ending, directory = kept.harbour.rehearse(file, "--reuse")
    (finding,) = ending.judgement["findings"]
    assert (finding["effect"], finding["rule"], finding["confidence"]) == ("upgrade refused", cause, "certain")
    assert found(ending.judgement) == found(on_processes(file, tmp_path / "local"))
    (left,) = journal.load(directory).of(LeftToKubelet)
    assert (left.version, left.step, left.mended) == ("1.9.2", 2, (mend,))
    assert not left.pod.ready
    assert left.pod.restarts > 0
    assert left.pod.waiting.startswith("CrashLoopBackOff")
    assert left.seconds is not None
    assert left.then is not None
    assert left.then.ready
    assert left.then.restarts > left.pod.restarts
    assert left.words in finding["sentence"]
    assert "does not try again by itself" not in finding["remedy"]
    assert kept.harbour.left(directory) == []


@pytest.mark.parametrize("place", ["inside", pytest.param("outside", marks=pytest.mark.nightly)])
def test_a_seal_is_migrated_there_and_back_as_on_processes(place: str, kept: Kept, tmp_path: Path) -> None:  # noqa: F811
    file = here(with_shamir(tmp_path / "migrated.yaml", THERE_AND_BACK), place)
    ending, directory = kept.harbour.rehearse(file, "--reuse")
    assert ending.verdict == ("pass", 0), ending.said
    assert (ending.judgement["findings"], ending.judgement["doubts"]) == ([], [])
    assert answers(ending.judgement) == answers(on_processes(file, tmp_path / "local"))
    assert kept.harbour.left(directory) == []


@pytest.mark.nightly
def test_a_listener_without_tls_is_of_the_vault_that_is_unsealed_alone(kept: Kept, tmp_path: Path) -> None:  # noqa: F811
    """That one is started anew for it, as its own version and not that of the Vault that unseals it."""
    file = here(scenario(tmp_path / "plain.yaml", "  - upgrade: 1.9.2\n", vault="  tls: false\n"))
    ending, directory = kept.harbour.rehearse(file, "--reuse")
    assert ending.verdict == ("pass", 0), ending.said
    assert ending.judgement["versions"]["vaults"] == {"seal-vault": ["1.8.0"], "vault": ["1.7.0", "1.9.2"]}
    assert answers(ending.judgement) == answers(on_processes(file, tmp_path / "local"))
    assert kept.harbour.left(directory) == []


@pytest.mark.parametrize("line", ["asking after 1.9.2", pytest.param("swap to 1.9.2", marks=pytest.mark.nightly)])
def test_a_run_that_is_killed_leaves_neither_of_the_two(line: str, harbour: Harbour, tmp_path: Path) -> None:  # noqa: F811
    file = here(scenario(tmp_path / "killed.yaml", "  - {upgrade: 1.9.2, then-look: true}\n"))
    directory, words = harbour.words(file)
    signalled(words, {**os.environ, **harbour.environment}, line, signal.SIGKILL)
    wait.until(lambda: not harbour.left(directory), what="the last trace of the run", seconds=30)


@pytest.mark.nightly
def test_a_run_that_is_killed_while_the_unsealing_vault_is_upgraded_leaves_nothing(kept: Kept, tmp_path: Path) -> None:  # noqa: F811
    killed_in("upgrade", here(scenario(tmp_path / "k.yaml", "  - {upgrade: 1.11.0, vault: seal-vault}\n")), kept)
