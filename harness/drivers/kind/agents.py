"""A Vault Agent as a Pod with the image of its version: made with what the injector writes for it, read on its node."""

from __future__ import annotations

import abc
import itertools
import json
import shlex
from collections.abc import Iterator, Mapping
from string import Template
from typing import Final

from harness import wait
from harness.artifacts import templates
from harness.artifacts.images import VAULT, Image
from harness.drivers import vault_agent
from harness.drivers.kind.cluster import KindCluster
from harness.drivers.kind.vault_container import VaultContainer
from harness.drivers.kind.vault_nodes import NodePod
from harness.drivers.kind.vault_pod import NODE_FOLDER, VaultPod
from harness.drivers.log_tail import Pieces
from harness.drivers.vault_agent import CONFIG, FILES, JWT, TOKEN, KeepsAgents, Left, StartedAgent
from harness.errors import RigError
from harness.host import pki
from harness.rig.agents import Agent
from harness.rig.rig import Reply
from harness.scenario.topology import Topology
from harness.secret import Secret
from harness.wait import now

_TOLD: Final = "/agent/told"
_WRITTEN: Final = "/agent/written"
_LINES: Final = 20_000
_RUNNING_SECONDS: Final = 120
_LOOK: Final = (
    f"cd {{folder}} 2>/dev/null; date +%s.%N; cat {TOKEN} 2>/dev/null; echo; stat -c '%Y %s' {FILES}* 2>/dev/null; true"
)


class KindAgent(StartedAgent):
    """One agent in a Pod of its own, with the service account of its app."""

    _every = 0.5

    def __init__(self, agent: Agent, cluster: KindCluster, account: str, run: str, name: str, *, stays: bool) -> None:
        """What it writes is in a folder of the node that is called after the *run*: a kubelet removes what is in the
        volumes of a Pod itself once that has ended.
        """
        self._agent, self._cluster, self._stays = agent, cluster, stays
        self._written = f"{NODE_FOLDER}/{run}-{name}"
        self._namespace, self._account = account.split("/")
        self.name, self._uid = name, ""

    def start(self, image: str, server: VaultPod | VaultContainer | NodePod, jwt: Secret) -> None:
        """Make its Pod, which asks the Vault of *server*, and wait until it runs. Raises NotReady where it does not."""
        address, called = server.within
        files = {"ca.crt": server.authority.ca, "tls.crt": server.authority.client[0]}
        files["tls.key"] = server.authority.client[1]
        paths = [f"{_TOLD}/{name}" for name in files] if address.startswith("https") else []
        vault = vault_agent.Vault(address, *paths)
        told = vault_agent.config(self._agent, vault, _WRITTEN, stays=self._stays, jwt=f"{_TOLD}/{JWT}")
        manifest = self._cluster.directory / f"{self.name}.yaml"
        environment = [{"name": "HOME", "value": _WRITTEN}, {"name": "VAULT_TLS_SERVER_NAME", "value": called}]
        filled = Template(templates.text("agent.yaml")).substitute(
            name=json.dumps(self.name),
            namespace=json.dumps(self._namespace),
            service_account=json.dumps(self._account),
            node=json.dumps(self._cluster.node),
            image=json.dumps(image),
            written=json.dumps(self._written),
            environment=json.dumps(environment),
            told=json.dumps(
                {CONFIG: json.dumps(told), JWT: jwt.reveal()} | {name: path.read_text() for name, path in files.items()}
            ),
        )
        pki.write_private(manifest, filled.encode())
        self._cluster.kube.create_all(manifest)
        manifest.unlink()
        self._uid = wait.until(
            self._runs,
            what=f"the Pod of Vault Agent {self._agent.version} to run",
            seconds=_RUNNING_SECONDS,
            log=lambda: self._cluster.kube.complaints(self._namespace, self.name),
        )

    def kill(self) -> None:
        """Delete its Pod at once, and what it wrote."""
        if self._uid:
            self._cluster.kube.delete_pod(self._namespace, self.name)
            self._cluster.run("rm", "-rf", self._written)

    def _runs(self) -> str | None:
        state = self._cluster.kube.pod(self._namespace, self.name)
        return state.uid if state is not None and (state.running or state.status is not None) else None

    def _left(self) -> Left:
        state = self._cluster.kube.pod(self._namespace, self.name)
        if state is None or state.uid != self._uid:
            raise RigError(f"the Pod of Vault Agent {self._agent.version} is gone: see who deleted it, and run again")
        lines = self._cluster.pod_log(self._namespace, self.name, self._uid, "agent", _LINES)
        look = _LOOK.format(folder=shlex.quote(self._written))
        at, token, *written = self._cluster.read("sh", "-c", look).splitlines()
        whole = [float(line.split()[0]) for line in written if line.strip() and not line.endswith(" 0")]
        age = round(float(at) - min(whole), 1) if whole else None
        exit_code = None if state.running else state.status
        return Left("\n".join(Pieces().whole(lines)), exit_code, Secret(token) if token else None, len(whole), age)


class RunsKindAgents(KeepsAgents[KindAgent]):
    """A rig of kind clusters that starts agents: for once, or beside an app, in the cluster of that."""

    _run_id: str
    _topology: Topology
    _clusters: Mapping[str, KindCluster]
    _images: Mapping[tuple[str, str], Image]
    _agent_numbers: Iterator[int]
    _agents_loaded: set[tuple[str, str]]
    """the clusters, and the versions whose images were brought there"""

    def _begin_agents(self) -> None:
        self._sidecars, self._agent_numbers, self._agents_loaded = {}, itertools.count(1), set()

    @property
    @abc.abstractmethod
    def answering(self) -> VaultPod | VaultContainer | NodePod:
        """Return the Vault that answers."""

    def run_agent(self, app: str, agent: Agent, jwt: Secret) -> Reply:
        """Start an agent, and wait until it has ended by itself or said what Vault answered."""
        one, started = self._agent(app, agent, stays=False), now()
        try:
            one.start(self._image(app, agent), self.answering, jwt)
            one.wait()
            return one.state(started)
        finally:
            one.kill()

    def _begin(self, app: str, agent: Agent, jwt: Secret) -> KindAgent:
        one = self._agent(app, agent, stays=True)
        one.start(self._image(app, agent), self.answering, jwt)
        return one

    def _agent(self, app: str, agent: Agent, *, stays: bool) -> KindAgent:
        wanted = self._topology.apps[app]
        name = f"vault-agent-{next(self._agent_numbers)}"
        agent = self._as_told(app, agent)
        return KindAgent(agent, self._clusters[wanted.cluster], wanted.service_account, self._run_id, name, stays=stays)

    def _image(self, app: str, agent: Agent) -> str:
        cluster, image = self._clusters[self._topology.apps[app].cluster], self._images[VAULT, agent.version].name
        if (cluster.name, agent.version) not in self._agents_loaded:
            cluster.load(image)
            self._agents_loaded.add((cluster.name, agent.version))
        return image
