"""A program that stands in for etcd, kube-apiserver or Vault, well or badly: only what a rehearsal asks of them.

Started as `python -I -S -B stand_in.py PRODUCT VERSION FAULT ...`; what follows are the server's own arguments.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NoReturn

Answer = tuple[int, dict[str, Any]]
PANIC = "panic: runtime error: invalid memory address or nil pointer dereference\n\ngoroutine 1 [running]:\nmain.main()"


def end(words: str, status: int) -> NoReturn:
    """Say *words* and be gone at once, from any thread."""
    with contextlib.suppress(OSError):
        os.write(1, f"{words}\n".encode(errors="surrogateescape"))
    os._exit(status)


def hang() -> NoReturn:
    """Do nothing, for ever."""
    while True:
        signal.pause()


def fill_disk() -> NoReturn:
    """Write until there is no more room here, and end as a server does then."""
    try:
        with Path("filler").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 16))
    except OSError as error:
        end(f"write filler: {os.strerror(error.errno or 0).lower()}", 1)


BEGINNINGS: dict[str, Callable[[], object]] = {
    "hang": hang,
    "exit": lambda: end("error loading configuration: no storage given", 3),
    "silent exit": lambda: os._exit(1),
    "garbage": lambda: end("\udcff\udcfe\0\x1b[2J {not JSON\n" * 3, 1),
    "panic": lambda: end(PANIC, 2),
    "fill": fill_disk,
    "deaf": lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),
}


class Handler(BaseHTTPRequestHandler):
    """Hands every request to the server's `answer`."""

    server: Server

    def handle_any(self) -> None:
        """Read the request, and write what `answer` makes of it."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, answer = self.server.answer(self, json.loads(body) if body else {})
        content = b"<html>It works!</html>" if self.server.fault == "html" else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """What both servers have in common."""

    allow_reuse_address, daemon_threads = True, True

    def __init__(self, version: str, fault: str, port: int) -> None:
        self.version, self.fault = version, fault
        try:
            super().__init__(("127.0.0.1", port), Handler)
        except OSError as error:
            end(f"listen tcp 127.0.0.1:{port}: bind: {os.strerror(error.errno or 0).lower()}", 1)

    def answer(self, asked: Handler, body: dict[str, Any]) -> Answer:
        """Return status and content."""
        raise NotImplementedError


class Vault(Server):
    """A Vault whose data outlives it. An app is let in as long as its cluster's API server takes connections."""

    def __init__(self, version: str, fault: str, config: str) -> None:
        settings = json.loads(Path(config).read_text())
        listener = settings["listener"]["tcp"]
        super().__init__(version, fault, int(listener["address"].rpartition(":")[2]))
        if not listener["tls_disable"]:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(listener["tls_cert_file"], listener["tls_key_file"])
            context.load_verify_locations(listener["tls_client_ca_file"])
            context.verify_mode = ssl.CERT_REQUIRED
            self.socket = context.wrap_socket(self.socket, server_side=True)
        (storage,) = settings["storage"].values()
        self.file = Path(storage["path"]) / "everything.json"
        self.data: dict[str, Any] = json.loads(self.file.read_text()) if self.file.exists() else {}
        self.sealed = True

    def answer(self, asked: Handler, body: dict[str, Any]) -> Answer:
        """Return what Vault would answer, or be at fault."""
        path = asked.path.removeprefix("/v1/")
        if self.fault == "mute":
            hang_thread()
        if self.fault == "fill late" and path.endswith("/login"):
            fill_disk()
        if self.fault == "dies at login" and path.endswith("/login"):
            end(PANIC, 2)
        if path == "sys/unseal":
            return self.unseal()
        status, answer = self.answer_sanely(asked, path, body)
        with contextlib.suppress(OSError):
            self.file.write_text(json.dumps(self.data))
        return status, answer

    def unseal(self) -> Answer:
        """Open, or be at fault."""
        if self.fault == "refuses keys":
            return 400, {"errors": ["cipher: message authentication failed"]}
        if self.fault in ("dies at unseal", "another version that panics"):
            end(PANIC, 2)
        if self.fault == "dies after unseal":
            threading.Timer(0.3, end, (PANIC, 2)).start()
        self.sealed = self.fault == "stays sealed"
        return 200, {"sealed": False}

    def answer_sanely(self, asked: Handler, path: str, body: dict[str, Any]) -> Answer:
        """Return what a healthy Vault would answer."""
        kept = self.data
        if path in ("sys/seal-status", "sys/health"):
            version = "9.9.9" if self.fault.startswith("another version") else self.version
            state = {"initialized": bool(kept), "sealed": self.sealed, "version": version, "type": "shamir"}
            return 200 if path == "sys/seal-status" or not self.sealed else 503, state
        if path == "sys/init":
            kept |= {"auth": {}, "tokens": []}
            return 200, {"keys": ["unseal-key-0001"], "keys_base64": [], "root_token": "root-token-0001"}
        if path == "sys/auth":
            return 200, {"data": {f"{name}/": {"accessor": f"auth_{name}"} for name in kept["auth"]}}
        if path.startswith("sys/auth/"):
            kept["auth"][path.removeprefix("sys/auth/")] = {}
            return 204, {}
        if path.startswith("auth/token/"):
            known = asked.headers.get("X-Vault-Token") in kept["tokens"]
            return (200, {"data": {"renewable": True}}) if known else (403, {"errors": ["permission denied"]})
        if path.startswith("auth/"):
            return self.mount(asked.command, path, body)
        if asked.command == "GET":
            return 200, {"data": {"data": {"password": "x"}}}
        return 200, {}

    def mount(self, method: str, path: str, body: dict[str, Any]) -> Answer:
        """Answer for an auth mount: config, roles and logins."""
        _, name, what = path.split("/", 2)
        mount = self.data["auth"][name]
        if what == "login":
            return self.login(mount, body)
        if method == "GET":
            return 200, {"data": mount[what]}
        mount[what] = body
        return 204, {}

    def login(self, mount: dict[str, Any], body: dict[str, Any]) -> Answer:
        """Let the app in, and nobody else."""
        who = json.loads(base64.urlsafe_b64decode(body["jwt"].split(".")[1] + "=="))["sub"]
        genuine = body["jwt"].endswith(f".{signature()}")
        if not genuine or who != "system:serviceaccount:apps:web" or f"role/{body['role']}" not in mount:
            return 403, {"errors": ["permission denied"]}
        try:
            port = int(mount["config"]["kubernetes_host"].rpartition(":")[2])
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            return 403, {"errors": ["permission denied"]}
        token = f"token-of-the-app-{len(self.data['tokens']):08d}"
        self.data["tokens"].append(token)
        return 200, {"auth": {"client_token": token, "policies": ["web"], "renewable": True}}


class ApiServer(Server):
    """An API server that creates whatever it is told to, and is ready as long as there is an etcd."""

    def __init__(self, version: str, fault: str, flags: dict[str, str]) -> None:
        super().__init__(version, fault, int(flags["secure-port"]))
        self.audit = Path(flags["audit-log-path"])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(flags["tls-cert-file"], flags["tls-private-key-file"])
        self.socket = context.wrap_socket(self.socket, server_side=True)

    def answer(self, asked: Handler, body: dict[str, Any]) -> Answer:
        """Return what an API server would answer."""
        kind = asked.path.partition("?")[0].rstrip("/").rpartition("/")[2]
        if kind == "readyz":
            if self.fault == "no roles" and "bootstrap-roles" not in asked.path:
                return 500, {"reason": "poststarthook/rbac/bootstrap-roles failed"}
            return (200, {}) if Path("etcd.sock").exists() else (500, {"reason": "etcd failed"})
        if kind == "namespaces" and self.fault == "takes nothing":
            Path("asked").touch()
            hang_thread()
        if kind == "version":
            names = ("buildDate", "compiler", "gitCommit", "gitTreeState", "goVersion", "major", "minor", "platform")
            return 200, dict.fromkeys(names, "x") | {"gitVersion": f"v{self.version}"}
        if kind == "tokenreviews":
            with self.audit.open("a") as file:
                file.write(json.dumps({"userAgent": asked.headers["User-Agent"]}) + "\n")
        if kind == "token":
            return 201, {"spec": {"audiences": []}, "status": self.token(asked.path)}
        return 201, body | {"metadata": body.get("metadata", {}) | {"uid": f"uid-{time.monotonic_ns()}"}}

    @staticmethod
    def token(path: str) -> dict[str, str]:
        """Return a token for the service account that the path names."""
        parts = path.split("/")
        claims = {"sub": f"system:serviceaccount:{parts[4]}:{parts[6]}", "iss": "here", "at": time.monotonic_ns()}
        words = (json.dumps(words).encode() for words in ({"alg": "none"}, claims))
        text = ".".join(base64.urlsafe_b64encode(word).decode().rstrip("=") for word in words)
        return {"token": f"{text}.{signature()}", "expirationTimestamp": "2100-01-01T00:00:00Z"}


def signature() -> str:
    """Return what a genuine token ends with."""
    return base64.urlsafe_b64encode(b"signed by the stand-in, truly").decode().rstrip("=")


def hang_thread() -> NoReturn:
    """Have one connection wait for ever."""
    while True:
        time.sleep(3600)


def main(product: str, version: str, fault: str, *words: str) -> None:
    """Be the server, or at fault."""
    if fault in BEGINNINGS:
        BEGINNINGS[fault]()
    flags = dict(word.removeprefix("--").removeprefix("-").partition("=")[::2] for word in words)
    if product == "etcd":
        Path("etcd.sock").touch()
        hang()
    if product == "vault" and fault != "deaf":
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: end("==> Vault shutdown triggered", 0))
        signal.signal(
            signal.SIGQUIT, lambda *_: end("SIGQUIT: quit\nPC=0x47a0c1 m=0 sigcode=0\n\ngoroutine 1 [select]:", 2)
        )
    server = Vault(version, fault, flags["config"]) if product == "vault" else ApiServer(version, fault, flags)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
