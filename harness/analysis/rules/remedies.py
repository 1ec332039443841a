"""What mends it, at which moment of this very upgrade: as steps that can be rehearsed, and as what to paste.

A command stands whole on one line and can be pasted as it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from msgspec.structs import replace

from harness.analysis.rules import as_code
from harness.analysis.rules.occasions import Moment, Steps, moment, occasions
from harness.analysis.rules.rewrites import DROP, Rewrite, held_config, held_role, serving
from harness.analysis.rules.rule import Case, Remedy
from harness.knowledge import kubernetes_auth
from harness.scenario import auth_config, endpoints, role_spec, topology
from harness.scenario.course import (
    AnyStep,
    Grant,
    MakeReviewer,
    ProjectToken,
    Restart,
    Revoke,
    RotateKeys,
    SetIssuers,
    WriteRole,
)

_KEPT: Final = "The command keeps every field of the config that a read shows"
_EVERY_APP: Final = (
    "Every app's service account then needs system:auth-delegator, which lets it review any token of its cluster."
)

Way = tuple[Moment, Remedy]


def way(
    case: Case, words: str, commands: Sequence[str], steps: Steps, since: str = "0.0.0", *, late: bool = False
) -> Way:
    """Return a remedy that is done by *steps*, by a Vault from *since* on, with its moment.

    *late*: it mends nothing before that is there which it mends.
    """
    at, found = moment(case, since, late=late), occasions(case, steps, since, late=late)
    done, wanted = found[0].steps if found else (), case.facts.topology
    why = "" if found else f"this path has no stop at Vault {since} or newer, so there is nothing to try it on"
    return at, Remedy(
        words,
        at.when,
        at.stop,
        tuple(commands),
        occasions=found,
        writes=tuple(as_code.lines(done, wanted)),
        terraform=as_code.terraform(done, wanted),
        unproven=why,
    )


def rewriting(case: Case, words: str, rewrite: Rewrite, since: str = "0.0.0", *, late: bool = False) -> Way:
    """Return the remedy that is a write of the mount's config and nothing else; *late* as `way` has it."""
    label = first_label(case, since, late=late)
    return way(
        case,
        words + rewrite.notes(label),
        (rewrite.command(label),),
        lambda label: (rewrite.step(label),),
        since,
        late=late,
    )


def first_label(case: Case, since: str = "0.0.0", *, late: bool = False) -> str:
    """Return the label of the look after which a remedy is to be done first."""
    found = occasions(case, lambda _label: (), since, late=late)
    return found[0].moment if found else case.after.moment


def early_first(*ways: Way) -> tuple[Remedy, ...]:
    """Return remedies with those in front that come before anybody is refused, and else in the order given."""
    return tuple(remedy for _, remedy in sorted(ways, key=lambda way: not way[0].in_time))


def client_reviews(case: Case) -> Way:
    """Have the token that logs in review itself, whatever Vault's pod has: disable_local_ca_jwt."""
    since = kubernetes_auth.KNOWS_DISABLE_LOCAL
    at, label = moment(case, since), first_label(case, since)
    rewrite = Rewrite(case, {"disable_local_ca_jwt": True}, DROP)
    then = "the move" if case.facts.moved(case.after) is not None else "the hop"
    still = f"; until {then} nothing changes by it" if at.in_time and case.kind != "pre-existing" else ""
    words = f"Write the whole config again with disable_local_ca_jwt=true{still}. {_KEPT}. {_EVERY_APP}"
    lacking = tuple(_apps_without_right(case))
    commands = [*(as_code.binding(*account.split("/")) for account in lacking), rewrite.command(label)]
    if lacking:
        words += f" The first {_counted(len(lacking), 'command')} for cluster {case.cluster}."

    def steps(label: str) -> Iterator[AnyStep]:
        yield from (Grant(cluster=case.cluster, service_account=account) for account in lacking)
        yield rewrite.step(label)

    return way(case, words + rewrite.notes(label), commands, lambda label: tuple(steps(label)), since)


def _counted(number: int, what: str) -> str:
    return f"{what} is" if number == 1 else f"{number} {what}s are"


def _apps_without_right(case: Case) -> Iterable[str]:
    """Return the accounts of the mount's apps that may not review tokens, each once."""
    return case.facts.without_right.get(case.after.mount, ())


def long_lived(case: Case) -> Way:
    """Give the mount a reviewer of its own: a token out of a Secret, of an account that may review and nothing else."""
    words, commands = _reviewer_words(case), reviewer_commands(case)
    rewrite = Rewrite(case, reviewer=reviewer_account(case))
    label = first_label(case)
    return way(
        case,
        f"{words} The first {len(commands)} commands are for cluster {case.cluster}. {_KEPT}." + rewrite.notes(label),
        (*commands, rewrite.command(label)),
        lambda label: (*reviewer_steps(case), rewrite.step(label)),
    )


def _reviewer_words(case: Case) -> str:
    return (
        f"Store a long-lived token_reviewer_jwt of one account of {case.cluster} ({reviewer_account(case)} here), "
        "which every version of Vault uses and no Pod's end takes away."
    )


def reviewer_account(case: Case) -> str:
    """Return namespace/name of the account that is to review at the mount: the scenario's own, or the usual one."""
    return case.facts.mount(case.after.mount).reviewer_account or topology.DEFAULT_REVIEWER_ACCOUNT


def reviewer_commands(case: Case) -> tuple[str, ...]:
    """Return the commands that make a reviewer: namespace, account, right and Secret."""
    space, name = reviewer_account(case).split("/")
    return (
        f"kubectl create namespace {space}",
        f"kubectl --namespace {space} create serviceaccount {name}",
        as_code.binding(space, name),
        as_code.token_secret(space, name),
    )


def reviewer_steps(case: Case) -> tuple[AnyStep, ...]:
    """Return the steps that make a reviewer which may review."""
    account = reviewer_account(case)
    return (
        MakeReviewer(cluster=case.cluster, service_account=account, mount=case.after.mount),
        Grant(cluster=case.cluster, service_account=account),
    )


def may_review(case: Case, user: str) -> Way:
    """Let the account that reviews do so, by the standard binding."""
    _, _, space, name = user.split(":") if user.count(":") == 3 else ("", "", "", "")
    words = f"Bind {user} to system:auth-delegator in cluster {case.cluster}"
    if user == case.facts.vault_subject(case.after.mount, case.after.moment):
        words += ": that is the standard binding of Vault's own account"
    if not name:
        command = f"kubectl create clusterrolebinding reviews-tokens --clusterrole=system:auth-delegator --user={user}"
        at = moment(case)
        why = "the account is none of Kubernetes' service accounts, and a rehearsal has no other ones"
        return at, Remedy(f"{words}.", at.when, at.stop, (command,), unproven=why)
    grant = Grant(cluster=case.cluster, service_account=f"{space}/{name}")
    lost = any(  # until then it had the right, and there was nothing to bind
        isinstance(step, Revoke) and (step.cluster, step.service_account) == (grant.cluster, grant.service_account)
        for step in case.facts.steps_before(case.after.moment)
    )
    return way(case, f"{words}.", (as_code.binding(space, name),), lambda _label: (grant,), late=lost)


def local_again(case: Case) -> Way:
    """Have Vault read its own pod's present token at each login: a config without a stored reviewer, from 1.9.3 on."""
    since = kubernetes_auth.READS_POD_TOKEN
    label, vault = first_label(case, since), case.facts.vault_at(case.after.mount, case.after.moment)
    opted_out = held_config(case.facts, case.after.mount, label).fields.get("disable_local_ca_jwt") is True
    rewrite = Rewrite(case, {"disable_local_ca_jwt": False} if opted_out else {}, DROP)
    words = (
        f"On Vault {since} or newer write the whole config again without token_reviewer_jwt: "
        "nothing is copied any more, and the pod's present token is read at login. On an older version every new Pod "
        "needs a new write."
    )
    commands: tuple[str, ...] = (rewrite.command(label),)
    grants: tuple[AnyStep, ...] = ()
    if vault.service_account and not vault.may_review_tokens:
        words += f" Vault's own account has to be bound to system:auth-delegator in {case.cluster} for that."
        commands = (as_code.binding(*vault.service_account.split("/")), *commands)
        grants = (Grant(cluster=case.cluster, service_account=vault.service_account),)
    return way(case, words, commands, lambda label: (*grants, rewrite.step(label)), since)


def rotated_just_now(case: Case) -> bool:
    """Did keys or a CA rotate right before the answer that is to be explained? Nobody has the new ones before."""
    return any(isinstance(step, RotateKeys) for step in case.facts.steps_before(case.after.moment))


def restarted(case: Case, words: str) -> Remedy:
    """Have Vault start anew, once it is refused."""
    mount = case.after.mount

    def restart(label: str) -> tuple[Restart, ...]:
        served = serving(case.facts, label, mount)
        if served is None:
            return ()
        return (Restart(version=served.version, token_file=served.token_file, vault=served.vault),)

    return way(case, words, (), restart, late=True)[1]


def trusted(case: Case, *, late: bool = False) -> Way:
    """Give the config the CA of the API server; and a reviewer, where the one that would be next is refused there.

    *late* as `way` has it.
    """
    rewrite, path = Rewrite(case, {"kubernetes_ca_cert": "cluster"}), f"auth/{case.after.mount}"
    words = f"Write the whole config of {path} again with the CA of the API server of {case.cluster}, from the file "
    refused = _would_be_refused(case)
    if not refused:
        return rewriting(case, f"{words}ca.crt.", rewrite, late=late)
    label, rewrite = first_label(case, late=late), replace(rewrite, reviewer=reviewer_account(case))
    words += (
        f"ca.crt, and with a reviewer of its own. The CA alone would not do: {refused}. {_reviewer_words(case)} The "
        f"first {len(reviewer_commands(case))} commands are for cluster {case.cluster}."
    )
    return way(
        case,
        words,
        (*reviewer_commands(case), rewrite.command(label)),
        lambda label: (*reviewer_steps(case), rewrite.step(label)),
        late=late,
    )


def found_again(case: Case) -> Way:
    """Give the config the address of the API server."""
    mount, held = case.after.mount, held_config(case.facts, case.after.mount, case.after.moment).fields
    words = f"Write the whole config of auth/{mount} again with the address of the API server of {case.cluster}"
    changes: dict[str, auth_config.ConfigField] = {"kubernetes_host": "cluster"}
    if endpoints.proxy(str(held.get("kubernetes_host"))) is not None:
        words += ", and with its CA from the file ca.crt: the one that stands there is that of the proxy"
        changes["kubernetes_ca_cert"] = "cluster"
    return rewriting(case, f"{words}.", Rewrite(case, changes))


def _would_be_refused(case: Case) -> str:
    """Return why the API server would refuse the reviewer that is presented once Vault reaches it; "" where it is not
    known to.
    """
    facts, mount = case.facts, case.after.mount
    bearer, moment = facts.bearer(case.after), case.after.moment
    same, vault = facts.same_cluster(mount, moment), facts.vault_at(mount, moment)
    lacking = tuple(_apps_without_right(case))
    if bearer in ("local", "frozen") and not same:
        return (
            "the config names no reviewer, so Vault would present its own pod's token next, which "
            f"{case.cluster} does not know"
        )
    if bearer == "local" and not vault.may_review_tokens:
        return f"Vault would present its own pod's token next, and {vault.service_account} may not review tokens"
    if bearer == "client" and lacking:
        return f"Vault would present the app's own token next, and {lacking[0]} may not review tokens"
    return ""


def with_reviewer(case: Case, words: str, commands: Sequence[str], before: Sequence[AnyStep]) -> Remedy:
    """Return a remedy of *words*, *commands* and the steps *before*, and a reviewer of the mount's own beside it."""
    rewrite, label, made = Rewrite(case, reviewer=reviewer_account(case)), first_label(case), reviewer_commands(case)
    words = f"{words} {_reviewer_words(case)} The first {len(made)} commands are for cluster {case.cluster}."
    return way(
        case,
        words + rewrite.notes(label),
        (*made, rewrite.command(label), *commands),
        lambda label: (*before, *reviewer_steps(case), rewrite.step(label)),
    )[1]


def without_audience(case: Case) -> Remedy:
    """Have the role demand no audience."""
    app, mount = case.facts.app(case.after.app), case.after.mount
    words = f"Take the audience out of role {app.role}; tokens that are made out for somebody else then log in as well."

    def step(label: str) -> AnyStep:
        return WriteRole(mount=mount, role=app.role, spec=replace(role_of(case, label), audience=""))

    return way(case, words, (role_command(case, "audience=''"),), lambda label: (step(label),))[1]


def both_audiences(case: Case) -> Remedy:
    """Have the app ask for a token that is made out for the API server as well as for whom it is made out now."""
    app = case.facts.app(case.after.app)
    wanted = (*app.audiences, "cluster")
    words = (
        f"Let {case.after.app} request a token for the API server's audience beside its own (TokenRequest, with both "
        "in spec.audiences): a kubelet projects one for a single audience only."
    )
    project = ProjectToken(app=case.after.app, audience=wanted)
    space, name = app.service_account.split("/")
    return way(case, words, (as_code.requested_token(space, name, wanted),), lambda _label: (project,))[1]


def issuer_beside(case: Case, old: str, now: Sequence[str]) -> Remedy:
    """Have the API server that has the issuers *now* accept the *old* one beside them."""
    issuers = (now[0], old, *now[1:])
    flags = " ".join(f"--service-account-issuer={issuer}" for issuer in issuers)
    words = (
        f"Have the API server of {case.cluster} accept the old issuer beside the new one for as long as tokens of it "
        f"are about: it takes the flag several times, and the first one signs ({flags}). Best in the change itself."
    )
    step = SetIssuers(cluster=case.cluster, issuers=issuers)
    return way(case, words, (), lambda _label: (step,), late=True)[1]


def projected(audience: str | None) -> str:
    """Return what a Pod's manifest has in its projected volume for a token with an *audience*."""
    source = {"path": "token", "expirationSeconds": 3600} | ({"audience": audience} if audience else {})
    return f"# in the Pod, volumes: projected: sources: [{{serviceAccountToken: {json.dumps(source)}}}]"


def role_of(case: Case, label: str) -> role_spec.RoleSpec:
    """Return the role with which the app logs in, as it is at the look of a *label*."""
    return held_role(case.facts, case.after.mount, case.facts.app(case.after.app).role, label)


def role_command(case: Case, fields: str) -> str:
    """Return the command that gives the app's role these *fields*, as words of `vault write`, and leaves it the others.

    A write keeps what it leaves out, but for a namespace selector, which goes.
    """
    role = role_of(case, first_label(case))
    place = case.facts.mount(case.after.mount).of_kind.place_of(case.after.mount, case.facts.app(case.after.app).role)
    selector = role.fields.get("bound_service_account_namespace_selector")
    kept = f" bound_service_account_namespace_selector='{selector}'" if selector else ""
    return f"vault write {place} {fields}{kept}"
