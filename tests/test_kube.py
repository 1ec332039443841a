"""The API server is asked once, by us alone: its no is told in its own words, and its silence is not a no."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from harness.clients import kube
from harness.clients.kube import Kube
from harness.errors import RigError, Unreachable
from harness.host import pki
from harness.secret import Secret
from tests.test_vault import Answer, Scripted

pytestmark = pytest.mark.processes

ADMIN = "administrators-token-6c1f9b"
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ3ZWIifQ.c2lnbmF0dXJlLW9mLW5vLXZhbHVl"
FORBIDDEN = {
    "kind": "Status",
    "status": "Failure",
    "message": 'serviceaccounts is forbidden: User "system:anonymous" cannot create resource',
    "reason": "Forbidden",
    "code": 403,
}
MADE = {
    "metadata": {"name": "made", "uid": "uid-1"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:auth-delegator"},
    "spec": {"containers": [{"name": "main"}], "audiences": ["api"]},
    "status": {"token": JWT, "expirationTimestamp": "2026-01-01T00:00:00Z"},
}
"""What was created, of whatever kind: each call looks at its own part."""
VERSION = dict.fromkeys(
    ("major", "minor", "gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler", "platform"), "x"
)
GRANTED = Answer(body=MADE | VERSION | {"gitVersion": "v1.32.0"})


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> pki.Authority:
    return pki.Authority(tmp_path_factory.mktemp("authority"), "127.0.0.1")


@pytest.fixture
def nobody() -> Iterator[str]:
    """Return an address at which nobody listens, and nobody else can begin to."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"https://127.0.0.1:{taken.getsockname()[1]}"


CALLS: dict[str, tuple[Callable[[Kube], Any], str, str]] = {
    "namespace": (lambda k: k.create_namespace("apps"), "POST", "/api/v1/namespaces"),
    "service account": (
        lambda k: k.create_service_account("apps", "web"), "POST", "/api/v1/namespaces/apps/serviceaccounts",
    ),
    "binding": (
        lambda k: k.allow_token_reviews("apps", "web"),
        "POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    ),
    "pod": (lambda k: k.create_pod("apps", "app-web", "web"), "POST", "/api/v1/namespaces/apps/pods"),
    "no pod": (lambda k: k.delete_pod("apps", "app-web"), "DELETE", "/api/v1/namespaces/apps/pods/app-web"),
    "no pod, gently": (
        lambda k: k.delete_pod("apps", "app-web", at_once=False), "DELETE", "/api/v1/namespaces/apps/pods/app-web",
    ),
    "scale": (
        lambda k: k.scale_deployment("kube-system", "coredns", 1),
        "PATCH", "/apis/apps/v1/namespaces/kube-system/deployments/coredns",
    ),
    "token": (
        lambda k: k.request_token("apps", "web", pod="app-web", uid="uid-1", audiences=(), seconds=3600),
        "POST", "/api/v1/namespaces/apps/serviceaccounts/web/token",
    ),
    "token secret": (
        lambda k: k.create_token_secret("apps", "web-token", "web", Secret(JWT)),
        "POST", "/api/v1/namespaces/apps/secrets",
    ),
    "mark": (
        lambda k: k.mark_audit_log("rehearsal-mark-1"), "POST", "/apis/authentication.k8s.io/v1/tokenreviews",
    ),
    "version": (lambda k: k.version(), "GET", "/version/"),
    "accepts": (lambda k: k.accepts(Secret(JWT)), "GET", "/api"),
}  # fmt: skip
every_call = pytest.mark.parametrize(("call", "method", "path"), CALLS.values(), ids=CALLS)


def at(server: Scripted, authority: pki.Authority) -> Kube:
    return Kube(server.address, authority.ca, Secret(ADMIN))


def granted(server_answers: dict[str, Any], authority: pki.Authority, call: Callable[[Kube], Any]) -> tuple[Any, Any]:
    """Return what *call* gave, and the body it sent, at a server that grants it."""
    with Scripted(Answer(body=server_answers), tls=authority) as server:
        found = call(at(server, authority))
    (asked,) = server.asked
    return found, asked.body


@every_call
def test_each_call_goes_once_to_its_path_as_the_administrator(
    call: Callable[[Kube], Any], method: str, path: str, authority: pki.Authority
) -> None:
    """But for the one that tries a bearer, which goes as that bearer."""
    with Scripted(GRANTED, tls=authority) as server:
        call(at(server, authority))
    (asked,) = server.asked
    assert (asked.method, asked.path.partition("?")[0]) == (method, path)
    bearer = JWT if path == "/api" else ADMIN
    assert asked.headers["authorization"] == f"Bearer {bearer}"


@every_call
def test_a_refused_connection_is_no_answer(
    call: Callable[[Kube], Any], method: str, path: str, nobody: str, authority: pki.Authority
) -> None:
    with pytest.raises(Unreachable, match=r"gave no answer for .*Connection refused"):
        call(Kube(nobody, authority.ca, Secret(ADMIN)))


@every_call
def test_a_no_comes_with_the_servers_words(
    call: Callable[[Kube], Any], method: str, path: str, authority: pki.Authority
) -> None:
    """What was declined, the status, and what the API server said; and not the token it was asked with."""
    with Scripted(Answer(403, FORBIDDEN), tls=authority) as server:
        with pytest.raises(RigError) as declined:
            call(at(server, authority))
        assert len(server.asked) == 1
    assert "the API server declined " in str(declined.value)
    assert ": HTTP 403 Forbidden: " in str(declined.value)
    assert "serviceaccounts is forbidden: User" in str(declined.value)
    assert ADMIN not in str(declined.value)
    assert JWT not in str(declined.value)


@every_call
@pytest.mark.parametrize("status", [429, 500, 503, 504])
def test_no_call_is_made_twice(
    call: Callable[[Kube], Any], method: str, path: str, status: int, authority: pki.Authority
) -> None:
    """Not even where the server asks for it."""
    busy = Answer(status, {"message": "not now"}, {"Retry-After": "0"})
    with Scripted(busy, GRANTED, tls=authority) as server:
        with pytest.raises(RigError, match=rf"HTTP {status} .*not now"):
            call(at(server, authority))
        assert len(server.asked) == 1


@every_call
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_no_redirect_is_followed(
    call: Callable[[Kube], Any], method: str, path: str, status: int, authority: pki.Authority
) -> None:
    """A bearer is never carried to another server."""
    with Scripted(GRANTED, tls=authority) as other:
        moved = Answer(status, b"", {"Location": f"{other.address}/elsewhere"})
        with Scripted(moved, tls=authority) as server:
            with pytest.raises(RigError, match=f"HTTP {status}"):
                call(at(server, authority))
            assert len(server.asked) == 1
        assert other.asked == []


@every_call
@pytest.mark.parametrize(("how", "words"), [("silent", "timed out"), ("hung up", "closed connection")])
def test_silence_is_not_a_no(
    call: Callable[[Kube], Any],
    method: str,
    path: str,
    how: str,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    authority: pki.Authority,
) -> None:
    """A server that stays silent or hangs up holds nobody up for ever, and is not asked again."""
    monkeypatch.setattr(kube, "_TIMEOUT_SECONDS", 0.15)
    with (
        Scripted(Answer(how=how), tls=authority) as server,
        pytest.raises(Unreachable, match=f"gave no answer for .*{words}"),
    ):
        call(at(server, authority))
    assert len(server.asked) <= 1  # none where the time was over before the question was out


def test_a_certificate_of_another_authority_is_no_answer(authority: pki.Authority, tmp_path: Path) -> None:
    stranger = pki.Authority(tmp_path, "127.0.0.1")
    with Scripted(GRANTED, tls=authority) as server:
        with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
            at(server, stranger).serves()
        assert server.asked == []


@pytest.mark.parametrize(("status", "accepted"), [(200, True), (401, False)])
def test_a_bearer_is_accepted_unless_the_answer_is_401(status: int, accepted: bool, authority: pki.Authority) -> None:
    with Scripted(Answer(status), tls=authority) as server:
        assert at(server, authority).accepts(Secret(JWT)) is accepted


def test_any_other_no_to_a_bearer_is_not_a_verdict_on_it(authority: pki.Authority) -> None:
    """403 says that the API server knew who it was; an error says nothing. Neither is taken for a dead token."""
    with Scripted(Answer(403, FORBIDDEN), tls=authority) as server:
        with pytest.raises(RigError, match=r"declined /api with a bearer token: HTTP 403 .*forbidden: User"):
            at(server, authority).accepts(Secret(JWT))
        assert len(server.asked) == 1


@pytest.mark.parametrize(("status", "ready"), [(200, True), (302, False), (401, False), (403, False), (500, False)])
def test_a_server_is_ready_when_it_says_so(status: int, ready: bool, authority: pki.Authority) -> None:
    """While it comes up it says other things, its first refusals among them: not yet, and no error."""
    with Scripted(Answer(status, b"[-]etcd failed: reason withheld\n"), tls=authority) as server:
        assert at(server, authority).serves() is ready
    assert [(asked.method, asked.path) for asked in server.asked] == [("GET", "/readyz")]


def test_objects_can_be_made_before_the_servers_own_roles_are_there(authority: pki.Authority) -> None:
    """Asked is for the same readiness, but for the two hooks that nothing an administrator makes has to wait for."""
    with Scripted(Answer(500, b"[-]informer-sync failed\n"), Answer(200, b"ok"), tls=authority) as server:
        assert [at(server, authority).takes_objects() for _ in range(2)] == [False, True]
    path, _, query = server.asked[0].path.partition("?")
    left_out = ["poststarthook/rbac/bootstrap-roles", "poststarthook/scheduling/bootstrap-system-priority-classes"]
    assert (path, parse_qs(query)) == ("/readyz", {"exclude": left_out})


def test_a_server_that_does_not_listen_yet_is_unreachable(nobody: str, authority: pki.Authority) -> None:
    with pytest.raises(Unreachable, match=r"/readyz: .*Connection refused"):
        Kube(nobody, authority.ca, Secret(ADMIN)).serves()


def test_nothing_of_the_users_environment_plays_a_part(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, authority: pki.Authority
) -> None:
    """No kubeconfig, service account, proxy or CA but our own."""
    with Scripted(GRANTED) as elsewhere, Scripted(GRANTED, tls=authority) as server:
        config = {
            "apiVersion": "v1", "kind": "Config", "current-context": "theirs",
            "clusters": [{"name": "theirs", "cluster": {"server": elsewhere.address}}],
            "contexts": [{"name": "theirs", "context": {"cluster": "theirs", "user": "theirs"}}],
            "users": [{"name": "theirs", "user": {"token": "theirs"}}],
        }  # fmt: skip
        (tmp_path / "config").write_text(json.dumps(config))
        proxies = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
        theirs = dict.fromkeys(proxies, elsewhere.address) | {"KUBECONFIG": str(tmp_path / "config")}
        theirs |= {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": elsewhere.address.split(":")[2]}
        theirs |= {"SSL_CERT_FILE": "/nowhere", "NO_PROXY": "", "no_proxy": ""}
        for name, value in theirs.items():
            monkeypatch.setenv(name, value)
        assert at(server, authority).version() == "1.32.0"
        assert elsewhere.asked == []
    assert server.asked[0].headers["authorization"] == f"Bearer {ADMIN}"


def test_a_version_is_told_without_its_v(authority: pki.Authority) -> None:
    with Scripted(GRANTED, tls=authority) as server:
        assert at(server, authority).version() == "1.32.0"


def test_a_clusters_own_pods_are_those_that_hold_a_token(authority: pki.Authority) -> None:
    """And ready are those that are not about to go; what a kubelet runs from a file of the node has no token."""

    def pod(name: str, ready: str, sources: list[Any], **about: str) -> dict[str, Any]:
        return {
            "metadata": {"namespace": "kube-system", "name": name, "uid": f"uid of {name}"} | about,
            "spec": {"volumes": [{"hostPath": {}}, {"projected": {"sources": sources}}]},
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        }

    token = [{"configMap": {}}, {"serviceAccountToken": {"path": "token"}}]
    there = [
        pod("proxy", "True", token),
        pod("going", "True", token, deletionTimestamp="2026-01-01T00:00:00Z"),
        pod("waiting", "False", token),
        pod("etcd", "True", [{"configMap": {}}]),
    ]
    empty = Answer(body={"items": []})
    with Scripted(Answer(body={"items": there}), empty, tls=authority) as server:
        found = at(server, authority).own_pods()
    assert [(one.name, one.ready) for one in found] == [("proxy", True), ("going", False), ("waiting", False)]
    assert (found[0].namespace, found[0].uid) == ("kube-system", "uid of proxy")
    assert server.asked[0].path == "/api/v1/namespaces/kube-system/pods"


def test_what_is_created_is_known_by_its_uid(authority: pki.Authority) -> None:
    uid, body = granted(MADE, authority, lambda k: k.create_service_account("apps", "web"))
    assert uid == "uid-1"
    assert body["metadata"]["name"] == "web"
    uid, body = granted(MADE, authority, lambda k: k.create_pod("apps", "app-web", "web"))
    assert uid == "uid-1"
    assert (body["metadata"]["name"], body["spec"]["serviceAccountName"]) == ("app-web", "web")


def test_token_reviews_are_allowed_to_one_account_by_the_role_made_for_it(authority: pki.Authority) -> None:
    _, body = granted(MADE, authority, lambda k: k.allow_token_reviews("apps", "web"))
    assert body["roleRef"]["name"] == "system:auth-delegator"
    assert body["subjects"] == [{"kind": "ServiceAccount", "name": "web", "namespace": "apps"}]


@pytest.mark.parametrize(("wanted", "audiences"), [((), None), (("vault",), ["vault"]), (("a", "b"), ["a", "b"])])
def test_a_token_is_requested_as_a_kubelet_would(
    wanted: tuple[str, ...], audiences: list[str] | None, authority: pki.Authority
) -> None:
    """Bound to its Pod, for as long as asked, for the API server itself where no audience is named."""
    token, body = granted(
        MADE,
        authority,
        lambda k: k.request_token("apps", "web", pod="app-web", uid="uid-7", audiences=wanted, seconds=600),
    )
    assert token == Secret(JWT)
    assert JWT not in repr(token)
    assert body["spec"].get("audiences") == audiences
    assert body["spec"]["expirationSeconds"] == 600
    assert body["spec"]["boundObjectRef"] == {"kind": "Pod", "apiVersion": "v1", "name": "app-web", "uid": "uid-7"}


def test_a_long_lived_token_is_kept_as_its_controller_would_keep_it(authority: pki.Authority) -> None:
    _, body = granted(MADE, authority, lambda k: k.create_token_secret("apps", "web-token", "web", Secret(JWT)))
    assert body["type"] == "kubernetes.io/service-account-token"
    assert body["metadata"]["annotations"] == {"kubernetes.io/service-account.name": "web"}
    assert base64.b64decode(body["data"]["token"]).decode() == JWT


def test_a_pod_is_deleted_at_once(authority: pki.Authority) -> None:
    """No grace: its token is to die now. And whether there was one at all is known."""
    with Scripted(Answer(body=MADE), Answer(404), tls=authority) as server:
        assert at(server, authority).delete_pod("apps", "app-web") is True
        assert at(server, authority).delete_pod("apps", "app-web") is False
    assert [one.path.partition("?")[2] for one in server.asked] == ["gracePeriodSeconds=0"] * 2


def test_a_mark_in_the_audit_log_is_the_user_agent_of_a_token_review(authority: pki.Authority) -> None:
    """TokenReviews are what is audited, so a mark must be one; and nothing that comes after it must look like one."""
    with Scripted(GRANTED, tls=authority) as server:
        client = at(server, authority)
        client.mark_audit_log("rehearsal-mark-1")
        client.create_namespace("apps")
    review, after = server.asked
    assert review.headers["user-agent"] == "rehearsal-mark-1"
    assert review.body["kind"] == "TokenReview"
    assert review.body["spec"] == {"token": "rehearsal-mark-1"}
    assert not after.headers["user-agent"].startswith("rehearsal-mark-")


def test_a_kubeconfig_leads_to_this_cluster_alone(authority: pki.Authority) -> None:
    """It is what kubectl needs, so it holds the token: for a 0600 file, and no text."""
    config = json.loads(Kube("https://127.0.0.1:6443", authority.ca, Secret(ADMIN)).kubeconfig())
    (cluster,), (user,), (context,) = config["clusters"], config["users"], config["contexts"]
    assert cluster["cluster"] == {"server": "https://127.0.0.1:6443", "certificate-authority": str(authority.ca)}
    assert user["user"] == {"token": ADMIN}
    assert context["context"] == {"cluster": cluster["name"], "user": user["name"]}
    assert config["current-context"] == context["name"]


def test_the_keys_are_asked_for_in_their_own_form(authority: pki.Authority) -> None:
    """An API server has them in no other one: asked for JSON it answers 406."""
    keys = [{"kty": "RSA", "n": "x", "e": "AQAB"}]
    with Scripted(Answer(body={"keys": keys}), tls=authority) as server:
        assert at(server, authority).signing_keys() == keys
    (asked,) = server.asked
    assert (asked.path, asked.headers["accept"]) == ("/openid/v1/jwks", "application/jwk-set+json")


def test_a_review_goes_as_the_bearer_alone(authority: pki.Authority) -> None:
    """Whatever is answered is told: an app that may not review is the news."""
    with Scripted(Answer(403, FORBIDDEN), tls=authority) as server:
        status, said = at(server, authority).review(Secret("bearer-of-an-app-51c2"), Secret(JWT))
    (asked,) = server.asked
    assert asked.headers["authorization"] == "Bearer bearer-of-an-app-51c2"
    assert asked.body["spec"] == {"token": JWT}
    assert (status, said["message"]) == (403, FORBIDDEN["message"])


def test_an_account_that_is_there_is_taken_as_it_is(authority: pki.Authority) -> None:
    taken = Answer(409, {"message": "already exists"})
    with Scripted(taken, taken, GRANTED, tls=authority) as server:
        assert at(server, authority).insist_on_account("apps", "web") == "uid-1"
    assert [(one.method, one.path) for one in server.asked] == [
        ("POST", "/api/v1/namespaces"),
        ("POST", "/api/v1/namespaces/apps/serviceaccounts"),
        ("GET", "/api/v1/namespaces/apps/serviceaccounts/web"),
    ]


def test_what_a_kubelet_notes_of_a_pod_is_no_change_of_the_cluster(authority: pki.Authority) -> None:
    """Nor what an API server notes of a Secret; another one of the same name is a change."""

    def there(version: str, uid: str = "uid-1", space: str = "apps") -> frozenset[tuple[str, ...]]:
        about = {"name": "rehearsal:web", "namespace": space, "uid": uid, "resourceVersion": version}
        with Scripted(Answer(body={"items": [{"metadata": about}]}), tls=authority) as server:
            return at(server, authority).inventory()

    changed = {one[0] for one in there("2") - there("1")}
    assert changed == {"namespaces", "serviceaccounts", "configmaps", "clusterroles", "clusterrolebindings"}
    assert {one[0] for one in there("1", "uid-2") - there("1")} == changed | {"pods", "secrets"}
    assert there("1", space="kube-system") == frozenset()
