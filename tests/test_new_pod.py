"""A new Vault that comes to serve in its Pod beside the last rehearsal of another variant."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.artifacts.images import Image
from harness.clients.kube_emptying import Spared
from harness.drivers.kind.ready_pod import NewPod, fit
from harness.drivers.kind.shared_clusters import SharedKindClusters
from harness.drivers.kind.vault_pod import Turn
from harness.drivers.service_accounts import Account
from harness.errors import RigError
from harness.scenario.plan import Plan
from harness.wait import Stopwatch
from tests.test_shared_source import planned

HOME = Account("platform", "vault", "vault", "vault")
ELSEWHERE = Account("platform", "vault", "keeper", "vault")
IMAGE = Image("vault", "1.7.0", "an image", "sha256:11", "made here")
OTHER = Image("vault", "1.7.0", "an image", "sha256:22", "made here")


class Pod:
    """A Vault in a Pod that comes to serve, or does not."""

    name, folder = "vault-2", "/var/lib/rehearsal/next"
    unwanted: threading.Event | None = None

    def __init__(self, health: int) -> None:
        self.done: list[str] = []
        self._ended = health != 200
        self.client = SimpleNamespace(
            initialise=self._initialised,
            unseal=self.done.append,
            health=lambda: SimpleNamespace(status=health),
        )

    def _initialised(self, shares: int, threshold: int) -> tuple[str, ...]:
        self.done.append(f"{threshold} of {shares}")
        return ("a key",)

    def take_place(self) -> None:
        self.done.append("in place")

    def roll_out(self, version: str, image: str, *, token_file: bool) -> SimpleNamespace:
        self.done.append(f"{version} of {image}, token file: {token_file}")
        return SimpleNamespace(name="vault-2-0")

    def given_up(self) -> str | None:
        gone = self._ended or (self.unwanted is not None and self.unwanted.is_set())
        return "it has ended" if gone else None

    def leave_at_once(self) -> None:
        self.done.append("left")


def by_app(tmp_path: Path, **changes: Any) -> Plan:
    """Return the plan of the outage on kind, as its variants with another reviewer have it."""
    by = {"by": "1.7.0", "with-token-file": True}
    return planned(tmp_path, "kind", **({"auth__kubernetes__configured": by} | changes))


@pytest.mark.parametrize("health", [200, 503], ids=["serves", "ends"])
def test_it_is_initialised_and_unsealed_before_its_rehearsal_begins(health: int, tmp_path: Path) -> None:
    """And stays where its cluster is emptied. One that does not serve leaves, and is made by whoever begins."""
    place, pod, made = tmp_path / "place", Pod(health), by_app(tmp_path)
    place.mkdir()
    new = NewPod(made, HOME, cast("Any", SimpleNamespace(mark="aa11")), lambda: cast("Any", pod), IMAGE, place)
    assert cast("Any", new.ready()) is (pod if health == 200 else None)
    vault = made.resolved.vault
    begun = ["in place", "1.7.0 of an image, token file: True", f"{vault.threshold} of {vault.shares}", "a key"]
    assert pod.done == [*begun, *(["left"] if health != 200 else [])]
    if health == 200:
        assert new.spared(cast("Any", pod)) == Spared("vault", "vault", "vault-2", "vault-2-0", pod.folder, "aa11")
    new.end()
    assert not place.exists()


def test_who_ends_waits_for_none_that_is_on_its_way(tmp_path: Path) -> None:
    """Neither a rehearsal that is over, nor whoever takes no interest in it any more."""
    place, pod, let_on = tmp_path / "place", Pod(503), threading.Event()
    place.mkdir()
    pod._ended = False

    def server() -> Any:
        let_on.wait(30)
        return pod

    new = NewPod(by_app(tmp_path), HOME, cast("Any", SimpleNamespace(mark="aa11")), server, IMAGE, place)
    over = threading.Event()
    over.set()
    with pytest.raises(RigError, match="the run is over"):
        new.ready(over)
    threading.Timer(0.2, let_on.set).start()
    watch = Stopwatch()
    new.end()
    assert watch.seconds < 20
    assert pod.done[-1] == "left"


def test_one_fits_whoever_begins_with_the_same_vault_in_the_same_place(tmp_path: Path) -> None:
    mine = fit(by_app(tmp_path), HOME, IMAGE)
    assert mine
    assert fit(by_app(tmp_path, auth__kubernetes__reviewer="client-jwt"), HOME, IMAGE) == mine
    assert fit(by_app(tmp_path, vault__storage="file"), HOME, IMAGE) not in (mine, b"")
    own = {"kubernetes": "1.32.0", "issuers": ["https://oidc.example/platform"]}
    issuers = {"apps": {"kubernetes": "1.32.0"}, "platform": own}
    assert fit(by_app(tmp_path, clusters=issuers), HOME, IMAGE) not in (mine, b""), "its token would be of another one"
    assert mine not in (fit(by_app(tmp_path), ELSEWHERE, IMAGE), fit(by_app(tmp_path), HOME, OTHER))


@pytest.mark.parametrize(
    ("another_follows", "ahead", "made"),
    [(True, [], True), (False, [], False), (True, [("vault-image", "1.8.0")], False)],
    ids=["another variant follows", "nobody follows", "one over the source state follows"],
)
@pytest.mark.parametrize("home", [HOME, ELSEWHERE], ids=["fits", "fits nobody"])
def test_it_is_made_beside_the_last_of_a_variant_for_whom_it_fits(
    another_follows: bool,
    ahead: list[tuple[str, str]],
    made: bool,
    home: Account,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clusters, pod, plan = SharedKindClusters(tmp_path, tmp_path), Pod(200), by_app(tmp_path)
    place = tmp_path / "place"
    room = SimpleNamespace(place=place, cluster=SimpleNamespace(mark="aa11"), server=lambda: pod)

    def made_room(*_: object) -> SimpleNamespace:
        place.mkdir()
        return room

    monkeypatch.setattr(clusters, "_room", made_room)
    clusters.another_follows, clusters.ahead = another_follows, ahead
    clusters.make_new(plan, cast("Any", None), HOME, IMAGE, Turn("vault-2", 8204, 20_001))
    assert place.exists() is made
    new = clusters.new(plan, home, IMAGE)
    assert (new is not None) is (made and home is HOME)
    assert place.exists() is (new is not None), "one that fits nobody ends"
    assert clusters.new(plan, home, IMAGE) is None, "whoever asks has it"
    if new is not None:
        new.end()
