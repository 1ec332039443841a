"""What a cluster is asked, by GET alone, and what its answers say; no Secret is read, only that there is one."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from harness.importing.asking import Answer, Answers, Asking, Question
from harness.importing.installation import ClusterPart, Gap, Installation, Seen, VaultPart, release_of
from harness.knowledge import kubernetes_auth

DELEGATOR: Final = "system:auth-delegator"
_ADMINISTRATOR: Final = "cluster-admin"
_ACCOUNT: Final = "system:serviceaccount:"
_ACCOUNTS: Final = "system:serviceaccounts"
_ANYBODY: Final = "*/*"

_VERSION: Final = Question("/version/")
_DISCOVERY: Final = Question("/.well-known/openid-configuration")
_KEYS: Final = Question("/openid/v1/jwks", accept="application/jwk-set+json")
_RBAC: Final = "/apis/rbac.authorization.k8s.io/v1"
_METADATA: Final = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
"""What makes an API server leave out all of an object but its name and what hangs on it."""

_PAGE: Final = 500
_OF_VAULT: Final = ({"labelSelector": "app.kubernetes.io/name=vault"}, {"fieldSelector": "metadata.name=vault-0"})
_TOKEN_FOLDER: Final = "/var/run/secrets/kubernetes.io/serviceaccount"

RIGHTS: Final = """\
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: rehearse-import}
rules:
  - {apiGroups: [rbac.authorization.k8s.io], resources: [clusterroles, clusterrolebindings], verbs: [list]}
  # of Secrets only names and annotations are asked for, which RBAC cannot tell from the whole
  - {apiGroups: [""], resources: [serviceaccounts, secrets, pods], verbs: [list]}
  - {nonResourceURLs: [/version/, /.well-known/openid-configuration, /openid/v1/jwks], verbs: [get]}
"""
"""The rights that an import needs in a cluster, as a ClusterRole."""

Listed = Generator[Sequence[Question], Answers, list[dict[str, Any]] | None]


def read(name: str, *, host: str, ca: str | None, verified: bool, holds_vault: bool | None) -> Asking:
    """Ask the cluster that the scenario calls *name*; *host* and *ca* are how it was reached.

    *holds_vault*: does Vault run in it? None: nobody said, and its Pod is looked for.
    """
    reading = _Reading(name)
    yield from reading.of_itself()
    if not reading.answered:
        return Seen(source=reading.source, gaps=tuple(reading.gaps), reached=False)
    part = ClusterPart(host=host, ca=ca, **reading.facts)
    reviewers = yield from reading.reviewers()
    accounts = yield from reading.accounts()
    secrets = yield from reading.secrets()
    vault = VaultPart()
    if holds_vault is not False:
        vault = yield from reading.vault()
    if not verified:
        reading.notes.append(f"the certificate of {name} was not verified: its kubeconfig says so")
    part = msgspec.structs.replace(part, reviewers=reviewers, accounts=accounts, secrets=secrets)
    said = Installation(clusters={name: part}, vault=vault)
    return Seen(source=reading.source, said=said, gaps=tuple(reading.gaps), notes=tuple(reading.notes))


class _Reading:
    """What was learned so far of one cluster."""

    def __init__(self, name: str) -> None:
        self.source, self._name = f"Kubernetes {name}", name
        self.gaps: list[Gap] = []
        self.notes: list[str] = []
        self.facts: dict[str, Any] = {}
        self.answered = True

    def of_itself(self) -> Generator[Sequence[Question], Answers, None]:
        """Ask for version, issuer and keys."""
        answers = yield [_VERSION, _DISCOVERY, _KEYS]
        if all(answer.status is None for answer in answers.values()):
            self.answered = False
            self.gaps.append(Gap(f"everything of {self.source}", answers[_VERSION].said))
            return
        self.facts["version"] = release_of(str(self._body(answers, _VERSION, "the version").get("gitVersion") or ""))
        if answers[_DISCOVERY].status == 404:
            # an API server publishes nothing of an issuer that is no URL
            self.facts["issuer"] = kubernetes_auth.DEFAULT_ISSUER
            said = f"{self._name} publishes no issuer: it is none that is a URL, and taken for"
            self.notes.append(f"{said} {kubernetes_auth.DEFAULT_ISSUER}")
            return
        self.facts["issuer"] = self._body(answers, _DISCOVERY, "the issuer").get("issuer")
        keys = self._body(answers, _KEYS, "the keys of service account tokens").get("keys")
        self.facts["keys"] = _pems(keys) if isinstance(keys, list) else None

    def reviewers(self) -> Generator[Sequence[Question], Answers, tuple[str, ...] | None]:
        """Ask who may create TokenReviews."""
        bindings = yield from self._list(f"{_RBAC}/clusterrolebindings", "who is bound to what")
        if bindings is None:
            return None
        roles = yield from self._list(f"{_RBAC}/clusterroles", "which roles may review tokens")
        may = {DELEGATOR, _ADMINISTRATOR} if roles is None else {_named(one) for one in roles if _reviews(one)}
        found: set[str] = set()
        for one in bindings:
            role = one.get("roleRef") or {}
            if role.get("kind") == "ClusterRole" and role.get("name") in may:
                found.update(filter(None, map(_who, one.get("subjects") or ())))
        return tuple(sorted(found))

    def accounts(self) -> Generator[Sequence[Question], Answers, tuple[str, ...] | None]:
        """Ask for every service account."""
        found = yield from self._list("/api/v1/serviceaccounts", "the service accounts", accept=_METADATA)
        return None if found is None else tuple(sorted(map(_spaced, found)))

    def secrets(self) -> Generator[Sequence[Question], Answers, tuple[str, ...] | None]:
        """Ask whose long-lived tokens there are: for the names of Secrets, not for what is in them."""
        chosen = {"fieldSelector": "type=kubernetes.io/service-account-token"}
        listed = yield from self._list("/api/v1/secrets", "which Secrets hold tokens", chosen, accept=_METADATA)
        if listed is None:
            return None
        found: set[str] = set()
        for one in listed:
            about = one.get("metadata") or {}
            account = (about.get("annotations") or {}).get("kubernetes.io/service-account.name")
            if "kubernetes.io/legacy-token-invalid-since" in (about.get("labels") or {}):
                self.notes.append(f"the token in Secret {_spaced(one)} of {self._name} is marked invalid")
            elif account:
                found.add(f"{about.get('namespace')}/{account}")
        return tuple(sorted(found))

    def vault(self) -> Generator[Sequence[Question], Answers, VaultPart]:
        """Look for Vault's Pod, and learn what it says of the server."""
        for chosen in _OF_VAULT:
            pods = yield from self._list("/api/v1/pods", "Vault's Pod", chosen)
            if pods is None:
                break
            servers = [one for one in pods if _is_server(one)]
            if servers:
                return self._of_pods(servers)
        return VaultPart()

    def _of_pods(self, pods: list[dict[str, Any]]) -> VaultPart:
        first = min(pods, key=_spaced)
        spaces = {(one.get("metadata") or {}).get("namespace") for one in pods}
        if len(spaces) > 1:
            self.notes.append(
                f"{self._name} has Vault Pods in {len(spaces)} namespaces; this is about {_spaced(first)}"
            )
        spec, about = first.get("spec") or {}, first.get("metadata") or {}
        container = _container(first)
        tag = str(container.get("image") or "").partition("@")[0].rpartition(":")[2]
        self.notes.append(f"Vault's Pod in {self._name}: {_spaced(first)}, image {container.get('image')}")
        return VaultPart(
            version=release_of(str((about.get("labels") or {}).get("vault-version") or tag)),
            cluster=self._name,
            service_account=f"{about.get('namespace')}/{spec.get('serviceAccountName') or 'default'}",
            token_file=_has_token(spec, container, running=(first.get("status") or {}).get("phase") == "Running"),
            nodes=len(pods) if len(spaces) == 1 and len(pods) > 1 else None,
        )

    def _list(
        self, path: str, what: str, chosen: Mapping[str, str] | None = None, *, accept: str = "application/json"
    ) -> Listed:
        """Return every object of a list, page by page; None, and a gap, where that was refused."""
        found: list[dict[str, Any]] = []
        further = ""
        while True:
            words = {**(chosen or {}), "limit": str(_PAGE)} | ({"continue": further} if further else {})
            question = Question(f"{path}?{urlencode(words)}", accept=accept)
            answers = yield [question]
            body = self._body(answers, question, what)
            if not body:
                return None
            items = body.get("items")
            found += [one for one in items if isinstance(one, dict)] if isinstance(items, list) else []
            further = str((body.get("metadata") or {}).get("continue") or "")
            if not further:
                return found

    def _body(self, answers: Answers, question: Question, what: str) -> Mapping[str, Any]:
        answer: Answer = answers[question]
        if answer.ok:
            return answer.body
        self.gaps.append(Gap(f"{what} of {self.source}", answer.said))
        return {}


def _named(one: Mapping[str, Any]) -> str:
    return str((one.get("metadata") or {}).get("name"))


def _spaced(one: Mapping[str, Any]) -> str:
    about = one.get("metadata") or {}
    return f"{about.get('namespace')}/{about.get('name')}"


def _reviews(role: Mapping[str, Any]) -> bool:
    """Does a ClusterRole let one create TokenReviews?"""
    wanted = (("apiGroups", "authentication.k8s.io"), ("resources", "tokenreviews"), ("verbs", "create"))
    return any(all({word, "*"} & set(rule.get(key) or ()) for key, word in wanted) for rule in role.get("rules") or ())


def _who(subject: Mapping[str, Any]) -> str:
    """Return the accounts that a subject of a binding stands for; nothing where it is no service account."""
    kind, name = subject.get("kind"), str(subject.get("name"))
    if kind == "ServiceAccount":
        return f"{subject.get('namespace')}/{name}"
    if kind == "User" and name.startswith(_ACCOUNT):
        return name.removeprefix(_ACCOUNT).replace(":", "/", 1)
    if kind == "Group" and name in (_ACCOUNTS, "system:authenticated"):
        return _ANYBODY
    return f"{name.removeprefix(_ACCOUNTS + ':')}/*" if kind == "Group" and name.startswith(f"{_ACCOUNTS}:") else ""


def _container(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    containers = (pod.get("spec") or {}).get("containers") or [{}]
    return next((one for one in containers if one.get("name") == "vault"), containers[0])


def _is_server(pod: Mapping[str, Any]) -> bool:
    """Is this the Pod of a Vault server, and not of an injector or an agent?"""
    labels = (pod.get("metadata") or {}).get("labels") or {}
    if labels.get("app.kubernetes.io/name") == "vault":
        return bool(labels.get("component", "server") == "server")
    return bool(re.fullmatch(r"vault-\d+", _named(pod)))


def _has_token(spec: Mapping[str, Any], container: Mapping[str, Any], *, running: bool) -> bool | None:
    """Has the Pod a token where Vault looks for one? None: its account decides, which says nothing here."""
    mounted = {one.get("name") for one in container.get("volumeMounts") or () if one.get("mountPath") == _TOKEN_FOLDER}
    if mounted:
        return True
    if spec.get("automountServiceAccountToken") is False:
        return False
    # what the API server has admitted it has also given a token, where it was to have one
    return False if running else None


def _pems(keys: Iterable[Any]) -> tuple[str, ...]:
    """Return the keys of a JWK set as PEM; what is no key is left out."""
    import jwt
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    found = []
    for one in keys:
        try:
            key = jwt.PyJWK(one).key
            found.append(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())
        except (jwt.PyJWTError, AttributeError, TypeError, ValueError):
            continue
    return tuple(found)
