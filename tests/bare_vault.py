"""A bare Vault of any cached version, in memory, with the Kubernetes auth method mounted: to ask what it takes."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import platformdirs
import requests

MOUNT = "kubernetes"
_ROOT = "root-of-a-vault-in-memory"


def binary(version: str) -> Path:
    """Return the cached binary of a Vault version."""
    cache = Path(platformdirs.user_cache_dir("rehearse"))
    (found,) = cache.glob(f"artifacts/vault/{version}-*/vault")
    return found


class BareVault:
    """A Vault that answers."""

    def __init__(self, version: str, port: int) -> None:
        self.version, self._base = version, f"http://127.0.0.1:{port}/v1/"
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers["X-Vault-Token"] = _ROOT

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, Any]:
        """Return the status and the JSON of an answer."""
        answer = self._session.request(method, self._base + path, json=body, timeout=30)
        return answer.status_code, answer.json() if answer.content else {}

    def write(self, path: str, body: Mapping[str, Any]) -> str:
        """Return why Vault refuses to write something below the mount; nothing where it takes it."""
        status, answer = self.ask("POST", f"auth/{MOUNT}/{path}", body)
        return "" if status < 300 else " ".join(answer["errors"])


@contextmanager
def running(version: str, directory: Path) -> Iterator[BareVault]:
    """Yield a Vault of *version*, which is not in a Pod."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    words = [str(binary(version)), "server", "-dev", f"-dev-root-token-id={_ROOT}"]
    words.append(f"-dev-listen-address=127.0.0.1:{port}")
    log = directory / "vault.log"
    with log.open("wb") as out, subprocess.Popen(words, stdout=out, stderr=out, env={"HOME": str(directory)}) as server:
        try:
            vault, deadline = BareVault(version, port), time.monotonic() + 60
            while True:
                try:
                    assert vault.ask("POST", f"sys/auth/{MOUNT}", {"type": "kubernetes"})[0] < 300
                    break
                except requests.ConnectionError:
                    assert time.monotonic() < deadline, log.read_text()
                    assert server.poll() is None, log.read_text()
                    time.sleep(0.1)
            yield vault
        finally:
            server.terminate()
            server.wait(30)
