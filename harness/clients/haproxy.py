"""Everything said to HAProxy: how it balances the nodes of a Vault by what each says of its health."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from harness.clients import packaged

NODE_HEADER: Final = "X-Rehearsal-Node"
"""The header of an answer that names the node which gave it."""

CHECK_SECONDS: Final = 2
"""HAProxy's own default: each node is asked for its health that often."""
FALL: Final = 3
"""HAProxy's own default: after so many wrong answers in a row a node gets no request any more."""
RISE: Final = 2
"""HAProxy's own default: after so many right ones it gets requests again."""

_CONFIG: Final = """\
global
    log stdout format raw daemon
    nbthread 1
    maxconn 2000

defaults
    mode http
    log global
    option httplog
    timeout connect 5s
    timeout client 60s
    timeout server 60s

frontend vault
    bind {address} ssl crt {certificate} ca-file {ca} verify required
    default_backend nodes

backend nodes
    # the active node alone says 200: a standby 429, 472 or 473, one that is not initialised 501, a sealed one 503
    option httpchk
    http-check send meth GET uri /v1/sys/health
    http-check expect status 200
    http-response set-header {header} %s
    default-server inter {every}s fall {fall} rise {rise} check ssl crt {client} ca-file {ca} verify required
{servers}
"""


def program() -> Path:
    """Return the path of HAProxy. Raises MissingPrerequisite, which names the package, where there is none."""
    return packaged.program("haproxy", "HAProxy", "which balances the nodes of a Vault")


def command(config: Path) -> list[str]:
    """Return the command line of one in the foreground, with this *config*."""
    return [str(program()), "-db", "-f", str(config)]


def config(port: int, nodes: Mapping[str, str], *, ca: Path, certificate: Path, client: Path) -> str:
    """Return the configuration of one on *port* of loopback before *nodes*, which are hosts with ports by their names.

    It shows *certificate*, wants one of *ca* of whoever asks, and shows *client* to the nodes: each of the two is a
    file with the certificate and its key.
    """
    return _CONFIG.format(
        address=f"127.0.0.1:{port}",
        certificate=certificate,
        ca=ca,
        client=client,
        header=NODE_HEADER,
        every=CHECK_SECONDS,
        fall=FALL,
        rise=RISE,
        servers="\n".join(f"    server {name} {node}" for name, node in nodes.items()),
    )
