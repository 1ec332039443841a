"""A Vault that lies, is slow or sends on: an import shows its token to nobody else, and says what came back."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme
from click.testing import CliRunner, Result

from harness.cli.commands import main

pytestmark = pytest.mark.processes

TOKEN = "hvs.tell-tale-of-the-users-own-vault-token"


@contextmanager
def serving(
    answer: bytes, *, status: int = 200, headers: dict[str, str] | None = None
) -> Iterator[tuple[str, list[str]]]:
    """Yield the address of a server with a certificate, whose CA is `trusted.pem`, and the tokens that it was shown."""
    shown: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            shown.append(self.headers.get("X-Vault-Token", ""))
            self.send_response(status)
            for name, value in {"Content-Length": str(len(answer)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_words: object) -> None:
            """Say nothing."""

    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        authority.cert_pem.write_to_path("trusted.pem")
        yield f"https://127.0.0.1:{server.server_address[1]}", shown
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def imported(address: str, monkeypatch: pytest.MonkeyPatch, *words: str) -> Result:
    monkeypatch.setenv("VAULT_TOKEN", TOKEN)
    result = CliRunner().invoke(main, ["import", "--vault-addr", address, *words])
    assert TOKEN not in result.output
    assert "Traceback" not in result.output
    return result


@pytest.fixture(autouse=True)
def _in_a_place_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_certificate_of_another_ca_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No token is shown to it, with another CA and with none."""
    trustme.CA().cert_pem.write_to_path("other.pem")
    with serving(b"{}") as (address, shown):
        for words in (["--vault-ca-file", "other.pem"], []):
            result = imported(address, monkeypatch, *words)
            assert result.exit_code == 3
            assert "--vault-ca-file" in result.stderr
    assert shown == []


def test_no_redirect_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token goes to nobody but the address that was named; the other one is told."""
    away = {"Location": "https://elsewhere.invalid/v1/sys/auth"}
    with serving(b"", status=307, headers=away) as (address, _):
        result = imported(address, monkeypatch, "--vault-ca-file", "trusted.pem")
    assert result.exit_code == 3
    assert "elsewhere.invalid" in result.stderr


@pytest.mark.parametrize("answer", [b"<html>", b"[]", b"\xff"])
def test_what_is_no_vault_is_said_to_be_none(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(answer) as (address, _):
        result = imported(address, monkeypatch, "--vault-ca-file", "trusted.pem")
    assert result.exit_code == 3
    assert "is a Vault at this address?" in result.stderr


def test_a_vault_that_gives_no_answer_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """It listens and says nothing."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        result = imported(f"http://127.0.0.1:{silent.getsockname()[1]}", monkeypatch, "--timeout", "0.3")
    assert result.exit_code == 3
    assert "no answer within 0.3 s" in result.stderr


def test_an_answer_that_nobody_would_give_breaks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same object for every question: whatever comes of it is said, and not a fault of this tool."""
    body = {"version": "1.11.0", "sealed": False, "data": {"kubernetes/": {"type": "kubernetes"}, "keys": ["a", "b"]}}
    with serving(json.dumps(body).encode()) as (address, _):
        result = imported(address, monkeypatch, "--vault-ca-file", "trusted.pem")
    assert result.exit_code in (0, 4), result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)


def test_an_api_server_without_tls_is_shown_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"token": TOKEN}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
    }
    Path("config").write_text(json.dumps(config))
    for context, said in (("x", "without TLS"), ("no-such", "cannot be used")):
        result = CliRunner().invoke(main, ["import", "--kubeconfig", "config", "--context", f"apps={context}"])
        assert result.exit_code == 2
        assert said in result.stderr
        assert TOKEN not in result.output
