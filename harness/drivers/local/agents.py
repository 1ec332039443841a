"""A Vault Agent as a process: started with what the injector writes for it, read by its log, and ended."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from harness import wait
from harness.artifacts import brought
from harness.artifacts.binaries import Artifact
from harness.drivers.local.vault_nodes import VaultNodes
from harness.drivers.local.vault_process import VaultServer
from harness.errors import NotReady
from harness.host import pki
from harness.host.process import Process, Supervisor
from harness.knowledge.versions import at_least
from harness.rig.agents import Agent
from harness.rig.rig import Reply
from harness.scenario import driver_traits
from harness.secret import Secret
from harness.wait import now

_SECONDS: Final = 30
"""How long an agent is given to get what it wants, or to say what it was answered."""
_LINES: Final = 200
_KEEPS_ON: Final = "1.8.0"
"""From here on an agent retries what its templates read for ever, unless it is told not to, as the injector does."""

_ANSWERED: Final = re.compile(
    r"URL: \w+ \S+?/v1/(\S+)[\s|]+Code: (\d+)\. Errors:[\s|]+\* ([^\n]*?)(?: \(retry|\" backoff=|\"?(?:\n|$))"
)
"""What an agent's log has of an answer that it did not like: the path, the status, and Vault's first error. From 1.8.0
on every line of it begins with a bar."""


class RunsLocalAgents:
    """A rig of processes that starts agents, each in a directory of its own, which is gone once it has ended."""

    _work: Path
    _supervisor: Supervisor
    _binaries: Mapping[tuple[str, str], Artifact]
    _vaults: VaultNodes
    _leading: VaultServer

    def run_agent(self, agent: Agent, jwt: Secret) -> Reply:
        """Start an agent, and wait until it has ended by itself or said what Vault answered."""
        server = self._vaults.servers[agent.node] if agent.node else self._leading
        with tempfile.TemporaryDirectory(prefix="agent-", dir=self._work, ignore_cleanup_errors=True) as directory:
            return self._run(agent, server, jwt, Path(directory))

    def _run(self, agent: Agent, server: VaultServer, jwt: Secret, directory: Path) -> Reply:
        binary = self._binaries[driver_traits.server("vault", agent.version)]
        pki.write_private(directory / "jwt", jwt.reveal().encode())
        pki.write_private(directory / "agent.json", json.dumps(_config(agent, server, directory)).encode())
        started = now()
        with brought.steady(binary):
            running = self._supervisor.start(
                f"Vault Agent {agent.version}",
                [str(binary.path), "agent", f"-config={directory / 'agent.json'}"],
                env={"HOME": str(directory)},
                cwd=directory,
                log=directory / "agent.log",
            )
        try:
            wait.until(
                lambda: running.poll() is not None or _answered(running) is not None,
                what=f"Vault Agent {agent.version} to log in",
                seconds=_SECONDS,
            )
            silent = ""
        except NotReady:
            silent = f"Vault Agent {agent.version} neither had what it wanted nor said what it was answered"
        ended, said = now(), _answered(running)
        exit_code = running.poll()
        tail = running.tail()
        running.kill()
        data: dict[str, Any] = {
            "agent": agent.version,
            "exit": exit_code,
            "token": (directory / "token").exists(),
            "files": sum(file.stat().st_size > 0 for file in directory.glob("file-*")),
        }
        if said is not None:
            return Reply(int(said[2]), said[3], {**data, "refused": said[1]}, started=started, ended=ended)
        if exit_code == 0:
            return Reply(200, "", data, started=started, ended=ended)
        why = silent or f"Vault Agent {agent.version} ended with status {exit_code}: {' '.join(tail[-3:])}"
        return Reply(None, why, data, started=started, ended=ended)


def _answered(running: Process) -> re.Match[str] | None:
    return _ANSWERED.search("\n".join(running.tail(_LINES)))


def _config(agent: Agent, server: VaultServer, directory: Path) -> dict[str, Any]:
    """Return the configuration that the injector writes for an init container (vault-k8s, agent-inject/agent).

    Beside it stand the CA and the certificate with which this Vault lets itself be asked, and that no answer is asked
    for again before the agent says what it was.
    """
    certificate, key = server.authority.client
    # agents of 1.7.0 to 1.10.0 ask again for minutes, without a word, where they are answered 500 (run)
    vault: dict[str, Any] = {"address": server.client.address, "retry": {"num_retries": -1}}
    if server.client.address.startswith("https"):
        vault |= {"ca_cert": str(server.authority.ca), "client_cert": str(certificate), "client_key": str(key)}
    method = {
        "type": "kubernetes",
        "mount_path": f"auth/{agent.mount}",
        "config": {"role": agent.role, "token_path": str(directory / "jwt")},
    }
    written: dict[str, Any] = {
        "exit_after_auth": True,
        "vault": vault,
        "auto_auth": {"method": method, "sink": [{"type": "file", "config": {"path": str(directory / "token")}}]},
    }
    if agent.reads:
        written["template"] = [
            {
                "destination": str(directory / f"file-{number}"),
                "contents": f'{{{{ with secret "{path}" }}}}{{{{ range $k, $v := .Data }}}}{{{{ $k }}}}: {{{{ $v }}}}\n'
                "{{ end }}{{ end }}",
            }
            for number, path in enumerate(agent.reads)
        ]
        if at_least(agent.version, _KEEPS_ON):
            written["template_config"] = {"exit_on_retry_failure": True}
    return written
