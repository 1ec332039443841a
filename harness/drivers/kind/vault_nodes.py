"""A Vault of several nodes as a StatefulSet of several Pods: what each is, and what brings a new one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from harness.clients.kube_states import PodState
from harness.clients.vault import Vault
from harness.drivers.audit_devices import AuditDevices
from harness.drivers.kind.audit_disks import AuditDisks
from harness.drivers.kind.cluster import NODE_PORTS, VAULT_PORT, KindCluster
from harness.drivers.kind.one_pod import OnePod
from harness.drivers.kind.vault_data import EMPTY
from harness.drivers.kind.vault_pod import ALONE, GUARDED, NODE_FOLDER, TLS, command, create, program, settings
from harness.drivers.log_collection import Lines
from harness.drivers.log_tail import PodTail
from harness.drivers.vault_config import Joining
from harness.drivers.vault_stores import Store
from harness.errors import RigError
from harness.host import pki
from harness.knowledge import versions
from harness.secret import Secret

_NAME: Final = "vault"
_AMONG: Final = "vault-internal"
"""The headless Service in which each Pod has a name that stays."""

_TLS: Final = "/vault/tls"
_NOWHERE: Final = "stopped.invalid/stopped"
"""The image of a Pod that is to be there and to run nothing: a StatefulSet leaves none out but the last."""

_TIMEOUT_SECONDS: Final = 10
"""How long an answer is waited for: who asks a Pod as it goes may never hear that the connection is closed."""

_ON_DELETE: Final = {"type": "OnDelete", "rollingUpdate": None}
_PROBE: Final = [
    "status",
    f"-address=https://127.0.0.1:{VAULT_PORT}",
    f"-ca-cert={_TLS}/ca.crt",
    f"-client-cert={_TLS}/client.crt",
    f"-client-key={_TLS}/client.key",
]


class Together:
    """The lines that the Vaults of several Pods have printed, of all of them: each writes an audit log of its own."""

    def __init__(self, tails: Sequence[PodTail]) -> None:
        self._tails = tails

    def lines(self) -> list[str]:
        """Return the lines since the last call, those of one Pod after those of another."""
        return [line for tail in self._tails for line in tail.lines()]


class NodePod(OnePod):
    """One of several Pods, in which one node of Vault runs over a folder of its own."""

    def __init__(self, nodes: VaultNodes, number: int, log: Path, port: int) -> None:
        """*port* is that of this machine at which it answers."""
        super().__init__(nodes.cluster, nodes.namespace, _NAME, f"{_NAME}-{number}", log)
        self.name, self.number, self.authority, self._nodes = self._pod, number, nodes.authority, nodes
        self.client = Vault(
            f"https://127.0.0.1:{port}",
            nodes.authority.ca,
            audit_file="stdout",
            certificate=nodes.authority.client,
            name=self.name,
            timeout=_TIMEOUT_SECONDS,
        )
        self._stopped = ""

    @property
    def audit(self) -> Lines:
        """Return the audit log of all nodes: whoever leads writes what a standby was asked."""
        return self._nodes.audit

    @property
    def among(self) -> str:
        """Return the address at which the other nodes find it."""
        return f"https://{self.name}.{_AMONG}:{VAULT_PORT}"

    @property
    def within(self) -> tuple[str, str]:
        """Return its address for whoever is in the network of the run, and the name that its certificate has."""
        return f"https://{self._cluster.address}:{NODE_PORTS[self.number]}", self._nodes.called

    def roll_out(self, version: str, image: str, *, token_file: bool, rolling: bool = False) -> PodState:
        """Start *version* in a new Pod, and return that once it answers, sealed or not initialised.

        *rolling*: it is the StatefulSet that replaces the Pod, once those with higher numbers are ready. Raises as the
        Vault of one Pod.
        """
        self._version, gone = version, self._uid or self._stopped
        self._nodes.put_in_place(self.number, image, version, token_file=token_file, rolling=rolling)
        return self._comes(gone, self.client)

    def stop(self) -> None:
        """Have a Pod in its place that runs nothing, unless one is there. The next rollout makes another one."""
        if not self.started:
            return
        gone, self._uid = self._uid, ""
        self._nodes.put_in_place(self.number, _NOWHERE, self._version, token_file=False)
        pod = self._await(f"the Pod of {versions.called(self._version)} to be gone", lambda: self._new(gone))
        self._stopped = pod.uid

    def kill(self) -> None:
        """Do nothing: it goes with its cluster, or when that is emptied."""

    def listen_plainly(self) -> None:
        """Raise: of several nodes nobody asks that, nor what is below."""
        raise self._alone

    def continue_over(self, other: Any) -> None:
        """Raise."""
        del other
        raise self._alone

    def keep_data(self) -> int:
        """Raise."""
        raise self._alone

    def put_back_data(self) -> None:
        """Raise."""
        raise self._alone

    @property
    def version(self) -> str:
        """Return the one that was started last; empty: none was."""
        return self._version

    def remove_data(self) -> None:
        """Remove its data from its cluster's node, once it is stopped: the next start is over none."""
        self._nodes.remove_data(self.number)

    def join_nobody(self) -> None:
        """Have its configuration name no other node from its next Pod on."""
        self._nodes.alone.add(self.number)

    def join_others(self) -> None:
        """Have its configuration name the other nodes from its next Pod on, as it does from the beginning."""
        self._nodes.alone.discard(self.number)

    @property
    def _alone(self) -> RigError:
        return RigError(f"{self.name} is one of several nodes, and that is done with the only one")


class VaultNodes:
    """The StatefulSet. Its Pods come one after the other: the first with the data, and each other one joins it."""

    def __init__(
        self,
        directory: Path,
        cluster: KindCluster,
        account: str,
        run: str,
        *,
        ports: Sequence[int],
        licence: Mapping[str, Secret],
        store: Store | None = None,
    ) -> None:
        """*account* is namespace/name of the service account of all; a Pod answers at one of *ports* of this machine.

        *licence* is handed to every version, if there is one, by the name of its file. *store* has the data of all, if
        that is another server: they are over raft otherwise.
        """
        directory.mkdir(mode=0o700)
        self._directory, self.cluster, self._licence = directory, cluster, licence
        self._data, self._store = f"{NODE_FOLDER}/{run}", store
        self.namespace, self._account = account.split("/")
        self.called = f"{_NAME}.{self.namespace}.svc"
        names = [f"{_NAME}-{number}" for number in range(len(ports))]
        hosts = [f"{name}.{_AMONG}" for name in names]
        self.authority = pki.Authority(directory, "127.0.0.1", self.called, *hosts, client=True)
        self._hosts, self._replicas, self._rollouts = hosts, 0, 0
        self.alone = set[int]()
        """the numbers of the Pods whose configuration names no others"""
        logs = [directory / f"{name}.log" for name in names]
        self._disks: AuditDisks | None = None
        self.audit: Lines = Together([PodTail(log) for log in logs])
        pods = [NodePod(self, number, log, ports[number]) for number, log in enumerate(logs)]
        self.pods = {pod.name: pod for pod in pods}

    def audit_by(self, devices: AuditDevices, disks: AuditDisks) -> None:
        """Have their audit log be what *devices* write, of which those that are files are on *disks*.

        All nodes write to the same. It goes to stdout otherwise. To be called before the first rollout.
        """
        self.audit, self._disks = devices, disks
        for pod in self.pods.values():
            devices.introduce(pod.client, PodTail(pod.log.path))

    def put_in_place(self, number: int, image: str, version: str, *, token_file: bool, rolling: bool = False) -> None:
        """Have the Pod of this *number* be a new one, of *version* and its *image*. All others stay as they are.

        *rolling*: by a RollingUpdate that has come down to it, whose partition keeps it from going on by itself: what a
        node was when it was stopped is to be known.
        """
        kube = self.cluster.kube
        if not rolling or number == len(self.pods) - 1:
            # of one update all Pods are of the same revision
            self._rollouts += 1
        if not self._replicas:
            self._create(image, version, token_file=token_file)
        else:
            config = ALONE if number in self.alone else GUARDED
            words = command(config, version, secret=self._store is not None)
            ready = {"exec": {"command": [program(version), *_PROBE]}}
            container = {"name": "vault", "image": image, "command": words, "readinessProbe": ready}
            spec = {"automountServiceAccountToken": token_file, "containers": [container]}
            template = {"metadata": {"annotations": {"rehearsal": f"rollout {self._rollouts}"}}, "spec": spec}
            update = {"type": "RollingUpdate", "rollingUpdate": {"partition": number}} if rolling else _ON_DELETE
            change = {"replicas": max(self._replicas, number + 1), "template": template, "updateStrategy": update}
            kube.change_stateful_set(self.namespace, _NAME, change)
            if number < self._replicas and not rolling:
                kube.delete_pod(self.namespace, f"{_NAME}-{number}", at_once=False)
        self._replicas = max(self._replicas, number + 1)

    def remove_data(self, number: int) -> None:
        """Remove the data of the Pod of this *number*, in which no Vault runs. Raises RigError."""
        self.cluster.run("sh", "-c", EMPTY, "sh", f"{self._data}/{_NAME}-{number}")

    def _create(self, image: str, version: str, *, token_file: bool) -> None:
        if self._disks is not None:
            self._disks.make()
        files = [self.authority.certificate, self.authority.key, self.authority.ca, *self.authority.client]
        licence = {name: text.reveal() for name, text in self._licence.items()}
        configs = self._configs
        create(
            self.cluster,
            self._directory,
            "vault-nodes.yaml",
            name=_NAME,
            among=_AMONG,
            doors=[self._door(pod) for pod in self.pods.values()],
            spare=(len(self.pods) - 1) // 2,
            namespace=self.namespace,
            service_account=self._account,
            data=self._data,
            image=image,
            token_file=token_file,
            configs={} if self._store else configs,
            command=command(GUARDED, version, secret=self._store is not None),
            probe=[program(version), *_PROBE],
            tls={path.name: path.read_text() for path in files} | licence | self._secrets(configs),
            environment=self._environment(),
            audit={"name": "audit", **(self._disks.volume if self._disks else {"emptyDir": {}})},
        )

    def _secrets(self, configs: Mapping[str, str]) -> dict[str, str]:
        """Return what is secret of the servers that have the data, the *configs* that name them among it."""
        if self._store is None:
            return {}
        return {**configs, **{name: path.read_text() for name, path in self._store.files.items()}}

    @property
    def _configs(self) -> dict[str, str]:
        if self._store is not None:
            # whoever holds the lock in it leads, and only where it is said are there such locks
            high = {kind: {**fields, "ha_enabled": "true"} for kind, fields in self._store.stored_within(TLS).items()}
            return settings("", kept_in=high)
        return settings("raft", [Joining(f"https://{host}:{VAULT_PORT}", *_JOINED_BY) for host in self._hosts])

    def _environment(self) -> list[dict[str, Any]]:
        said = {"VAULT_LOG_FORMAT": "json", "HOME": "/tmp"}  # noqa: S108
        for file in self._licence:
            said["VAULT_LICENSE_PATH"] = f"{_TLS}/{file}"
        # by names that stay: a Pod that comes back has another address, and a configuration of raft has those of before
        said["VAULT_API_ADDR"] = f"https://$(VAULT_RAFT_NODE_ID).{_AMONG}:{VAULT_PORT}"
        said["VAULT_CLUSTER_ADDR"] = f"https://$(VAULT_RAFT_NODE_ID).{_AMONG}:{VAULT_PORT + 1}"
        called = {"name": "VAULT_RAFT_NODE_ID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
        return [called, *({"name": name, "value": value} for name, value in said.items())]

    def _door(self, pod: NodePod) -> dict[str, Any]:
        """Return a Service by which the port of its node leads to one Pod, also while that is sealed."""
        return {
            "metadata": {"name": f"{pod.name}-outside", "namespace": self.namespace},
            "spec": {
                "type": "NodePort",
                "publishNotReadyAddresses": True,
                "selector": {"statefulset.kubernetes.io/pod-name": pod.name},
                "ports": [{"port": VAULT_PORT, "nodePort": NODE_PORTS[pod.number]}],
            },
        }


_JOINED_BY: Final = (f"{_TLS}/ca.crt", f"{_TLS}/client.crt", f"{_TLS}/client.key")
