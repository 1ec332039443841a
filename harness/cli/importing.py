"""The command `import`: an installation is read, and becomes a scenario."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from harness import settings
from harness.cli.output import Ended, fail, say, tell, write

if TYPE_CHECKING:
    from harness.secret import Secret
    from harness.session.import_sources import Imported, Request, Told, VaultSource

_FILE: Final = click.Path(path_type=Path, dir_okay=False)
_PARTIAL: Final = 4

_VAULT_OPTIONS: Final[tuple[Callable[[Any], Any], ...]] = (
    click.option("--vault-addr", metavar="URL", help="A live Vault, which is only read. Its token: VAULT_TOKEN."),
    click.option("--vault-token-file", type=_FILE, help="A file with the token instead."),
    click.option("--vault-ca-file", type=_FILE, help="The CA of Vault. Left out: what this machine trusts."),
    click.option("--vault-client-cert", type=_FILE, help="A certificate of one's own, where Vault wants one."),
    click.option("--vault-client-key", type=_FILE, help="Its key."),
    click.option("--vault-namespace", default="", help="The namespace, of a Vault Enterprise."),
    click.option("--timeout", type=click.FloatRange(0.1, 600), default=10, help="Seconds for a question (10)."),
)
_KUBE_OPTIONS: Final[tuple[Callable[[Any], Any], ...]] = (
    click.option(
        "--context",
        "contexts",
        multiple=True,
        metavar="NAME=CONTEXT",
        help="A cluster, which is only read, by a context.",
    ),
    click.option("--kubeconfig", type=_FILE, help="The kubeconfig of the contexts. Left out: the user's own."),
)
_FILE_OPTIONS: Final[tuple[Callable[[Any], Any], ...]] = (
    click.option(
        "--terraform", multiple=True, type=_FILE, help="What `terraform show -json` prints, of a plan or a state."
    ),
    click.option("--helm-values", multiple=True, type=_FILE, help="Values of Vault's chart, as YAML or JSON."),
)
_ANSWER_OPTIONS: Final[tuple[Callable[[Any], Any], ...]] = (
    click.option("--mount", "mounts", multiple=True, metavar="PATH", help="Of this auth mount alone; may be repeated."),
    click.option("--source", metavar="VERSION", help="The version in use, where no source says it."),
    click.option("--target", metavar="VERSION", help="The version to go to."),
    click.option("--via", multiple=True, metavar="VERSION", help="A stop on the way; may be repeated."),
    click.option("--vault-in", metavar="CLUSTER", help="The cluster in which Vault runs; `outside`: in none."),
    click.option(
        "--configured",
        multiple=True,
        metavar="MOUNT=VERSION",
        help="Who wrote a mount's config last; with :token-file or :no-token-file behind it.",
    ),
    click.option(
        "--reviewer",
        "reviewers",
        multiple=True,
        metavar="MOUNT=KIND",
        help="Who reviews logins at a mount: none, client-jwt, copied, pod-token, secret, requested, local; the last "
        "but two with :NAMESPACE/NAME behind them.",
    ),
    click.option("--cluster-of", "clusters_of", multiple=True, metavar="MOUNT=CLUSTER", help="The cluster it asks."),
)


def _options(given: Iterable[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    def decorate(command: Any) -> Any:
        for option in reversed(tuple(given)):
            command = option(command)
        return command

    return decorate


@click.command(name="import")
@_options(_VAULT_OPTIONS)
@_options(_KUBE_OPTIONS)
@_options(_FILE_OPTIONS)
@_options(_ANSWER_OPTIONS)
@click.option("-o", "--output", type=_FILE, help="Write the scenario here. Left out: stdout.")
@click.option("--force", is_flag=True, help="Write over it if it is there.")
@click.option("--check", type=_FILE, metavar="SCENARIO", help="Say what is otherwise now than this scenario has it.")
@click.option("--redact", is_flag=True, help="Replace names by pseudonyms, so that it can be shown to others.")
@click.option("--policy", is_flag=True, help="Print the smallest Vault policy that it needs, and no more.")
@click.option("--cluster-role", is_flag=True, help="Print the rights that it needs in a cluster, and no more.")
def import_(
    *,
    output: Path | None,
    force: bool,
    policy: bool,
    cluster_role: bool,
    check: Path | None,
    mounts: tuple[str, ...],
    **said: Any,
) -> None:
    """Read an installation, and write the scenario of it. Nothing of it is changed: only GET is sent.

    What nobody can see from outside is a variant (`matrix`), or stands there as an assumption with the way to find out.
    Exit code 4 means that something could not be read: it is named on stderr, and in the scenario. With --check, 1
    means that the scenario is no longer what the installation is.
    """
    if policy:
        from harness.importing import vault_questions

        write(vault_questions.policy(mounts))
        return
    if cluster_role:
        from harness.importing import kube_questions

        write(kube_questions.RIGHTS)
        return
    if output is not None and output.exists() and not force:
        fail(2, f"{output} is there already: another name, or --force")
    request = _request(mounts, **said)
    if check is not None:
        _check(request, check)
    done = _imported(request)
    if output is None:
        write(done.text)
    else:
        _save(output, done.text)
    for gap in done.known.gaps:
        say(f"missing: {gap}")
    for conflict in done.known.conflicts:
        say(f"contradiction: {conflict}")
    if output is not None:
        tell(f"{output}\nrehearse plan {output}    # what would be done")
    raise Ended(_PARTIAL if done.partial else 0)


def _check(request: Request, scenario: Path) -> NoReturn:
    """Print what has drifted since *scenario* was written, a line each, and end."""
    from harness.cli.maintenance import load
    from harness.session import import_sources

    written = load(scenario)
    with _explained():
        found, known = import_sources.drifted(request, written)
    for drift in found:
        tell(drift)
    for gap in known.gaps:
        say(f"missing: {gap}")
    if not found:
        tell(f"{scenario}: nothing has drifted" + (" of what could be read" if known.gaps else ""))
    raise Ended(1 if found else _PARTIAL if known.gaps else 0)


def _imported(request: Request) -> Imported:
    from harness.session import import_sources

    with _explained():
        return import_sources.imported(request)


@contextmanager
def _explained() -> Iterator[None]:
    """End with a sentence and its exit code where nothing can be read, or it makes no scenario."""
    from harness.errors import ScenarioError
    from harness.session import import_sources

    try:
        yield
    except ScenarioError as error:
        say(error)
        fail(2, "what was read and said makes no scenario; nothing was written")
    except import_sources.NothingRead as error:
        fail(3, f"nothing could be read: {error}")
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _save(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        fail(3, f"{file} could not be written: {error}")


def _request(mounts: tuple[str, ...], **said: Any) -> Request:
    from harness.importing.composing import Wishes
    from harness.importing.installation import OUTSIDE
    from harness.session.import_sources import KubeSource, Request

    vault = _vault(said)
    clusters = tuple(
        KubeSource(name=name, context=context, kubeconfig=said["kubeconfig"], seconds=said["timeout"])
        for name, context in _pairs("--context", said["contexts"])
    )
    if vault is None and not (clusters or said["terraform"] or said["helm_values"]):
        options = "--vault-addr, --context, --terraform, --helm-values"
        raise click.UsageError(f"nothing says what is to be read: {options}")
    place = said["vault_in"]
    return Request(
        vault=vault,
        clusters=clusters,
        terraform=said["terraform"],
        helm=said["helm_values"],
        mounts=tuple(one.strip("/") for one in mounts),
        told=_told(said),
        vault_in=OUTSIDE if place == "outside" else place,
        wishes=Wishes(source=said["source"], target=said["target"], via=said["via"]),
        redact=said["redact"],
    )


def _vault(said: dict[str, Any]) -> VaultSource | None:
    from harness.session.import_sources import VaultSource

    if said["vault_addr"] is None:
        return None
    certificate, key = said["vault_client_cert"], said["vault_client_key"]
    if (certificate is None) != (key is None):
        raise click.UsageError("--vault-client-cert and --vault-client-key belong together")
    for file in (said["vault_ca_file"], certificate, key):
        if file is not None and not file.is_file():
            raise click.UsageError(f"{file}: there is no such file")
    return VaultSource(
        address=said["vault_addr"],
        token=_token(said["vault_token_file"]),
        ca=said["vault_ca_file"],
        certificate=None if certificate is None else (certificate, key),
        namespace=said["vault_namespace"],
        seconds=said["timeout"],
    )


def _token(file: Path | None) -> Secret | None:
    from harness.secret import Secret

    if file is None:
        word = settings.environment().get("VAULT_TOKEN", "")
    else:
        try:
            word = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise click.UsageError(f"--vault-token-file: {file} cannot be read: {error}") from error
    return Secret(word) if word else None


def _told(said: dict[str, Any]) -> dict[str, Told]:
    from harness.importing.provenance import WAYS
    from harness.session.import_sources import Told

    found: dict[str, dict[str, Any]] = {}
    for mount, word in _pairs("--configured", said["configured"]):
        version, _, file = word.partition(":")
        if file not in ("", "token-file", "no-token-file"):
            raise click.UsageError(f"--configured: behind {version} stands token-file or no-token-file, not {file}")
        found.setdefault(mount, {})["configured_by"] = version
        found[mount]["with_token_file"] = {"token-file": True, "no-token-file": False}.get(file)
    for mount, word in _pairs("--reviewer", said["reviewers"]):
        kind, _, account = word.partition(":")
        if kind not in WAYS:
            raise click.UsageError(f"--reviewer: {kind} is none of {', '.join(WAYS)}")
        found.setdefault(mount, {}).update(reviewer=kind, reviewer_account=account or None)
    for mount, word in _pairs("--cluster-of", said["clusters_of"]):
        found.setdefault(mount, {})["cluster"] = word
    return {mount: Told(**fields) for mount, fields in found.items()}


def _pairs(option: str, given: Iterable[str]) -> Iterable[tuple[str, str]]:
    for one in given:
        # a context may have = in its name, and so may a mount
        left, equals, right = one.partition("=") if option == "--context" else one.rpartition("=")
        if not equals or not left.strip("/") or not right:
            raise click.UsageError(f"{option}: it is NAME=WORD, and not {one}")
        yield left.strip("/"), right
