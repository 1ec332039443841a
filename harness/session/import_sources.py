"""An installation is read from the sources that are named, and becomes the text of a scenario, or a list of drifts."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

import msgspec

from harness.clients.kube_reader import KubeReader
from harness.clients.vault_reader import VaultReader
from harness.errors import HarnessError, ScenarioError
from harness.importing import (
    composing,
    drifting,
    helm,
    kube_questions,
    merging,
    scenario_text,
    terraform,
    vault_questions,
)
from harness.importing.asking import Answers, Asking, Question
from harness.importing.composing import Wishes
from harness.importing.drifting import Drift
from harness.importing.installation import Gap, Installation, Known, MountPart, Seen, VaultPart
from harness.importing.naming import Names
from harness.scenario import loading, yaml_document
from harness.scenario.loading import Loaded
from harness.secret import Secret, redact

ANSWERED: Final = "whoever imports it"
"""The source of what somebody said on the command line."""


class NothingRead(HarnessError):
    """No source gave anything; the message says what each of them answered."""


class Asked(Protocol):
    """A server that can be asked."""

    def ask(self, questions: Sequence[Question]) -> Answers:
        """Return the answer to each question."""


class VaultSource(msgspec.Struct, frozen=True, kw_only=True):
    """A live Vault, and how to reach it."""

    address: str
    token: Secret | None
    ca: Path | None = None
    certificate: tuple[Path, Path] | None = None
    namespace: str = ""
    seconds: float = 10


class KubeSource(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster, by the name that the scenario is to have for it, and the context that reaches it."""

    name: str
    context: str
    kubeconfig: Path | None = None
    seconds: float = 10


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody says of a mount because they have looked."""

    configured_by: str | None = None
    with_token_file: bool | None = None
    reviewer: str | None = None
    reviewer_account: str | None = None
    cluster: str | None = None


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be imported, and how."""

    vault: VaultSource | None = None
    clusters: tuple[KubeSource, ...] = ()
    terraform: tuple[Path, ...] = ()
    """files with what `terraform show -json` prints, of a plan or a state"""
    helm: tuple[Path, ...] = ()
    """files with values of Vault's chart, as JSON or YAML"""
    mounts: tuple[str, ...] = ()
    """of these auth mounts alone; none: of all"""
    told: dict[str, Told] = {}
    """by mount"""
    vault_in: str | None = None
    """the cluster in which Vault runs, OUTSIDE for none; None: nobody said"""
    wishes: Wishes = Wishes()
    redact: bool = False


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """The scenario as the text of a file, and what is missing in it."""

    text: str
    known: Known

    @property
    def partial(self) -> bool:
        """Was something asked for and not learned?"""
        return bool(self.known.gaps)


def run(asking: Asking, asked: Asked) -> Seen:
    """Ask round after round, and return what was learned."""
    try:
        questions = next(asking)
        while True:
            questions = asking.send(asked.ask(questions))
    except StopIteration as over:
        return over.value  # type: ignore[no-any-return]


def known(request: Request) -> Known:
    """Read every source. Raises NothingRead where none of them answered, ValueError for an address that is none."""
    seen = [_told(request), *(read() for read in _readings(request))]
    answered = [one for one in seen[1:] if one.reached]
    if not answered:
        raise NothingRead("; ".join(str(gap) for one in seen for gap in one.gaps))
    return merging.complete(merging.merge(seen), source=request.wishes.source)


def _readings(request: Request) -> list[Callable[[], Seen]]:
    """Return how to read each source, those that know best first."""
    found: list[Callable[[], Seen]] = []
    if (source := request.vault) is not None:
        found.append(lambda: _of_vault(source, request.mounts))
    found += [functools.partial(_of_cluster, one, request.vault_in) for one in request.clusters]
    found += [functools.partial(_of_file, "Terraform", file, terraform.read) for file in request.terraform]
    found += [functools.partial(_of_file, "Helm", file, _of_values(request)) for file in request.helm]
    return found


def _of_file(kind: str, file: Path, read: Callable[[str, str], Seen]) -> Seen:
    """Return what a file says. One that cannot be read is a gap."""
    called = f"{kind} {file.name}"
    try:
        with file.open("rb") as stream:
            content = stream.read(terraform.LARGEST + 1)
        if len(content) > terraform.LARGEST:
            why = f"it is larger than {terraform.LARGEST // 1024**2} MiB: name the modules with Vault's resources alone"
            return Seen(source=called, gaps=(Gap(f"everything of {called}", why),), reached=False)
        return read(file.name, content.decode("utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        gap = Gap(f"everything of {called}", f"{file} cannot be read: {error}")
        return Seen(source=called, gaps=(gap,), reached=False)


def _of_values(request: Request) -> Callable[[str, str], Seen]:
    """Return how values of a chart are read; its Vault is in the only cluster there is, if somebody named one."""
    alone = request.clusters[0].name if len(request.clusters) == 1 else None
    cluster = alone if request.vault_in is None else None  # what was said needs no saying again

    def read(name: str, text: str) -> Seen:
        try:
            values = yaml_document.read(text, name).data
        except ScenarioError as error:
            why = str(error.problems[0].message)
            return Seen(source=f"Helm {name}", gaps=(Gap(f"everything of Helm {name}", why),), reached=False)
        return helm.read(name, values, cluster)

    return read


def _of_cluster(source: KubeSource, vault_in: str | None) -> Seen:
    reader = KubeReader(source.context, source.kubeconfig, seconds=source.seconds)
    holds = None if vault_in is None else vault_in == source.name
    asking = kube_questions.read(
        source.name, host=reader.host, ca=reader.ca, verified=reader.verified, holds_vault=holds
    )
    return run(asking, reader)


def _of_vault(source: VaultSource, mounts: tuple[str, ...]) -> Seen:
    reader = VaultReader(
        source.address,
        source.token,
        ca=source.ca,
        certificate=source.certificate,
        namespace=source.namespace,
        seconds=source.seconds,
    )
    return run(vault_questions.read(tls=reader.tls, only_mounts=mounts), reader)


def _told(request: Request) -> Seen:
    """Return what was said on the command line, as a source that knows best."""
    mounts = {
        path: MountPart(
            cluster=told.cluster,
            configured_by=told.configured_by,
            with_token_file=told.with_token_file,
            reviewer=told.reviewer,
            reviewer_account=told.reviewer_account,
        )
        for path, told in request.told.items()
    }
    said = Installation(vault=VaultPart(cluster=request.vault_in), mounts=mounts)
    return Seen(source=ANSWERED, said=said, reached=False)


def imported(request: Request) -> Imported:
    """Return the scenario of an installation. Raises as `known` does, and ScenarioError where it cannot be one."""
    found = known(request)
    names = Names(found.said.vault.identity or "" if request.redact else None)
    composed = composing.compose(found, request.wishes, names)
    text = redact(scenario_text.written(composed.document, composed.comments))
    loading.loads(text, "the imported scenario")
    return Imported(text=text, known=found)


def drifted(request: Request, written: Loaded) -> tuple[list[Drift], Known]:
    """Return what is otherwise now than a scenario says, and what is known now. Raises as `imported` does."""
    found, names = known(request), Names()
    composed = composing.compose(found, request.wishes, names)
    now = loading.loads(scenario_text.written(composed.document, composed.comments), "the imported scenario")
    return drifting.drifts(written.scenario, now.scenario, found, names), found
