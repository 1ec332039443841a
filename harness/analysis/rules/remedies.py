"""What mends it, at which moment of this very upgrade, and with which commands.

A command stands whole on one line and can be pasted as it is. A write of an auth config replaces every field of it, so
these commands write back what a read shows with one field changed; a stored reviewer token is never shown, and goes.
"""

from __future__ import annotations

import json
from typing import Final

import msgspec

from harness.analysis.rules.rule import Case, Remedy
from harness.knowledge import kubernetes_auth
from harness.knowledge.versions import at_least
from harness.scenario import topology
from harness.scenario.course import AnyStep, Look, RollBack, Serve, Upgrade

_KEPT: Final = "The command keeps every field of the config that a read shows"
_EVERY_APP: Final = (
    "Every app's service account then needs system:auth-delegator, which lets it review any token of its cluster."
)


class Moment(msgspec.Struct, frozen=True):
    """When something can be done on the path of this upgrade."""

    when: str
    """as words that could begin a sentence"""
    stop: str
    """the version that runs then; empty where the path has none"""
    in_time: bool
    """is it before the hop that breaks, so that nobody is refused?"""


def moment(case: Case, since: str = "0.0.0") -> Moment:
    """Return the moment for something that every Vault from *since* on understands.

    That is the last stop before the hop that breaks, if it understands; else the first stop after it that does.
    """
    moments = list(case.facts.moments.values())
    broken = next((n for n, one in enumerate(moments) if one.label == case.after.moment), 0)
    stops = [one.version for one in moments]
    known = [version for version in stops[:broken] if at_least(version, since)]
    if known and case.kind != "pre-existing":
        return Moment(_before(case, known, stops[:broken]), known[-1], in_time=True)
    later = next((version for version in stops[broken:] if at_least(version, since)), "")
    if case.kind == "pre-existing" and later == stops[0]:
        return Moment(f"now, on Vault {later}", later, in_time=True)
    if not later:
        return Moment(f"on Vault {since} or newer, to which this path does not lead", "", in_time=False)
    if case.kind == "pre-existing":
        return Moment(f"once Vault is {later}, the first on this path that knows it", later, in_time=False)
    loss = " (until then every login is refused)" if case.effect == "login refused" else ""
    step = _breaking(case)
    hop = f"the hop to Vault {later}" if isinstance(step, Upgrade) else f"{_called(case)}, on Vault {later}"
    return Moment(f"right after {hop}{loss}", later, in_time=False)


def _breaking(case: Case) -> AnyStep | None:
    """Return the step after which the answer was another one: the last before the look at that moment."""
    found: AnyStep | None = None
    for step in case.facts.steps:
        if isinstance(step, Look):
            if step.moment.label == case.after.moment:
                return found
        else:
            found = step
    return None


def is_upgrade(case: Case) -> bool:
    """Did the answer change because another version serves?"""
    step, before = _breaking(case), case.before
    return isinstance(step, Serve) and (before is None or before.version != case.after.version)


def _called(case: Case) -> str:
    """Return that step as words: after restart -> the restart."""
    return f"the {case.after.moment.removeprefix('after ')}"


def _before(case: Case, known: list[str], stops: list[str]) -> str:
    """Return in words when to do what the last of *stops*, which serve before the break, is the last to do in time."""
    step, last, broken = _breaking(case), stops[-1], case.after.version
    if isinstance(step, Serve) and not isinstance(step, RollBack) and last == broken:
        return "before Vault is restarted"
    if not isinstance(step, Upgrade) or known[-1] != last:
        return f"before {_called(case)}, on Vault {known[-1]}"
    if len(stops) == 1:
        return f"before the upgrade, on Vault {last}"
    if len(known) == len(stops):
        return f"before the upgrade, or at the latest at the stop at Vault {last}, before the hop to {broken}"
    return f"at the stop at Vault {last}, before the hop to {broken}"


def early_first(*ways: tuple[Moment, Remedy]) -> tuple[Remedy, ...]:
    """Return remedies with those in front that come before anybody is refused, and else in the order given."""
    return tuple(remedy for _, remedy in sorted(ways, key=lambda way: not way[0].in_time))


def client_reviews(case: Case) -> tuple[Moment, Remedy]:
    """Have the token that logs in review itself, whatever Vault's pod has: disable_local_ca_jwt."""
    at = moment(case, kubernetes_auth.KNOWS_DISABLE_LOCAL)
    still = "; until the hop nothing changes by it" if at.in_time and case.kind != "pre-existing" else ""
    words = f"Write the whole config again with disable_local_ca_jwt=true{still}. {_KEPT}. {_EVERY_APP}"
    return at, Remedy(words, at.when, at.stop, (rewrite(case, disable_local_ca_jwt=True),))


def long_lived(case: Case) -> tuple[Moment, Remedy]:
    """Give the mount a reviewer of its own: a token out of a Secret, of an account that may review and nothing else."""
    at = moment(case)
    mount = case.facts.mount(case.after.mount)
    account = mount.reviewer_account or topology.DEFAULT_REVIEWER_ACCOUNT
    space, name = account.split("/")
    words = (
        f"Store a long-lived token_reviewer_jwt of one account of {case.cluster} ({account} here), which every version "
        f"of Vault uses and no Pod's end takes away. The first four commands are for cluster {case.cluster}. {_KEPT}"
    )
    commands = (
        f"kubectl create namespace {space}",
        f"kubectl --namespace {space} create serviceaccount {name}",
        binding(space, name),
        token_secret(space, name),
        rewrite_with_token(case, space, name),
    )
    return at, Remedy(words + ".", at.when, at.stop, commands)


def may_review(case: Case, user: str) -> tuple[Moment, Remedy]:
    """Let the account that reviews do so, by the standard binding."""
    at = moment(case)
    _, _, space, name = user.split(":") if user.count(":") == 3 else ("", "", "", "")
    words = f"Bind {user} to system:auth-delegator in cluster {case.cluster}"
    if user == case.facts.vault_subject:
        words += ": that is the standard binding of Vault's own account"
    if not name:
        command = f"kubectl create clusterrolebinding reviews-tokens --clusterrole=system:auth-delegator --user={user}"
        return at, Remedy(words + ".", at.when, at.stop, (command,))
    return at, Remedy(words + ".", at.when, at.stop, (binding(space, name),))


def local_again(case: Case) -> tuple[Moment, Remedy]:
    """Have Vault read its own pod's present token at each login: a config without a stored reviewer, from 1.9.3 on."""
    at = moment(case, kubernetes_auth.READS_POD_TOKEN)
    words = (
        f"On Vault {kubernetes_auth.READS_POD_TOKEN} or newer write the whole config again without token_reviewer_jwt: "
        "nothing is copied any more, and the pod's present token is read at login. On an older version every new Pod "
        "needs a new write."
    )
    commands: tuple[str, ...] = (rewrite(case),)
    if case.facts.vault_subject and not case.facts.topology.vault.may_review_tokens:
        _, _, space, name = case.facts.vault_subject.split(":")
        words += f" Vault's own account has to be bound to system:auth-delegator in {case.cluster} for that."
        commands = (binding(space, name), *commands)
    return at, Remedy(words, at.when, at.stop, commands)


def binding(space: str, name: str) -> str:
    """Return the command that lets an account review tokens. Its name has the namespace: accounts' names recur."""
    return (
        f"kubectl create clusterrolebinding {space}-{name}-reviews-tokens --clusterrole=system:auth-delegator "
        f"--serviceaccount={space}:{name}"
    )


def token_secret(space: str, name: str) -> str:
    """Return the command that makes a Secret which Kubernetes fills with a token that never ends."""
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/service-account-token",
        "metadata": {
            "name": f"{name}-token",
            "namespace": space,
            "annotations": {"kubernetes.io/service-account.name": name},
        },
    }
    return f"echo '{json.dumps(secret)}' | kubectl apply -f -"


def rewrite_with_token(case: Case, space: str, name: str) -> str:
    """Return the command that stores the token of such a Secret as the reviewer. No command line ever shows it."""
    token = f"kubectl --namespace {space} get secret {name}-token -o jsonpath='{{.data.token}}' | base64 -d"
    return _written(case, f"--rawfile token <({token})", "token_reviewer_jwt: $token")


def rewrite(case: Case, **fields: str | bool) -> str:
    """Return the command that writes the mount's config again with *fields*, and with all that it has."""
    said = [f"{name}: {json.dumps(value)}" for name, value in fields.items()]
    return _written(case, "", *said)


def rewrite_with_ca(case: Case) -> str:
    """Return the command that writes the mount's config again with a CA out of a file."""
    return _written(case, "--rawfile ca ca.crt", "kubernetes_ca_cert: $ca")


def _written(case: Case, options: str, *fields: str) -> str:
    path = f"auth/{case.after.mount}/config"
    changed = ".data + {" + ", ".join(fields) + "}" if fields else ".data"
    filtered = " ".join(part for part in ("jq", options, f"'{changed}'") if part)
    return f"vault read -format=json {path} | {filtered} | vault write {path} -"
