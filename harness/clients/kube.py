"""Everything we say to a Kubernetes API server, in our words: the only module that knows the kubernetes client."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from harness.clients import kube_states
from harness.clients.kube_emptying import BINDING, BINDINGS, DEFAULT, Empties
from harness.clients.kube_errors import raise_unless_done, translated
from harness.clients.kube_states import NodeState, OwnPod, PodState
from harness.secret import Secret

_TIMEOUT_SECONDS: Final = 30
_KEYS: Final = "application/jwk-set+json"  # the only form in which an API server gives its keys: for JSON it has 406
_CONFLICT: Final = 409
_NOT_FOUND: Final = 404
_ROLES: Final = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
_SYSTEM: Final = ("kube-system", "kube-public", "kube-node-lease", "local-path-storage")
_DISCOVERY: Final = "system:service-account-issuer-discovery"
_OF_REHEARSALS: Final = ("namespaces", "serviceaccounts", "secrets", "pods", "configmaps")
_DELEGATOR: Final = "system:auth-delegator"
_LATE_HOOKS: Final = urlencode(
    {"exclude": ["poststarthook/rbac/bootstrap-roles", "poststarthook/scheduling/bootstrap-system-priority-classes"]},
    doseq=True,
)


class Kube(Empties):
    """An API server at *host*, asked as an administrator with *token*; *ca* is the file that vouches for it.

    The user's kubeconfig, contexts and proxies play no part: everything comes from the arguments.
    """

    def __init__(self, host: str, ca: Path, token: Secret) -> None:
        self.host, self.ca, self.administrator_token = host, ca, token
        self._client: Any = None

    def ask_at(self, host: str, ca: Path) -> None:
        """Ask the API server at another address from now on, or by another CA."""
        self.host, self.ca, self._client = host, ca, None

    def serves(self) -> bool:
        """Is the API server ready? Any answer but 200 is a no. Raises Unreachable while it does not listen."""
        with translated(f"{self.host}/readyz"):
            return bool(self._ask("GET", "/readyz").status == 200)

    def takes_objects(self) -> bool:
        """Can objects be made already? Everything is ready then but the API server's own roles and priority classes.

        Those it makes a second after it began to listen. An administrator needs neither; whoever is to be judged by
        them waits for `serves`. Raises Unreachable while it does not listen.
        """
        with translated(f"{self.host}/readyz"):
            return bool(self._ask("GET", f"/readyz?{_LATE_HOOKS}").status == 200)

    def version(self) -> str:
        """Return the version the API server gives itself, without its v."""
        with translated("the version"):
            return str(self._done("GET", "/version/")["gitVersion"]).removeprefix("v")

    def signing_keys(self) -> list[dict[str, str]]:
        """Return the public keys with which the API server checks service account tokens, as a JWK each."""
        with translated("the keys of service account tokens"):
            answer = self._ask("GET", "/openid/v1/jwks", accept=_KEYS)
            raise_unless_done(answer)
            return list(json.loads(answer.data)["keys"])

    def create_namespace(self, name: str) -> None:
        """Create a namespace, or take the one that every cluster has."""
        with translated(f"namespace {name}"):
            answer = self._ask("POST", "/api/v1/namespaces", body={"metadata": {"name": name}})
            if answer.status != _CONFLICT or name not in (*_SYSTEM, DEFAULT):
                raise_unless_done(answer)

    def label_namespace(self, name: str, labels: Mapping[str, str]) -> None:
        """Give a namespace that is there these labels as well."""
        with translated(f"the labels of namespace {name}"):
            self._done("PATCH", f"/api/v1/namespaces/{name}", {"metadata": {"labels": dict(labels)}})

    def annotate_service_account(self, namespace: str, name: str, annotations: Mapping[str, str]) -> None:
        """Give a service account that is there these annotations as well."""
        with translated(f"the annotations of service account {namespace}/{name}"):
            self._done("PATCH", f"{self._accounts(namespace)}/{name}", {"metadata": {"annotations": dict(annotations)}})

    def allow_reading(self, namespace: str, name: str, kinds: Sequence[str]) -> None:
        """Let a service account get every object of these *kinds*: namespaces, serviceaccounts."""
        role = f"{BINDING}reads-{'-'.join(kinds)}"
        rules = [{"apiGroups": [""], "resources": list(kinds), "verbs": ["get"]}]
        binding = {
            "metadata": {"name": f"{BINDING}{namespace}:{name}:reads"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
        }
        with translated(f"the right of {namespace}/{name} to read {', '.join(kinds)}"):
            for path, body in ((_ROLES, {"metadata": {"name": role}, "rules": rules}), (BINDINGS, binding)):
                answer = self._ask("POST", path, body=body)
                if answer.status != _CONFLICT:
                    raise_unless_done(answer)

    def create_service_account(self, namespace: str, name: str) -> str:
        """Create a service account, or take the default one that a controller has made already, and return its UID."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        with translated(f"service account {namespace}/{name}"):
            answer = self._ask("POST", path, body={"metadata": {"name": name}})
            if answer.status == _CONFLICT and name == DEFAULT:
                answer = self._ask("GET", f"{path}/{name}")
            raise_unless_done(answer)
            return str(json.loads(answer.data)["metadata"]["uid"])

    def insist_on_account(self, namespace: str, name: str) -> str:
        """Create a service account and its namespace where they are not there, and return its UID."""
        with translated(f"service account {namespace}/{name}"):
            for path, wanted in (("/api/v1/namespaces", namespace), (self._accounts(namespace), name)):
                answer = self._ask("POST", path, body={"metadata": {"name": wanted}})
                if answer.status != _CONFLICT:
                    raise_unless_done(answer)
            return str(self._done("GET", f"{self._accounts(namespace)}/{name}")["metadata"]["uid"])

    @staticmethod
    def _accounts(namespace: str) -> str:
        return f"/api/v1/namespaces/{namespace}/serviceaccounts"

    def review(self, bearer: Secret, token: Secret) -> tuple[int, Any]:
        """Have *bearer* ask for a review of *token*; return the status, and what the API server answered."""
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token.reveal()}}
        with translated("a TokenReview"):
            answer = self._ask("POST", "/apis/authentication.k8s.io/v1/tokenreviews", token=bearer, body=body)
            return int(answer.status), json.loads(answer.data)

    def allow_token_reviews(self, namespace: str, name: str) -> None:
        """Bind a service account to system:auth-delegator, which lets it create TokenReviews."""
        body = {
            "metadata": {"name": f"{BINDING}{namespace}:{name}"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": _DELEGATOR},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
        }
        with translated(f"binding of {namespace}/{name} to {_DELEGATOR}"):
            answer = self._ask("POST", BINDINGS, body=body)
            if answer.status != _CONFLICT:
                raise_unless_done(answer)

    def forbid_token_reviews(self, namespace: str, name: str) -> None:
        """Delete a service account's binding to system:auth-delegator, if there is one of ours."""
        with translated(f"binding of {namespace}/{name} to {_DELEGATOR}"):
            self._done_if_there("DELETE", f"{BINDINGS}/{BINDING}{namespace}:{name}")

    def publish_keys(self, *, to_anybody: bool) -> None:
        """Let anybody read the keys of tokens and the discovery document, or service accounts alone, as it is usual."""
        name = f"{BINDING}{_DISCOVERY}"
        body = {
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": _DISCOVERY},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:unauthenticated"}],
        }
        with translated(f"the right of anybody to read the keys of {self.host}"):
            path = BINDINGS if to_anybody else f"{BINDINGS}/{name}"
            answer = self._ask("POST" if to_anybody else "DELETE", path, body=body if to_anybody else None)
            if answer.status not in (_CONFLICT, _NOT_FOUND):
                raise_unless_done(answer)

    def shows_keys(self) -> bool:
        """Does the API server give its keys, and its discovery document, to somebody who does not say who it is?"""
        with translated("the keys of service account tokens, asked by nobody"):
            paths = ("/openid/v1/jwks", "/.well-known/openid-configuration")
            answers = [self._ask("GET", path, accept="*/*", anonymous=True) for path in paths]
            return all(answer.status == 200 for answer in answers)

    def may_review_tokens(self, namespace: str, name: str) -> bool:
        """Does the API server's authorizer let a service account create TokenReviews at this moment?"""
        user = f"system:serviceaccount:{namespace}:{name}"
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"]
        wanted = {"group": "authentication.k8s.io", "resource": "tokenreviews", "verb": "create"}
        body = {"spec": {"user": user, "groups": groups, "resourceAttributes": wanted}}
        with translated(f"the rights of {namespace}/{name}"):
            path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
            return bool(self._done("POST", path, body)["status"]["allowed"])

    def delete_secret(self, namespace: str, name: str) -> None:
        """Delete a Secret."""
        with translated(f"secret {namespace}/{name}"):
            self._done("DELETE", f"/api/v1/namespaces/{namespace}/secrets/{name}")

    def create_pod(self, namespace: str, name: str, account: str, *, scheduler: str = "default-scheduler") -> str:
        """Create a Pod of a service account and return its UID. Without kubelet or *scheduler* it stays Pending."""
        spec = {"serviceAccountName": account, "containers": [{"name": "main", "image": "none.invalid/none"}]}
        body = {"metadata": {"name": name}, "spec": spec | {"schedulerName": scheduler}}
        with translated(f"pod {namespace}/{name}"):
            made = self._done("POST", f"/api/v1/namespaces/{namespace}/pods", body)
            return str(made["metadata"]["uid"])

    def delete_pod(self, namespace: str, name: str, *, at_once: bool = True) -> bool:
        """Delete a Pod, and return whether it was there: tokens bound to it are dead, but for the API server's cache.
        What it runs is killed *at once*, or is asked to end first, as it is by kubectl.
        """
        with translated(f"pod {namespace}/{name}"):
            grace = "?gracePeriodSeconds=0" if at_once else ""
            return self._done_if_there("DELETE", f"/api/v1/namespaces/{namespace}/pods/{name}{grace}")

    def would_evict(self, namespace: str, name: str) -> tuple[int, str]:
        """Ask for the eviction of a Pod, as a drain of its node does, so that nothing comes of it. Return the status,
        which is 429 where a PodDisruptionBudget forbids it, and what was said.
        """
        path = f"/api/v1/namespaces/{namespace}/pods/{name}/eviction?dryRun=All"
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": namespace}}
        with translated(f"the eviction of {namespace}/{name}"):
            answer = self._ask("POST", path, body=body)
            return int(answer.status), str(json.loads(answer.data).get("message", ""))

    def request_token(
        self,
        namespace: str,
        service_account: str,
        *,
        pod: str = "",
        uid: str = "",
        audiences: Sequence[str],
        seconds: int,
    ) -> Secret:
        """Return a token of a service account, as a kubelet would request it where it is bound to a Pod.

        Without *audiences* it is made out for the API server itself.
        """
        spec: dict[str, Any] = {"expirationSeconds": seconds}
        if pod:
            spec["boundObjectRef"] = {"kind": "Pod", "apiVersion": "v1", "name": pod, "uid": uid}
        if audiences:
            spec["audiences"] = list(audiences)
        return Secret(self.plain_token(namespace, service_account, spec))

    def plain_token(self, namespace: str, service_account: str, spec: Mapping[str, Any]) -> str:
        """Return a token as the *spec* of a TokenRequest has it, of which nobody else knows that it is secret: for many
        that go to one place only, and would have to be looked for in every line that is written.
        """
        with translated(f"token of {namespace}/{service_account}"):
            path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token"
            return str(self._done("POST", path, {"spec": spec})["status"]["token"])

    def create_token_secret(self, namespace: str, name: str, service_account: str, token: Secret | None) -> None:
        """Create the Secret of a long-lived token, filled with *token*, or left to the token controller to fill."""
        body: dict[str, Any] = {
            "type": "kubernetes.io/service-account-token",
            "metadata": {"name": name, "annotations": {"kubernetes.io/service-account.name": service_account}},
        }
        if token is not None:
            body["data"] = {"token": base64.b64encode(token.reveal().encode()).decode()}
        with translated(f"secret {namespace}/{name}"):
            self._done("POST", f"/api/v1/namespaces/{namespace}/secrets", body)

    def create_all(self, manifest: Path) -> None:
        """Create everything that the YAML file *manifest* describes."""
        from kubernetes import utils

        with translated(f"what {manifest.name} describes"):
            try:
                create: Any = utils.create_from_yaml
                create(self._api(), str(manifest))
            except utils.FailToCreateError as error:
                raise error.api_exceptions[0] from None

    def nodes(self) -> list[NodeState]:
        """Return every node of the cluster."""
        with translated("the nodes"):
            return [kube_states.node_state(one) for one in self._done("GET", "/api/v1/nodes")["items"]]

    def pod(self, namespace: str, name: str) -> PodState | None:
        """Return how a Pod of one container is, or None if there is none of this name."""
        with translated(f"pod {namespace}/{name}"):
            answer = self._ask("GET", f"/api/v1/namespaces/{namespace}/pods/{name}")
            if answer.status == _NOT_FOUND:
                return None
            raise_unless_done(answer)
            return kube_states.pod_state(json.loads(answer.data))

    def own_pods(self) -> list[OwnPod]:
        """Return the Pods that every cluster has of its own, of those that hold a token of a service account."""
        with translated("the cluster's own Pods"):
            pods = [self._done("GET", f"/api/v1/namespaces/{space}/pods")["items"] for space in _SYSTEM]
            return [own for one in itertools.chain.from_iterable(pods) if (own := kube_states.own_pod(one))]

    def change_stateful_set(self, namespace: str, name: str, spec: Mapping[str, Any]) -> None:
        """Give a StatefulSet that is there a *spec* with these parts: another template is a rollout, which begins at
        once, and no replicas take its Pods down.
        """
        with translated(f"stateful set {namespace}/{name}"):
            self._done("PATCH", f"/apis/apps/v1/namespaces/{namespace}/statefulsets/{name}", {"spec": spec})

    def change_secret(self, namespace: str, name: str, key: str, value: Secret) -> None:
        """Put *value* under *key* into a Secret that is there, in place of the one before."""
        with translated(f"secret {namespace}/{name}"):
            self._done("PATCH", f"/api/v1/namespaces/{namespace}/secrets/{name}", {"stringData": {key: value.reveal()}})

    def scale_deployment(self, namespace: str, name: str, replicas: int) -> bool:
        """Have a Deployment consist of so many Pods. Is it there?"""
        with translated(f"deployment {namespace}/{name}"):
            path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"
            return self._done_if_there("PATCH", path, {"spec": {"replicas": replicas}})

    def delete_stateful_set(self, namespace: str, name: str) -> None:
        """Delete what is there of a StatefulSet, its ConfigMap and Secret. A controller deletes its Pods some time."""
        with translated(f"stateful set {namespace}/{name}"):
            for api, kind in (("apis/apps/v1", "statefulsets"), ("api/v1", "configmaps"), ("api/v1", "secrets")):
                self._done_if_there("DELETE", f"/{api}/namespaces/{namespace}/{kind}/{name}")

    def inventory(self) -> frozenset[tuple[str, ...]]:
        """Return what of rehearsals is in this cluster: of each object its kind, namespace, name, UID and version.

        Without the version of a Secret, whose token an API server has seen, and of a Pod, which a kubelet looks after.
        """
        found: set[tuple[str, ...]] = set()
        with translated("what is there"):
            for path in (*(f"/api/v1/{kind}" for kind in _OF_REHEARSALS), _ROLES, BINDINGS):
                rbac = path in (_ROLES, BINDINGS)
                for one in self._done("GET", path)["items"]:
                    about = one["metadata"]
                    space, name = about.get("namespace", ""), about["name"]
                    if (rbac and not name.startswith(BINDING)) or space in _SYSTEM:
                        continue
                    version = "" if path.endswith(("secrets", "pods")) else about["resourceVersion"]
                    found.add((path.rpartition("/")[2], space, name, about["uid"], version))
        return frozenset(found)

    def namespaces(self) -> list[str]:
        """Return the namespaces that rehearsals use: those that a new cluster does not have, and the default one."""
        with translated("the namespaces"):
            return [name for name in self._names("/api/v1/namespaces") if name not in _SYSTEM]

    def token_of_secret(self, namespace: str, name: str) -> Secret | None:
        """Return the token that the token controller has put into a Secret, or None as long as it has not."""
        with translated(f"secret {namespace}/{name}"):
            found = self._done("GET", f"/api/v1/namespaces/{namespace}/secrets/{name}")
        token = found.get("data", {}).get("token")
        return Secret(base64.b64decode(token).decode()) if token else None

    def complaints(self, namespace: str, name: str, uid: str = "") -> list[str]:
        """Return what the cluster has warned of about the object *name*, the latest last; of the one of a *uid* alone
        if that is said.
        """
        chosen = f"fieldSelector=involvedObject.name%3D{name}%2Ctype%3DWarning"
        chosen += f"%2CinvolvedObject.uid%3D{uid}" if uid else ""
        with translated(f"the events of {namespace}/{name}"):
            found = self._done("GET", f"/api/v1/namespaces/{namespace}/events?{chosen}")["items"]
        latest_last = sorted(found, key=lambda event: event.get("lastTimestamp") or event.get("eventTime") or "")
        return [f"{event['reason']}: {event['message']}" for event in latest_last]

    def accepts(self, token: Secret) -> bool:
        """Does the API server accept *token* as a bearer? 401 is the only no; any other refusal is a RigError."""
        with translated("/api with a bearer token"):
            answer = self._ask("GET", "/api", token=token)
            if answer.status != 401:
                raise_unless_done(answer)
        return bool(answer.status != 401)

    def mark_audit_log(self, mark: str) -> None:
        """Have the audit log write a line with *mark* as user agent: all before it is then written too."""
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": mark}}
        with translated("the audit log's mark"):
            path = "/apis/authentication.k8s.io/v1/tokenreviews"
            raise_unless_done(self._ask("POST", path, agent=mark, body=review))

    def kubeconfig(self) -> str:
        """Return a kubeconfig with this cluster as its only context. It holds the administrator's token."""
        named = {"name": "rehearsal"}
        cluster = {"server": self.host, "certificate-authority": str(self.ca)}
        user = {"token": self.administrator_token.reveal()}
        context = {"cluster": "rehearsal", "user": "rehearsal"}
        return json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [named | {"cluster": cluster}],
                "users": [named | {"user": user}],
                "contexts": [named | {"context": context}],
                "current-context": "rehearsal",
            }
        )

    def _names(self, path: str) -> list[str]:
        return [one["metadata"]["name"] for one in self._done("GET", path)["items"]]

    def _done(self, method: str, path: str, body: Any = None) -> Any:
        """Return what the API server says of the object, once it has done what was asked.

        Bare as well: the client's own calls first load every kind of object that there is, on cores which the API
        server needs for its start.
        """
        answer = self._ask(method, path, body=body)
        raise_unless_done(answer)
        return json.loads(answer.data)

    def _done_if_there(self, method: str, path: str, body: Any = None) -> bool:
        """Return whether what is asked for is there at all, once it is done; raises as `_done`."""
        answer = self._ask(method, path, body=body)
        if answer.status == _NOT_FOUND:
            return False
        raise_unless_done(answer)
        return True

    def _ask(
        self,
        method: str,
        path: str,
        *,
        token: Secret | None = None,
        agent: str = "rehearsal",
        body: Any = None,
        accept: str = "application/json",
        anonymous: bool = False,
    ) -> Any:
        """Return the bare answer, whatever its status: the client's own calls have one bearer and one user agent."""
        bearer = (token or self.administrator_token).reveal()
        headers = {"Accept": accept, "User-Agent": agent} | ({} if anonymous else {"Authorization": f"Bearer {bearer}"})
        if body is not None:
            headers["Content-Type"] = (
                "application/strategic-merge-patch+json" if method == "PATCH" else "application/json"
            )
        answer = self._api().call_api(method, f"{self.host}{path}", headers, body, _request_timeout=_TIMEOUT_SECONDS)
        answer.read()
        return answer

    def _api(self) -> Any:
        if self._client is None:
            from kubernetes import client

            configuration = client.Configuration()
            configuration.host = self.host
            configuration.ssl_ca_cert = str(self.ca)
            configuration.api_key = {"authorization": f"Bearer {self.administrator_token.reveal()}"}
            configuration.proxy, configuration.no_proxy = None, "127.0.0.1,localhost"
            configuration.retries = False
            self._client = client.ApiClient(configuration)
        return self._client
