"""Everything we say to a Kubernetes API server, in our words: the only room that knows the kubernetes client."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from harness.errors import RigError, Unreachable
from harness.secret import Secret

_TIMEOUT_SECONDS: Final = 30
_DELEGATOR: Final = "system:auth-delegator"


class Kube:
    """An API server at *host*, asked as an administrator with *token*; *ca* is the file that vouches for it.

    The user's kubeconfig, contexts and proxies play no part: everything comes from the arguments.
    """

    def __init__(self, host: str, ca: Path, token: Secret) -> None:
        self.host, self.ca = host, ca
        self.administrator_token = token
        self._client: Any = None

    def serves(self) -> bool:
        """Is the API server ready? Any answer but 200 is a no. Raises Unreachable while it does not listen."""
        with _translated(f"{self.host}/readyz"):
            return bool(self._ask("GET", "/readyz").status == 200)

    def version(self) -> str:
        """Return the version the API server gives itself, without its v."""
        from kubernetes import client

        with _translated("the version"):
            return str(
                client.VersionApi(self._api()).get_code(_request_timeout=_TIMEOUT_SECONDS).git_version
            ).removeprefix("v")

    def create_namespace(self, name: str) -> None:
        """Create a namespace."""
        with _translated(f"namespace {name}"):
            self._core().create_namespace({"metadata": {"name": name}}, _request_timeout=_TIMEOUT_SECONDS)

    def create_service_account(self, namespace: str, name: str) -> str:
        """Create a service account and return its UID."""
        with _translated(f"service account {namespace}/{name}"):
            account = self._core().create_namespaced_service_account(
                namespace, {"metadata": {"name": name}}, _request_timeout=_TIMEOUT_SECONDS
            )
        return str(account.metadata.uid)

    def allow_token_reviews(self, namespace: str, name: str) -> None:
        """Bind a service account to system:auth-delegator, which lets it create TokenReviews."""
        from kubernetes import client

        body: Any = {
            "metadata": {"name": f"rehearsal:{namespace}:{name}"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": _DELEGATOR},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
        }
        with _translated(f"binding of {namespace}/{name} to {_DELEGATOR}"):
            client.RbacAuthorizationV1Api(self._api()).create_cluster_role_binding(
                body, _request_timeout=_TIMEOUT_SECONDS
            )

    def create_pod(self, namespace: str, name: str, service_account: str) -> str:
        """Create a Pod object of a service account and return its UID. Without a kubelet it stays Pending."""
        spec = {"serviceAccountName": service_account, "containers": [{"name": "main", "image": "none.invalid/none"}]}
        with _translated(f"pod {namespace}/{name}"):
            pod = self._core().create_namespaced_pod(
                namespace, {"metadata": {"name": name}, "spec": spec}, _request_timeout=_TIMEOUT_SECONDS
            )
        return str(pod.metadata.uid)

    def delete_pod(self, namespace: str, name: str) -> None:
        """Delete a Pod at once: tokens bound to it are dead, but for the API server's cache."""
        with _translated(f"pod {namespace}/{name}"):
            self._core().delete_namespaced_pod(
                name, namespace, grace_period_seconds=0, _request_timeout=_TIMEOUT_SECONDS
            )

    def request_token(
        self, namespace: str, service_account: str, *, pod: str, uid: str, audience: str | None, seconds: int
    ) -> Secret:
        """Return a token of a service account, bound to a Pod, as a kubelet would request it."""
        spec: dict[str, Any] = {
            "expirationSeconds": seconds,
            "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": pod, "uid": uid},
        }
        if audience:
            spec["audiences"] = [audience]
        with _translated(f"token of {namespace}/{service_account}"):
            answer = self._core().create_namespaced_service_account_token(
                service_account, namespace, {"spec": spec}, _request_timeout=_TIMEOUT_SECONDS
            )
        return Secret(answer.status.token)

    def create_token_secret(self, namespace: str, name: str, service_account: str, token: Secret) -> None:
        """Create the Secret of a long-lived token, filled as the token controller would fill it."""
        body = {
            "type": "kubernetes.io/service-account-token",
            "metadata": {"name": name, "annotations": {"kubernetes.io/service-account.name": service_account}},
            "data": {"token": base64.b64encode(token.reveal().encode()).decode()},
        }
        with _translated(f"secret {namespace}/{name}"):
            self._core().create_namespaced_secret(namespace, body, _request_timeout=_TIMEOUT_SECONDS)

    def accepts(self, token: Secret) -> bool:
        """Does the API server accept *token* as a bearer? 401 is the only no; any other refusal is a RigError."""
        with _translated("/api with a bearer token"):
            answer = self._ask("GET", "/api", token=token)
            if answer.status != 401:
                _raise_unless_done(answer)
        return bool(answer.status != 401)

    def mark_audit_log(self, mark: str) -> None:
        """Have the audit log write a line with *mark* as user agent: all before it is then written too."""
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": mark}}
        with _translated("the audit log's mark"):
            path = "/apis/authentication.k8s.io/v1/tokenreviews"
            _raise_unless_done(self._ask("POST", path, agent=mark, body=review))

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

    def _core(self) -> Any:
        from kubernetes import client

        return client.CoreV1Api(self._api())

    def _ask(
        self, method: str, path: str, *, token: Secret | None = None, agent: str = "rehearsal", body: Any = None
    ) -> Any:
        """Return the bare answer, whatever its status: the client's own calls have one bearer and one user agent."""
        bearer = (token or self.administrator_token).reveal()
        headers = {"Authorization": f"Bearer {bearer}", "Accept": "application/json", "User-Agent": agent}
        if body is not None:
            headers["Content-Type"] = "application/json"
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


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """Turn the client's errors into ours: an answer that is a no is a RigError, no answer is Unreachable."""
    import urllib3
    from kubernetes import client

    try:
        yield
    except client.ApiException as error:
        if not error.status:
            raise Unreachable(f"the API server was asked for {what}: {error.reason}") from None
        raise RigError(f"the API server declined {what}: HTTP {error.status} {error.reason}{_said(error)}") from None
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise Unreachable(f"the API server gave no answer for {what}: {error}") from None
    except (AttributeError, TypeError, ValueError) as error:
        # what the client raises for an answer that is not what the API says it is
        raise RigError(
            f"the API server was asked for {what}, and its answer makes no sense ({type(error).__name__}: {error}): is "
            "something else listening on its port?"
        ) from error


def _raise_unless_done(answer: Any) -> None:
    from kubernetes import client

    if not 200 <= answer.status < 300:
        words = answer.data.decode(errors="replace")
        raise client.ApiException(status=answer.status, reason=answer.reason, body=words)


def _said(error: Any) -> str:
    return f": {str(error.body)[:500]}" if error.body else ""
