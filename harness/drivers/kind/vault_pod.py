"""The life of one Vault as a StatefulSet of one Pod in a kind cluster: its upgrade is another image and a rollout."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from string import Template
from typing import Final, TypeVar

from harness import wait
from harness.artifacts import templates
from harness.artifacts.brought import LICENCE_FILE
from harness.clients.kube_states import PodState
from harness.clients.vault import Vault
from harness.drivers import vault_config
from harness.drivers.kept_vault import Objects
from harness.drivers.kind.cluster import VAULT_PORT, KindCluster, Where
from harness.drivers.kind.vault_data import COPY
from harness.drivers.log_tail import Pieces, PodTail, as_json
from harness.drivers.vault_config import Listening
from harness.errors import RigError, Unreachable
from harness.host import pki
from harness.knowledge import shutdown_signs
from harness.secret import Secret, redact

T = TypeVar("T")

TOKEN_VOLUME: Final = "kube-api-access-*"
"""The volume in which a Pod has its service account's token, if nobody says otherwise; its name ends at random."""

BESIDE: Final = "snapshot-{}"
"""The name of a Vault beside the one that runs, by its number."""

NODE_FOLDER: Final = "/var/lib/rehearsal"  # emptied where a cluster is lent to another run
GUARDED: Final = "guarded.json"
PLAIN: Final = "plain.json"
OPEN: Final = "open.json"
"""Vault's configurations: with one it talks to us alone, with one to everybody, and with one to everybody over TLS, and
takes note of whatever certificate is shown.
"""

_ROLLOUT_SECONDS: Final = 120
_WHOLE: Final = 10_000  # lines: a Go program that is told to quit prints all its stacks after the reason
_HOPELESS: Final = (
    "ErrImageNeverPull", "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CreateContainer", "RunContainerError",
    "StartError", "ContainerCannotRun",
)  # fmt: skip
_SIGKILL_STATUS: Final = 128 + signal.SIGKILL
LINES_BETWEEN: Final = 4
"""So many lines a container prints for one of Vault's own words: those of the audit log stand between them."""


def settings(storage: str) -> dict[str, str]:
    """Return the configurations of a Vault in a container, whose data is at /vault/data, as JSON, by their names."""
    clients = {GUARDED: "/vault/tls/ca.crt", OPEN: ""}
    listening = {name: Listening("/vault/tls/tls.crt", "/vault/tls/tls.key", one) for name, one in clients.items()}
    return {name: _settings(storage, listening.get(name)) for name in (GUARDED, OPEN, PLAIN)}


def _settings(storage: str, tls: Listening | None) -> str:
    return vault_config.text(
        vault_config.in_directory(storage, "/vault/data"),
        listen=f"0.0.0.0:{VAULT_PORT}",
        tls=tls,
        address=f"{'https' if tls else 'http'}://127.0.0.1:{VAULT_PORT}",
        cluster_address=f"https://127.0.0.1:{VAULT_PORT + 1}",
    )


class VaultPod:
    """Vault over one volume of its cluster. `roll_out` starts it, and takes it from version to version.

    It talks to us alone, by our certificate: a Pod is reached by every user of this machine, and a Vault that is not
    initialised yet belongs to whoever is first. After `listen_plainly` the next rollout has it talk to everybody.
    """

    def __init__(
        self,
        directory: Path,
        cluster: KindCluster,
        account: str,
        run: str,
        *,
        storage: str,
        port: int,
        licence: Secret | None = None,
        name: str = "vault",
        node_port: int = VAULT_PORT,
    ) -> None:
        """*account* is namespace/name of its service account; *port* the port of this machine where it answers.

        That leads to *node_port* of its node. Its data is in a folder of the node that is called after the *run*.
        *licence* is handed to every version. *name* is that of its StatefulSet.
        """
        directory.mkdir(mode=0o700)
        self._directory, self._cluster, self._licence = directory, cluster, licence
        self._name, self._pod, self._node_port = name, f"{name}-0", node_port
        self._data = f"{NODE_FOLDER}/{run}" if name == "vault" else f"{NODE_FOLDER}/{run}-{name}"
        self._kept = f"{self._data}-kept"
        self.namespace, self.account = account.split("/")
        self._authority = pki.Authority(directory, "127.0.0.1", f"vault.{self.namespace}.svc", client=True)
        self._configs = settings(storage)
        self._config = GUARDED
        # Two readers of one file: Vault's own words, and its audit log, which goes to stdout.
        self.log, self.audit = PodTail(directory / "vault.log"), PodTail(directory / "vault.log")
        self.client = Vault(
            f"https://127.0.0.1:{port}",
            self._authority.ca,
            audit_file="stdout",
            certificate=self._authority.client,
        )
        self._uid = ""
        self._version, self._rollouts = "", 0
        self.keeps = False

    @property
    def authority(self) -> pki.Authority:
        """Return whose certificates let others in."""
        return self._authority

    @property
    def within(self) -> tuple[str, str]:
        """Return its address for whoever is in the network of the run, and the name that its certificate has."""
        scheme = self.client.address.partition(":")[0]
        return f"{scheme}://{self._cluster.address}:{self._node_port}", f"vault.{self.namespace}.svc"

    def listen_plainly(self) -> None:
        """Have the next rollout listen with plain HTTP, to whoever asks."""
        self.client.listens_plainly()
        self._config = PLAIN

    def listen_to_certificates(self) -> None:
        """Have the next rollout listen to whoever asks over TLS, and take note of whatever certificate is shown."""
        self._config = OPEN

    def continue_over(self, other: VaultPod) -> None:
        """Have the next rollout be over the data of *other*, which is stopped and starts no more."""
        self._data = other._data

    def keep_data(self) -> int:
        """Copy the data of this Vault, which is sealed, in place of an earlier copy. Return how many bytes that is."""
        self.keeps = True
        self._copy(self._data, self._kept)
        return int(self._cluster.read("du", "-sb", self._kept).split()[0])

    def put_back_data(self) -> None:
        """Replace the data of this Vault, which is sealed, by the copy that was kept."""
        self._copy(self._kept, self._data)

    def held(self) -> list[Where]:
        """Return where its data are, and then where the copy of them is that it keeps, if it keeps one."""
        folders = [self._data, *([self._kept] if self.keeps else [])]
        return [self._cluster.in_volume(folder) for folder in folders]

    def copy_data(self) -> str:
        """Copy the data of this Vault, which is sealed, to a folder of the node that outlives it; return its path."""
        self._copy(self._data, f"{self._data}-source")
        return f"{self._data}-source"

    def begin_with(self, data: str, root: Secret | None) -> None:
        """Have the first start be over a copy of *data*, of a Vault that is initialised, whose root token is *root*.

        Raises RigError.
        """
        self._copy(data, self._data)
        self.client.root = root

    def take_place(self) -> None:
        """Wait until a Vault that was here before, and is being stopped, is gone, and remove what it leaves.

        Raises as `roll_out`.
        """
        self._await("the Pod of the Vault before this one to be gone", lambda: self._state() is None)
        self.remove()

    def remove(self) -> None:
        """Remove it, which is stopped, from its cluster."""
        self._cluster.kube.delete_stateful_set(self.namespace, self._name)

    def _copy(self, source: str, target: str) -> None:
        # what is in the folder, and not the folder: a Pod that runs has mounted that
        self._cluster.run("sh", "-c", COPY, "sh", source, target)

    def roll_out(self, version: str, image: str, *, token_file: bool) -> PodState:
        """Start *version*, or replace the one that runs, and return its Pod once it answers, sealed or not initialised.

        Raises ProcessDied with its last lines, NotReady, and RigError where something else than Vault is to blame.
        """
        self._version, self._rollouts = version, self._rollouts + 1
        gone = self._uid
        if self._rollouts == 1:
            self._create(image, token_file=token_file)
        else:
            self._roll(image, token_file=token_file)
        pod = self._await(f"the Pod of Vault {version} to be made", lambda: self._new(gone))
        self._uid = pod.uid
        self._cluster.follow_pod(self.namespace, self._pod, self._uid, "vault", self.log.path)
        self._await(f"Vault {version} to answer", lambda: self.client.seal_status().answered())
        return pod

    def begin_to_stop(self) -> None:
        """Scale the StatefulSet to no Pod. The next rollout makes a new one."""
        if self._uid:
            self._cluster.kube.change_stateful_set(self.namespace, self._name, {"replicas": 0})

    def stop(self) -> None:
        """Have no Pod, and return when it is gone. The next rollout makes a new one."""
        self.begin_to_stop()
        if self._uid:
            self._await(f"the Pod of Vault {self._version} to be gone", lambda: self._state() is None)

    def kill(self) -> None:
        """Do nothing: it goes with its cluster, or when that is emptied."""

    def died(self) -> str | None:
        """Return a sentence if Vault has ended by itself; its Pod may have started it again since.

        Raises RigError where that says nothing about Vault: its Pod can never run, it was killed, its node is gone.
        """
        try:
            state = self._state()
        except Unreachable as error:
            if lost := self._cluster.died():
                raise RigError(f"{lost}, and Vault {self._version} with it; see why, and run again") from error
            return None
        if state is None or state.uid != self._uid:
            return None
        if state.waiting.startswith(_HOPELESS):
            raise RigError(f"the Pod of Vault {self._version} cannot run: {state.waiting}", self._complaints())
        if state.killed_for_memory:
            raise RigError(
                f"Vault {self._version} was killed, because its memory ran out: make room and run again", self.tail(40)
            )
        if state.status == _SIGKILL_STATUS:
            raise RigError(
                f"Vault {self._version} was killed from outside by SIGKILL, which was not its own doing: see who did, "
                "and run again",
                self.tail(40),
            )
        if not state.restarts and state.status is None:
            return None
        if who := shutdown_signs.stopped(self.tail(_WHOLE)):
            raise RigError(shutdown_signs.blame(self._version, who), self.tail(40))
        now = f", and its Pod is now {state.waiting}" if state.waiting else ""
        return f"Vault {self._version} ended by itself with status {state.status}{now}"

    def tail(self, lines: int = 40) -> list[str]:
        """Return the last *lines* that the Vault of this version printed, redacted; none where nobody can be asked."""
        try:
            # of its node, because a Vault that ended just now has last words that are not here yet
            log = self._cluster.pod_log(self.namespace, self._pod, self._uid, "vault", LINES_BETWEEN * lines)
        except (Unreachable, RigError):
            return []
        return _words(log)[-lines:]

    def whole_log(self) -> list[str]:
        """Return what every version of Vault printed, redacted."""
        try:
            said = _words(self.log.path.read_text(errors="replace").splitlines())
        except FileNotFoundError:
            said = []
        known = set(said)
        return said + [line for line in self.tail() if line not in known]

    def _create(self, image: str, *, token_file: bool) -> None:
        files = [self._authority.certificate, self._authority.key, self._authority.ca]
        secrets = {path.name: path.read_text() for path in files}
        environment = [{"name": "VAULT_LOG_FORMAT", "value": "json"}, {"name": "HOME", "value": "/tmp"}]  # noqa: S108
        if self._licence:
            secrets[LICENCE_FILE] = self._licence.reveal()
            environment.append({"name": "VAULT_LICENSE_PATH", "value": f"/vault/tls/{LICENCE_FILE}"})
        manifest = self._directory / "vault.yaml"
        filled = Template(templates.text("vault.yaml")).substitute(
            name=json.dumps(self._name),
            port=self._node_port,
            namespace=json.dumps(self.namespace),
            service_account=json.dumps(self.account),
            node=json.dumps(self._cluster.node),
            data=json.dumps(self._data),
            image=json.dumps(image),
            token_file=json.dumps(token_file),
            configs=json.dumps(self._configs),
            command=json.dumps(self._command()),
            tls=json.dumps(secrets),
            environment=json.dumps(environment),
        )
        pki.write_private(manifest, filled.encode())
        self._cluster.kube.create_all(manifest)

    def _roll(self, image: str, *, token_file: bool) -> None:
        """Begin the rollout of another image. Its number has that happen also where all else is as before."""
        container = {"name": "vault", "image": image, "command": self._command()}
        data = {"name": "data", "hostPath": {"path": self._data, "type": "DirectoryOrCreate"}}
        spec = {"automountServiceAccountToken": token_file, "containers": [container], "volumes": [data]}
        template = {"metadata": {"annotations": {"rehearsal": f"rollout {self._rollouts}"}}, "spec": spec}
        change = {"replicas": 1, "template": template}
        self._cluster.kube.change_stateful_set(self.namespace, self._name, change)

    def _command(self) -> list[str]:
        return ["/bin/vault", "server", f"-config=/vault/config/{self._config}"]

    def _await(self, what: str, condition: Callable[[], T]) -> T:
        return wait.until(
            condition,
            what=what,
            seconds=_ROLLOUT_SECONDS,
            every=0.05,
            died=self.died,
            log=lambda: [*self._complaints(), *self.tail()],
            advice="its log and those of the node are kept beside the record",
        )

    def _new(self, gone: str) -> PodState:
        state = self._state()
        if state is None or state.uid == gone:
            raise Unreachable("the Pod of the version before it is still there" if state else "there is no Pod")
        return state

    def _state(self) -> PodState | None:
        return self._cluster.kube.pod(self.namespace, self._pod)

    def _complaints(self) -> list[str]:
        kube = self._cluster.kube
        try:
            # where there is no Pod, its StatefulSet knows why
            return [
                *kube.complaints(self.namespace, self._name),
                *kube.complaints(self.namespace, self._pod, self._uid),
            ]
        except (Unreachable, RigError) as error:
            return [str(error)]


def objects(namespace: str, name: str) -> Objects:
    """Return what is in a cluster of the Vault of this *name* alone."""
    beside = {(kind, namespace, name) for kind in ("configmaps", "secrets")}
    return frozenset({("pods", namespace, f"{name}-0"), *beside})


def is_audit(line: str) -> bool:
    """Whether a line that Vault printed is of its audit log, and none of its own words."""
    # its fields have another order in every release
    entry = as_json(line) if '"type":"re' in line else None
    return entry is not None and entry.get("type") in ("request", "response")


def _words(log: Iterable[str]) -> list[str]:
    """Return what stands in a Pod's *log* as printed, redacted, but for the audit log."""
    return [redact(line) for line in Pieces().whole(log) if not is_audit(line)]
