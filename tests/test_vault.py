"""Vault is asked once, by us alone, and what it says comes back whole but for what could be used."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import pytest

from harness.clients import vault
from harness.clients.vault import Vault
from harness.clients.vault_audit import CORRELATION_HEADER
from harness.errors import RigError, Unreachable
from harness.host import pki
from harness.rig.rig import Reply
from harness.secret import Secret, redact

pytestmark = pytest.mark.processes

ROOT = "hvs.root-5dd1c9a2b7f04e6c8a31"
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ3ZWIifQ.c2lnbmF0dXJlLW9mLW5vLXZhbHVl"


@dataclass
class Answer:
    """What a scripted server says to one request."""

    status: int = 200
    body: Any = field(default_factory=dict)
    """JSON, or bytes as they are"""
    headers: dict[str, str] = field(default_factory=dict)
    how: str = "whole"
    """whole, silent (no answer until the server ends), hung up (no answer at all) or torn (half of one)"""


@dataclass
class Asked:
    """What a scripted server was asked."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


class Scripted:
    """A server on loopback that gives *answers* in turn, the last one again and again, and keeps what it was asked."""

    def __init__(self, *answers: Answer, tls: pki.Authority | None = None, knows: Path | None = None) -> None:
        """*tls*: with its certificate. *knows*: it hears those alone who have a certificate of the authority there."""
        self.asked: list[Asked] = []
        self.over = threading.Event()
        self._answers = itertools.chain(answers, itertools.repeat(answers[-1] if answers else Answer()))
        script = self

        class Handler(BaseHTTPRequestHandler):
            def handle_one_request(self) -> None:
                with contextlib.suppress(ConnectionError, ssl.SSLError):
                    super().handle_one_request()

            def handle_any(self) -> None:
                content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                script.asked.append(Asked(self.command, self.path, headers, json.loads(content) if content else None))
                script._answer(self, next(script._answers))

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815 - http.server names them

            def log_message(self, *_args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls.certificate, tls.key)
            if knows:
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_verify_locations(knows)
            # The handshake belongs to the thread of a connection, not to the one that accepts them all.
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._server.daemon_threads = False
        self.address = f"{'https' if tls else 'http'}://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, to: BaseHTTPRequestHandler, answer: Answer) -> None:
        if answer.how == "silent":
            self.over.wait()
        if answer.how in ("silent", "hung up"):
            return
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        to.send_response(answer.status)
        for name, value in ({"Content-Type": "application/json"} | answer.headers).items():
            to.send_header(name, value)
        to.send_header("Content-Length", str(len(body)))
        to.end_headers()
        to.wfile.write(body[: len(body) // 2] if answer.how == "torn" else body)


@pytest.fixture
def nobody() -> Iterator[str]:
    """Return an address at which nobody listens, and nobody else can begin to."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> list[pki.Authority]:
    """Return two authorities that vouch for loopback and not for each other."""
    return [pki.Authority(tmp_path_factory.mktemp("authority"), "127.0.0.1") for _ in range(2)]


def at(server: Scripted) -> Vault:
    return Vault(server.address, None, Secret(ROOT))


QUESTIONS: list[tuple[Callable[[Vault], Reply], str, str, str | None]] = [
    (lambda v: v.health(), "GET", "/v1/sys/health", None),
    (lambda v: v.seal_status(), "GET", "/v1/sys/seal-status", None),
    (lambda v: v.login("team/k8s", "web", Secret(JWT)), "POST", "/v1/auth/team/k8s/login", None),
    (lambda v: v.lookup_self(Secret("s.its-own")), "GET", "/v1/auth/token/lookup-self", "s.its-own"),
    (lambda v: v.renew_self(Secret("s.its-own")), "POST", "/v1/auth/token/renew-self", "s.its-own"),
    (lambda v: v.read_secret("secret/data/web", Secret("s.its-own")), "GET", "/v1/secret/data/web", "s.its-own"),
    (lambda v: v.read_auth_config("k8s"), "GET", "/v1/auth/k8s/config", ROOT),
    (lambda v: v.read_role("k8s", "web"), "GET", "/v1/auth/k8s/role/web", ROOT),
    (lambda v: v.unseal(Secret("an-unseal-key")), "PUT", "/v1/sys/unseal", None),
]
every_question = pytest.mark.parametrize(
    ("ask", "method", "path", "token"), QUESTIONS, ids=[path for _, _, path, _ in QUESTIONS]
)


@every_question
def test_each_question_goes_to_its_path_with_the_token_it_is_asked_with(
    ask: Callable[[Vault], Reply], method: str, path: str, token: str | None
) -> None:
    """What needs none is asked with none, though the root token is at hand."""
    with Scripted(Answer(body={"data": {"a": 1}})) as server:
        reply = ask(at(server))
    (asked,) = server.asked
    assert (asked.method, asked.path, asked.headers.get("x-vault-token")) == (method, path, token)
    assert (reply.status, reply.ok, reply.error) == (200, True, "")


@every_question
def test_no_answer_is_a_reply_without_a_status_that_says_why(
    ask: Callable[[Vault], Reply], method: str, path: str, token: str | None, nobody: str
) -> None:
    """Nothing is raised: that nobody could be asked is an observation too."""
    reply = ask(Vault(nobody, None, Secret(ROOT)))
    assert (reply.status, reply.ok, reply.data, reply.token) == (None, False, {}, None)
    assert reply.error.startswith(f"Vault at {nobody} gave no answer to {path.removeprefix('/v1/')}: ConnectionRefused")
    assert reply.correlation
    assert 0 < reply.started <= reply.ended


@pytest.mark.parametrize(
    ("how", "words"), [("silent", "timed out"), ("hung up", "RemoteDisconnected"), ("torn", "IncompleteRead")]
)
def test_half_an_answer_is_none(monkeypatch: pytest.MonkeyPatch, how: str, words: str) -> None:
    """A server that stays silent, hangs up, or stops in the middle: asked once, and the reason is told."""
    monkeypatch.setattr(vault, "_TIMEOUT_SECONDS", 0.2)
    with Scripted(Answer(how=how, body={"data": {"padding": "x" * 100}})) as server:
        reply = at(server).seal_status()
    assert reply.status is None
    assert words in reply.error
    assert len(server.asked) == 1


def test_a_certificate_of_another_authority_is_no_answer(authorities: list[pki.Authority]) -> None:
    """And the right authority is believed, whatever the machine trusts."""
    one, other = authorities
    with Scripted(tls=one) as server:
        assert Vault(server.address, one.ca).health().status == 200
        stranger = Vault(server.address, other.ca).health()
    assert stranger.status is None
    assert "CERTIFICATE_VERIFY_FAILED" in stranger.error
    assert len(server.asked) == 1


def test_a_server_that_wants_to_know_who_asks_hears_us_and_nobody_else(tmp_path: Path) -> None:
    """By a certificate of its own authority; and it is told nothing of that once it speaks plain HTTP."""
    (tmp_path / "other").mkdir()
    one = pki.Authority(tmp_path, "127.0.0.1", client=True)
    other = pki.Authority(tmp_path / "other", "127.0.0.1", client=True)
    with Scripted(tls=one, knows=one.ca) as server:
        us = Vault(server.address, one.ca, certificate=one.client)
        assert us.health().status == 200
        assert Vault(server.address, one.ca).health().status is None
        assert Vault(server.address, one.ca, certificate=other.client).health().status is None
        assert len(server.asked) == 1
    with Scripted() as plain:
        us.address = plain.address.replace("http:", "https:")
        us.listens_plainly()
        assert us.health().status == 200
        assert (us.address, us.ca, us.certificate) == (plain.address, None, None)


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, {"errors": ["missing role"]}, "missing role"),
        (403, {"errors": ["1 error occurred:\n\t* denied\n\n"]}, "1 error occurred:\n\t* denied\n\n"),
        (403, {"errors": ["first", "second"]}, "first; second"),
        (500, {"errors": ['claim "iss" is invalid']}, 'claim "iss" is invalid'),
        (404, {"errors": None, "warnings": ["w"]}, ""),
        (502, b"<html>Bad Gateway</html>", "<html>Bad Gateway</html>"),
        (400, b"Client sent an HTTP request to HTTPS\n", "Client sent an HTTP request to HTTPS\n"),
        (500, b"x" * 2000, "x" * 500),
        (403, ["not", "an", "object"], '["not", "an", "object"]'),
    ],
)  # fmt: skip
def test_a_refusal_comes_with_vaults_own_words(status: int, body: Any, error: str) -> None:
    """All of them; and where it has none in its own form, with the beginning of what was said."""
    with Scripted(Answer(status, body)) as server:
        reply = at(server).login("kubernetes", "web", Secret(JWT))
    assert (reply.status, reply.ok, reply.error, reply.token) == (status, False, error, None)


@pytest.mark.parametrize("status", [400, 403, 412, 429, 472, 473, 500, 501, 502, 503, 504])
@pytest.mark.parametrize("ask", [ask for ask, *_ in QUESTIONS[:3]], ids=["GET", "GET sealed", "POST"])
def test_no_answer_is_asked_for_twice(ask: Callable[[Vault], Reply], status: int) -> None:
    """Not even where the server asks for it: the first answer is the one an app would have got."""
    with Scripted(Answer(status, {"errors": ["no"]}, {"Retry-After": "0"}), Answer()) as server:
        assert ask(at(server)).status == status
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(status: int) -> None:
    """A token is never carried to another server, and a standby's redirect is an answer of its own."""
    with Scripted() as other, Scripted(Answer(status, headers={"Location": f"{other.address}/v1/here"})) as server:
        reply = at(server).read_role("kubernetes", "web")
    assert (reply.status, reply.ok) == (status, False)
    assert (len(server.asked), len(other.asked)) == (1, 0)


def test_nothing_of_the_users_environment_plays_a_part(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, authorities: list[pki.Authority]
) -> None:
    """No address, token, namespace, CA, proxy or .netrc but our own."""
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password something\n")
    netrc.chmod(0o600)
    theirs = {
        "VAULT_TOKEN": "s.theirs",
        "VAULT_NAMESPACE": "theirs",
        "VAULT_CACERT": "/nowhere",
        "VAULT_SKIP_VERIFY": "1",
    }
    theirs |= {"REQUESTS_CA_BUNDLE": str(authorities[1].ca), "SSL_CERT_FILE": str(authorities[1].ca)}
    theirs |= {"HOME": str(tmp_path), "NETRC": str(netrc), "VAULT_HEADERS": '{"x":"y"}'}
    with Scripted() as elsewhere, Scripted(tls=authorities[0]) as server:
        proxies = (
            "http_proxy",
            "https_proxy",
            "all_proxy",
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "ALL_PROXY",
            "VAULT_PROXY_ADDR",
        )
        theirs |= dict.fromkeys((*proxies, "VAULT_ADDR", "VAULT_AGENT_ADDR"), elsewhere.address)
        for name, value in theirs.items():
            monkeypatch.setenv(name, value)
        assert Vault(server.address, authorities[0].ca).health().status == 200
        plain = Vault(elsewhere.address, None)
        assert plain.health().status == 200
    (asked,) = server.asked
    assert set(asked.headers) <= {
        "host", "user-agent", "accept", "accept-encoding", "connection", "x-vault-request", CORRELATION_HEADER.lower()
    }  # fmt: skip
    assert [one.path for one in elsewhere.asked] == ["/v1/sys/health"]


def test_every_question_has_a_number_of_its_own_that_goes_with_it() -> None:
    """By it Vault's audit entry is found again; the answer knows it as well."""
    with Scripted(Answer(403, {"errors": ["no"]})) as server:
        client = at(server)
        replies = [ask(client) for ask, *_ in QUESTIONS * 3]
    sent = [asked.headers[CORRELATION_HEADER.lower()] for asked in server.asked]
    assert sent == [reply.correlation for reply in replies]
    assert len(set(sent)) == len(sent) == 3 * len(QUESTIONS)


def test_threads_never_share_a_number() -> None:
    with Scripted() as server:
        client = at(server)
        crew = [threading.Thread(target=lambda: [client.health() for _ in range(5)]) for _ in range(6)]
        for thread in crew:
            thread.start()
        for thread in crew:
            thread.join()
    assert len({asked.headers[CORRELATION_HEADER.lower()] for asked in server.asked}) == 30


TOKEN = "hvs.CAESIJlWh1F2uQ4fFh3mHn0"
ACCESSOR = "Vx7kPq2nD0aZr5tYb8wL3cEf"


@pytest.mark.parametrize(
    ("body", "data", "token"),
    [
        (
            {"auth": {"client_token": TOKEN, "accessor": ACCESSOR, "policies": ["web"], "lease_duration": 3600}},
            {"policies": ["web"], "lease_duration": 3600},
            TOKEN,
        ),
        ({"auth": None, "data": {"id": TOKEN, "accessor": ACCESSOR, "ttl": 60}}, {"ttl": 60}, None),
        ({"data": {"token": TOKEN, "kubernetes_host": "h"}}, {"kubernetes_host": "h"}, None),
        ({"keys": ["k1"], "keys_base64": ["k2"], "root_token": TOKEN, "t": 3}, {"t": 3}, None),
        ({"sealed": True, "version": "1.7.0"}, {"sealed": True, "version": "1.7.0"}, None),
        ({"data": ["no", "object"]}, {}, None),
        (["no", "object"], {}, None),
        (b"no JSON", {}, None),
        (b"", {}, None),
    ],
)  # fmt: skip
def test_nothing_that_could_be_used_is_in_an_answers_data(body: Any, data: dict[str, Any], token: str | None) -> None:
    """The token of a login is a Secret beside it; whatever shape the answer has."""
    with Scripted(Answer(body=body)) as server:
        reply = at(server).login("kubernetes", "web", Secret(JWT))
    assert reply.data == data
    assert (reply.token.reveal() if reply.token else None) == token
    assert TOKEN not in repr(reply)
    assert ACCESSOR not in repr(reply)


def test_a_secret_that_was_read_leaves_the_names_of_its_keys() -> None:
    value = {"data": {"data": {"user": "admin", "password": "hunter2-hunter2"}, "metadata": {"version": 1}}}
    with Scripted(Answer(body=value), Answer(404, {"errors": []})) as server:
        granted = at(server).read_secret("secret/data/web", Secret("s.its-own"))
        missing = at(server).read_secret("secret/data/web", Secret("s.its-own"))
    assert granted.data == {"keys": ["password", "user"]}
    assert "hunter2" not in repr(granted)
    assert (missing.status, missing.data) == (404, {})


def test_a_login_sends_the_role_and_the_token_that_logs_in() -> None:
    with Scripted() as server:
        at(server).login("kubernetes", "web", Secret(JWT))
    assert server.asked[0].body == {"role": "web", "jwt": JWT}


def test_initialising_returns_the_keys_and_keeps_the_root_token() -> None:
    """From then on what needs it can be told; every key is known as a secret, in both its forms."""
    keys = [f"{number:02x}" * 33 for number in range(10, 15)]
    coded = [base64.b64encode(bytes.fromhex(key)).decode() for key in keys]
    body = {"keys": keys, "keys_base64": coded, "root_token": ROOT}
    with Scripted(Answer(body=body), Answer(204, b"")) as server:
        client = Vault(server.address, None)
        given = client.initialise(5, 3)
        client.write_policy("web", "# grants nothing")
    assert [key.reveal() for key in given] == keys
    assert server.asked[0].body == {"secret_shares": 5, "secret_threshold": 3}
    assert server.asked[1].headers["x-vault-token"] == ROOT
    assert not [key for key in (*keys, *coded) if key in redact(" ".join((*keys, *coded)))]


def test_a_vault_that_will_not_be_initialised_says_so(nobody: str) -> None:
    """A no is a RigError with its words, and no answer is Unreachable."""
    with Scripted(Answer(400, {"errors": ["Vault is already initialized"]})) as server:
        with pytest.raises(RigError, match="would not initialise: HTTP 400 Vault is already initialized"):
            Vault(server.address, None).initialise(1, 1)
        assert len(server.asked) == 1
    with pytest.raises(Unreachable, match="gave no answer to sys/init: ConnectionRefused"):
        Vault(nobody, None).initialise(1, 1)


ORDERS: list[tuple[Callable[[Vault], object], str, str, Any]] = [
    (lambda v: v.enable_kv("secret", 2), "POST", "/v1/sys/mounts/secret", {"type": "kv", "options": {"version": "2"}}),
    (
        lambda v: v.write_secret("secret/data/web", {"password": Secret("hunter2-hunter2")}, version=2),
        "POST", "/v1/secret/data/web", {"data": {"password": "hunter2-hunter2"}},
    ),
    (lambda v: v.write_policy("web", "# none"), "PUT", "/v1/sys/policies/acl/web", {"policy": "# none"}),
    (
        lambda v: v.write_auth_config("k8s", {"token_reviewer_jwt": Secret(JWT), "disable_local_ca_jwt": False}),
        "POST", "/v1/auth/k8s/config", {"token_reviewer_jwt": JWT, "disable_local_ca_jwt": False},
    ),
    (
        lambda v: v.write_role("k8s", "web", {"bound_service_account_names": ["web"], "ttl": "1h"}),
        "POST", "/v1/auth/k8s/role/web", {"bound_service_account_names": ["web"], "ttl": "1h"},
    ),
    (lambda v: v.enable_auth("team/k8s"), "POST", "/v1/sys/auth/team/k8s", {"type": "kubernetes"}),
    (
        lambda v: v.enable_audit(),
        "PUT", "/v1/sys/config/auditing/request-headers/X-Rehearsal-Id", {"hmac": False},
    ),
]  # fmt: skip
every_order = pytest.mark.parametrize(
    ("order", "method", "path", "body"), ORDERS, ids=[path for _, _, path, _ in ORDERS]
)


@every_order
def test_what_is_told_is_written_where_it_belongs(
    order: Callable[[Vault], object], method: str, path: str, body: Any
) -> None:
    """With the root token, and with secrets in clear: the wire is what they are for."""
    with Scripted(Answer(body={"data": {"team/k8s/": {"accessor": "auth_1"}}})) as server:
        order(at(server))
    asked = server.asked[0]
    assert (asked.method, asked.path, asked.body) == (method, path, body)
    assert {one.headers["x-vault-token"] for one in server.asked} == {ROOT}


@every_order
def test_an_order_that_is_declined_says_which_and_in_whose_words(
    order: Callable[[Vault], object], method: str, path: str, body: Any
) -> None:
    """And it is given once."""
    with Scripted(Answer(400, {"errors": ["unsupported", "really"]})) as server:
        with pytest.raises(RigError) as declined:
            order(at(server))
        assert len(server.asked) == 1
    assert str(declined.value) == f"Vault declined to write {path.removeprefix('/v1/')}: HTTP 400 unsupported; really"


@every_order
def test_an_order_that_nobody_hears_is_not_declined(
    order: Callable[[Vault], object], method: str, path: str, body: Any, nobody: str
) -> None:
    """That would be Vault's answer, and there was none."""
    with pytest.raises(Unreachable, match=r"gave no answer to .* ConnectionRefused"):
        order(Vault(nobody, None, Secret(ROOT)))


@every_order
def test_an_order_without_a_root_token_is_not_given(
    order: Callable[[Vault], object], method: str, path: str, body: Any
) -> None:
    with Scripted() as server:
        with pytest.raises(RigError, match=r"cannot be told .*: it is not initialised, there is no root token"):
            order(Vault(server.address, None))
        assert server.asked == []


def test_a_new_mount_is_known_by_its_accessor() -> None:
    """By the path's own entry, among all mounts there are."""
    mounts = {"token/": {"accessor": "auth_token_1"}, "k8s/": {"accessor": "auth_kubernetes_2"}}
    with Scripted(Answer(204, b""), Answer(body={"data": mounts, **mounts})) as server:
        assert at(server).enable_auth("k8s") == "auth_kubernetes_2"
    assert [asked.path for asked in server.asked] == ["/v1/sys/auth/k8s", "/v1/sys/auth"]


def test_mounts_that_cannot_be_listed_are_an_error_of_their_own() -> None:
    with (
        Scripted(Answer(204, b""), Answer(500, {"errors": ["internal"]})) as server,
        pytest.raises(RigError, match="declined to list its auth mounts: HTTP 500 internal"),
    ):
        at(server).enable_auth("k8s")


def test_the_audit_log_has_our_header_in_clear_before_it_begins() -> None:
    """Or its first entries could not be joined; everything else in it stays hashed by Vault."""
    with Scripted(Answer(204, b"")) as server:
        Vault(server.address, None, Secret(ROOT), audit_file="/work/audit.log").enable_audit()
    header, device = server.asked
    assert header.path.endswith(f"/request-headers/{CORRELATION_HEADER}")
    assert (device.method, device.path) == ("PUT", "/v1/sys/audit/rehearsal")
    assert device.body["type"] == "file"
    assert device.body["options"] == {"file_path": "/work/audit.log", "mode": "0600", "hmac_accessor": "true"}
