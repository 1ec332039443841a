"""Causes that lie between Vault and the API server: no way there, or no trust on the way."""

from __future__ import annotations

from typing import Final

from harness.analysis.rules import remedies, rewrites
from harness.analysis.rules.rule import Case, Diagnosis, Remedy, Rule, diagnosed
from harness.knowledge import kubernetes_auth, no_answer, versions
from harness.knowledge.kubernetes_auth import copies_ca
from harness.knowledge.versions import at_least
from harness.record.observation import Observation
from harness.scenario import endpoints
from harness.scenario.course import Look, Reachable, Rewrite, RotateKeys, Serve, WriteConfig

NOT_TRUSTED: Final = ("x509:", "certificate signed by unknown authority", "tls: failed to verify")
"""How Vault says that it does not trust the API server's certificate."""

_REACH: Final = (
    *no_answer.NOT_REACHED, "server misbehaving", "context deadline exceeded", "network is unreachable",
    "connection timed out", "TLS handshake timeout",
)  # fmt: skip
_CUT: Final = (*no_answer.CUT, "server closed idle connection", "client connection lost")
"""How a connection to an API server ends. Each is told at once: Vault sends a TokenReview once, because it is a POST.
Source: Go net/http transport.go; x/net http2 transport.go.
"""

ANSWERED: Final = (kubernetes_auth.UNAUTHORIZED, kubernetes_auth.NO_JSON)
"""How Vault says that somebody answered its TokenReview, who may have been anybody: 401, or no JSON at all."""


def _untrusted(case: Case) -> Diagnosis | None:
    if case.kind == "improvement":
        return _trusted_again(case)
    said = case.quoted(*NOT_TRUSTED)
    if case.evidence.review is not None or not said:
        return None
    return diagnosed(
        f"Vault does not trust the certificate of the API server of {case.cluster}, so no TokenReview was sent and "
        f"every login at auth/{case.after.mount} answers {case.after.status}{_given(case)}{_late(case)}",
        "certain",
        [*said, *([case.facts.config_line(case.after)] if rotated_since(case, case.after) else ())],
        *_trusting(case),
    )


def _trusted_again(case: Case) -> Diagnosis | None:
    """Say why Vault trusts an API server whose certificate became another one, or whose CA it has at last."""
    before = case.before
    started = any(isinstance(step, Serve) for step in case.facts.steps_before(case.after.moment))
    if before is None or not started or case.evidence.review is None:
        return None
    if (held := case.facts.written_at(case.after)) is None or "kubernetes_ca_cert" in held[1].fields:
        return None
    rotated = rotated_since(case, before)
    if not rotated and not _comes_to_its_pods_ca(case, before):
        return None
    log = [line for line in case.facts.evidence_of(before).log if any(said in line.text for said in NOT_TRUSTED)]
    if not log:
        return None
    why = (
        "took that of its Pod as it is now when it started: the one before it still had the CA from before the "
        f"rotation in {case.cluster}"
        if rotated
        else f"goes by that of its own Pod, which is in {case.cluster}: {versions.called(before.version)}, like each "
        f"before {kubernetes_auth.READS_POD_TOKEN}, went by those of the system that it runs on, because the config "
        "was written with none"
    )
    return diagnosed(
        f"The config of auth/{case.after.mount} names no CA, and {versions.called(case.after.version)} {why}",
        "certain",
        [*log, case.facts.config_line(case.after)],
    )


def _comes_to_its_pods_ca(case: Case, before: Observation) -> bool:
    """Does Vault go by the CA of its Pod, which is in the mount's cluster, where *before* it knew only the system's?"""
    held, since = case.facts.written_at(case.after), kubernetes_auth.READS_POD_TOKEN
    if held is None or at_least(before.version, since) or not at_least(case.after.version, since):
        return False
    stored = copies_ca(held[1].version) and "pem_keys" not in held[1].fields
    home = case.facts.vault_at(case.after.mount, case.after.moment).cluster
    return not stored and home == case.cluster and not case.facts.local_disabled(case.after)


def rotated_since(case: Case, seen: Observation) -> bool:
    """Has the CA of the cluster become another one since Vault got the one that it had when *seen* was?"""
    found = False
    held = case.facts.written_at(seen)
    given = held is not None and ("kubernetes_ca_cert" in held[1].fields or copies_ca(held[1].version))
    for step in case.facts.steps:
        if isinstance(step, Look):
            if step.moment.label == seen.moment:
                return found
        elif isinstance(step, RotateKeys) and (step.of, step.cluster) == ("ca", case.cluster):
            found = True
        elif isinstance(step, WriteConfig | Rewrite) and step.mount == seen.mount:
            found = found and isinstance(step, Rewrite)
        elif isinstance(step, Serve) and not given:
            found = False
    return found


def _trusting(case: Case) -> tuple[Remedy, ...]:
    """Return how Vault comes to trust the API server."""
    if not rotated_since(case, case.after):
        return (remedies.trusted(case)[1],)
    written = remedies.trusted(case, late=True)[1]
    held = case.facts.written_at(case.after)
    if held is None or "kubernetes_ca_cert" in held[1].fields or copies_ca(held[1].version):
        return (written,)
    return (remedies.restarted(case, "Restart Vault: it looks at the CA of its Pod when it starts."), written)


def _given(case: Case) -> str:
    """Return which CA the config was given, where it is another one than that of the API server: a sentence."""
    given = rewrites.held_config(case.facts, case.after.mount, case.after.moment).fields.get("kubernetes_ca_cert")
    if rotated_since(case, case.after):
        return f". {_outdated(case, given=given is not None)}"
    if given is None:
        return _of_pod(case)
    if not isinstance(given, str) or given == "cluster":
        return ""
    if given in case.facts.topology.clusters:
        return f". The config has the CA of {given}"
    if "-----BEGIN" not in given:
        since = kubernetes_auth.CA_MUST_BE_PEM
        return (
            ". The config has a CA in base64 that nobody decoded: Vault takes that for a CA without any certificate in "
            f"it, and refuses it from {since} on when the config is written"
        )
    return ". The config has a CA that was given as text, and it is not that of this API server"


def _of_pod(case: Case) -> str:
    """Return whose CA Vault goes by where the config was written without one: a sentence."""
    held, home = case.facts.written_at(case.after), case.facts.vault_at(case.after.mount, case.after.moment).cluster
    if held is None or "kubernetes_ca_cert" in held[1].fields:
        return ""
    config, version = held[1], held[1].version
    if copies_ca(version) and "pem_keys" not in config.fields:
        return (
            f". The config was written without a CA, and {versions.called(version)} put that of its own Pod into it, "
            f"which is not that of {case.cluster}"
        )
    local = at_least(case.after.version, kubernetes_auth.READS_POD_TOKEN) and not case.facts.local_disabled(case.after)
    if not local or not home:
        return ". The config has no CA, so Vault goes by those of the system that it runs on"
    return f". The config names no CA, so Vault goes by that of its own Pod, in {home}"


def _outdated(case: Case, *, given: bool) -> str:
    """Return which CA Vault goes by that is not the API server's any more: a sentence without its end."""
    held, cluster = case.facts.written_at(case.after), case.cluster
    if given:
        return f"The config has the CA that {cluster} had before its rotation"
    if held is not None and copies_ca(held[1].version):
        return (
            f"{versions.called(held[1].version)} put the CA of its Pod into the config when that was written, and "
            f"{cluster} has another one since: no later version looks at the Pod's for this mount"
        )
    how = "for an hour" if not at_least(case.after.version, kubernetes_auth.READS_CA_AT_WRITE) else "until it starts"
    return (
        f"The config names no CA, and {versions.called(case.after.version)} keeps that of its Pod {how}: {cluster} has "
        f"another since. From {' and '.join(kubernetes_auth.REREADS_CA)} on it looks again within half a minute"
    )


def _another_answers(case: Case) -> Diagnosis | None:
    mount, host = case.after.mount, _host_of(case)
    # what does not speak TLS is answered in a word, and reset: which of them Vault reads is a matter of luck
    said = case.quoted(*ANSWERED, *(_CUT if host == endpoints.PLAIN else ()))
    if case.evidence.review is not None or not said or host not in endpoints.NO_ANSWER:
        return None
    words = (
        f"At kubernetes_host of auth/{mount} is not the API server of {case.cluster} as Vault wants to ask it, but "
        f"{endpoints.told(host)}: the TokenReview never came to the API server, whose audit log has none of this login"
    )
    if host == "proxy-401":
        words += ". It answers 401: this endpoint does not take such tokens, whoever reviews"
    between = Remedy(
        f"Let {endpoints.told(host)} hand on what comes for /apis/authentication.k8s.io with its Authorization header.",
        unproven="how a proxy is set up is its own, and kubernetes_host: proxy rehearses one that hands on everything",
    )
    return diagnosed(
        f"{words}. So every login answers {case.after.status}",
        "certain",
        [*said, case.facts.config_line(case.after)],
        remedies.found_again(case)[1],
        *([] if host == endpoints.PLAIN else [between]),
    )


def _host_of(case: Case) -> str:
    """Return what the scenario says that the config had for the API server: a word, or an address."""
    held = rewrites.held_config(case.facts, case.after.mount, case.after.moment)
    return str(held.fields.get("kubernetes_host", endpoints.CLUSTER))


def _home(case: Case) -> str:
    """Return the cluster that Vault is in, empty where it is in none."""
    return case.facts.vault_at(case.after.mount, case.after.moment).cluster


def _late(case: Case) -> str:
    """Return why the same config let somebody in until now, where it did: a sentence."""
    before, since = case.before, kubernetes_auth.KEEPS_CONNECTIONS
    if before is None or before.answer != "granted" or not at_least(before.version, since):
        return ""
    if case.facts.written_at(before) != case.facts.written_at(case.after) or rotated_since(case, case.after):
        return ""
    if case.facts.moved(case.after) is not None:
        return ""  # and then the CA of its Pod is another one as well
    return (
        f". It was so before, and nobody saw it: from {since} on Vault keeps its connection to the API server, and "
        "looks at the CA when it makes the next one, after a restart or some time without a login"
    )


def _unreachable(case: Case) -> Diagnosis | None:
    behind = (kubernetes_auth.PASSED_ON,) if _host_of(case) == "proxy" else ()
    said = case.quoted(*_REACH, *_CUT, *behind)
    if case.evidence.review is not None or not said:
        return None
    found = case.facts.written_at(case.after)
    host = f", which its config calls {found[1].fields.get('kubernetes_host')}" if found is not None else ""
    if endpoints.inside(_host_of(case)) and not _home(case):
        host = (
            f", which its config calls {_host_of(case)}: a name that only the Pods of a cluster know, and Vault runs "
            "outside of any"
        )
    if endpoints.proxy(_host_of(case)) is not None:
        host += f": {endpoints.told(_host_of(case))}"
    if behind and case.quoted(*behind):
        host += ", and does not get to it itself"
    if hidden(case, case.cluster):
        host += "; the course has taken it away"
    return diagnosed(
        f"Vault does not reach the API server of {case.cluster}{host}, so no TokenReview was answered and every login "
        f"at auth/{case.after.mount} answers {case.after.status}",
        "certain",
        [*said, case.facts.config_line(case.after)],
        *_reached(case),
    )


def hidden(case: Case, cluster: str) -> bool:
    """Has the course taken away the API server of a cluster before the answer that is to be explained?"""
    found = False
    for step in case.facts.steps:
        if isinstance(step, Look) and step.moment.label == case.after.moment:
            break
        if isinstance(step, Reachable) and step.cluster == cluster:
            found = not step.is_so
    return found


def back_again(case: Case, cluster: str) -> Remedy:
    """Return that the API server of a cluster is there again."""
    words = (
        f"Have the API server of {cluster} answer again at the address that the config of auth/{case.after.mount} has."
    )
    step = Reachable(cluster=cluster, is_so=True)
    now = any(isinstance(one, Reachable) for one in case.facts.steps_before(case.after.moment))
    return remedies.way(case, words, (), lambda _label: (step,), late=now)[1]


def _reached(case: Case) -> tuple[Remedy, ...]:
    """Return how Vault comes to reach the API server: at its own address, or by what lies in between."""
    if endpoints.reaches(_host_of(case), _home(case)) and hidden(case, case.cluster):
        return (back_again(case, case.cluster),)
    between = Remedy(
        f"Make kubernetes_host of auth/{case.after.mount} reachable from where Vault runs.",
        unproven="what lies between Vault and the API server is no part of what a rehearsal builds",
    )
    if _host_of(case) == endpoints.CLUSTER:
        return (between,)
    return (remedies.found_again(case)[1], between)


UNTRUSTED: Final = Rule(
    name="api-server-untrusted",
    versions="every version",
    precondition="no TokenReview arrived",
    demands="Vault's log line about the certificate",
    explanation="the stored or mounted CA is not the one that vouches for the API server",
    source="vault-plugin-auth-kubernetes token_review.go; hashicorp/vault issue 31139",
    examine=_untrusted,
    grants=True,
)
ANOTHER_ANSWERS: Final = Rule(
    name="api-server-not-at-host",
    versions="every version",
    precondition="no TokenReview arrived, and kubernetes_host is not the API server's own address",
    demands="Vault's log line about the answer",
    explanation="what answers at kubernetes_host is no API server: a proxy with accounts of its own, or plain http",
    source="vault-plugin-auth-kubernetes token_review.go parseResponse; rancher issue 17447; run: 1.9.2, 1.11.0",
    examine=_another_answers,
)
UNREACHABLE: Final = Rule(
    name="api-server-unreachable",
    versions="every version",
    precondition="no TokenReview arrived",
    demands="Vault's log line about the connection",
    explanation="the API server cannot be reached from Vault",
    source="vault-plugin-auth-kubernetes token_review.go",
    examine=_unreachable,
)
