"""The proxies before API servers, as real servers: what each answers, and that its end is known."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest

from harness.drivers.proxies import Proxies
from harness.errors import RigError
from harness.host import pki, proxy
from harness.host.ports import Ports
from harness.host.process import Supervisor
from harness.rig.rig import ClusterFacts, Endpoint
from harness.wait import until

pytestmark = pytest.mark.processes


@pytest.fixture
def proxies(tmp_path: Path) -> Iterator[Proxies]:
    """Proxies of a run of their own."""
    with Ports(tmp_path / "ports") as ports, Supervisor("proxied", tmp_path / "work", tmp_path / "live") as supervisor:
        yield Proxies(supervisor.room, supervisor, ports)


def asked(there: Endpoint) -> tuple[int, str]:
    """Return the status and the text with which a proxy answers a request with a token."""
    trust = ssl.create_default_context(cadata=there.ca)
    request = urllib.request.Request(f"{there.host}/apis", b"{}", {"Authorization": "Bearer none"})
    try:
        with urllib.request.urlopen(request, context=trust, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()


def test_each_proxy_answers_as_it_is_called(proxies: Proxies, tmp_path: Path) -> None:
    """The one that passes on stands before the one with a page here: whose answer it hands back, unchanged."""
    nobody = ClusterFacts("apps", "1.32.0", "https://127.0.0.1:1", pki.Authority(tmp_path, "a").ca.read_text(), "")

    def before(word: str) -> Endpoint:
        return proxies.endpoint(nobody, word)

    page, denying, cutting = before("proxy-html"), before("proxy-401"), before("proxy-reset")
    passing = proxies.endpoint(msgspec.structs.replace(nobody, host=page.host, ca=page.ca), "proxy")
    assert asked(denying)[0] == 401
    assert asked(page)[0] == 200
    assert "<html>" in asked(page)[1]
    assert asked(passing) == asked(page)
    where = urlsplit(cutting.host)
    # Without TLS: Python's own leaves a socket open if a connection is reset before its handshake begins.
    with (
        pytest.raises(ConnectionError, match="reset"),
        socket.create_connection((where.hostname or "", where.port or 0), timeout=10) as plain,
    ):
        plain.recv(1)
    assert before("proxy") is passing  # it is not started twice
    with pytest.raises(RigError, match="stands for no proxy"):
        before("cluster")


def test_a_proxy_that_knows_no_audiences_leaves_out_those_alone() -> None:
    said = json.dumps({"kind": "TokenReview", "status": {"authenticated": True, "audiences": ["a"]}}).encode()
    assert json.loads(proxy._without_audiences(said)) == {"kind": "TokenReview", "status": {"authenticated": True}}
    assert proxy._without_audiences(b"not found") == b"not found"
    assert json.loads(proxy._without_audiences(b'{"status": "Failure"}')) == {"status": "Failure"}


def test_a_proxy_that_ended_is_told(proxies: Proxies, tmp_path: Path) -> None:
    """From then on Vault's answers say nothing of Vault."""
    authority = pki.Authority(tmp_path, "a").ca.read_text()
    proxies.endpoint(ClusterFacts("apps", "1.32.0", "https://127.0.0.1:1", authority, ""), "proxy-reset")
    assert proxies.died() is None
    ((_, server),) = proxies._there.values()
    os.kill(server.pid, signal.SIGKILL)
    assert "proxy-reset before apps" in str(until(proxies.died, what="its end", seconds=10))
