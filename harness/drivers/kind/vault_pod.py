"""The life of one Vault as a StatefulSet of one Pod in a kind cluster: its upgrade is another image and a rollout."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any, Final, NamedTuple

from harness.artifacts import templates
from harness.artifacts.brought import LICENCE_FILE
from harness.clients.kube_states import PodState
from harness.clients.vault import Vault
from harness.drivers import vault_config
from harness.drivers.audit_devices import AuditDevices
from harness.drivers.kept_vault import Objects
from harness.drivers.kind.audit_disks import AuditDisks
from harness.drivers.kind.cluster import NEXT_VAULT_PORT, VAULT_PORT, KindCluster, Where
from harness.drivers.kind.one_pod import OnePod
from harness.drivers.kind.vault_data import COPY
from harness.drivers.log_collection import Lines
from harness.drivers.log_tail import PodTail
from harness.drivers.vault_config import Joining, Listening, Stored, Unsealing
from harness.drivers.vault_stores import Store
from harness.errors import RigError
from harness.host import pki
from harness.knowledge import versions
from harness.secret import Secret

TOKEN_VOLUME: Final = "kube-api-access-*"
"""The volume in which a Pod has its service account's token, if nobody says otherwise; its name ends at random."""

BESIDE: Final = "snapshot-{}"
"""The name of a Vault beside the one that runs, by its number."""

TURNS: Final = {"vault": VAULT_PORT, "vault-2": NEXT_VAULT_PORT}
"""The names that Vaults have by turns, and at which port of the node each answers: one comes while the other is still
there, asked by the rehearsal before its own, or being taken down by a kubelet."""

NODE_FOLDER: Final = "/var/lib/rehearsal"  # emptied where a cluster is lent to another run
GUARDED: Final = "guarded.json"
PLAIN: Final = "plain.json"
OPEN: Final = "open.json"
ALONE: Final = "alone.json"
"""Vault's configurations: with one it talks to us alone, with one to everybody, and with one to everybody over TLS, and
takes note of whatever certificate is shown. Where there are others to join, one more is to us alone and names nobody.
"""


SEAL_TOKEN: Final = "seal-token"
"""The key of a Secret under which the token is by which the Vault that unseals knows this one."""

TLS: Final = "/vault/tls"
"""Where a Vault in a container finds files that are secret."""

SEAL_FILES: Final = ("seal-ca.crt", "seal.crt", "seal.key")
"""The files by which a Vault and the one that unseals it know each other."""


class Turn(NamedTuple):
    """What a Vault has of its own beside one that is still there."""

    name: str
    node_port: int
    port: int
    """of this machine, which leads to that of the node"""


def pod_of(name: str) -> str:
    """Return the name of the only Pod of a StatefulSet."""
    return f"{name}-0"


def by_seal(config: str, unsealing: Unsealing | None) -> str:
    """Return the name of a configuration like *config*, by which Vault is unsealed so; None: by its keys."""
    if unsealing is None:
        return config
    return f"{'leaving' if unsealing.disabled else 'transit'}-{config}"


def of_product(config: str, version: str) -> str:
    """Return the name of a configuration like *config*, as the product of a *version* wants it."""
    return f"{versions.OPENBAO}-{config}" if versions.product(version) == versions.OPENBAO else config


def program(version: str) -> str:
    """Return what runs a *version* in its image. Of OpenBao's the releases have it in one folder or another."""
    return "bao" if versions.product(version) == versions.OPENBAO else "/bin/vault"


def from_within(unsealer: Unsealing) -> Unsealing:
    """Return the same Vault that unseals as one in a container is told of it, which has its files at /vault/tls."""
    ca, certificate, key = (f"/vault/tls/{file}" for file in SEAL_FILES)
    return unsealer._replace(ca=ca, certificate=certificate, key=key)


def settings(
    storage: str,
    others: Sequence[Joining] = (),
    kept_in: Stored | None = None,
    unsealing: Unsealing | None = None,
) -> dict[str, str]:
    """Return the configurations of a Vault in a container, whose data is at /vault/data, as JSON, by their names.

    Where there are *others* to join, its environment says what it is called, and by which addresses. *kept_in* is the
    server that has its data, as its configuration has that: with its password. *unsealing* is the Vault that may unseal
    this one: there is one more of each with that as its seal, and one with that as the seal that it leaves (`by_seal`).
    There is one more of each for OpenBao (`of_product`), which nobody but its keys unseals.
    """
    clients = {GUARDED: "/vault/tls/ca.crt", OPEN: ""}
    listening = {name: Listening("/vault/tls/tls.crt", "/vault/tls/tls.key", one) for name, one in clients.items()}
    stored = kept_in or vault_config.in_directory(
        storage, "/vault/data", node="" if others else "node-1", others=others
    )
    seals = [None] if unsealing is None else [None, unsealing, unsealing._replace(disabled=True)]
    found = {
        by_seal(name, seal): _settings(stored, listening.get(name), seal)
        for name in (GUARDED, OPEN, PLAIN)
        for seal in seals
    }
    found |= {
        f"{versions.OPENBAO}-{name}": _settings(stored, listening.get(name), openbao=True)
        for name in (GUARDED, OPEN, PLAIN)
    }
    if others:
        nobody = vault_config.in_directory(storage, "/vault/data", node="")
        found[ALONE] = _settings(nobody, listening[GUARDED])
        found[f"{versions.OPENBAO}-{ALONE}"] = _settings(nobody, listening[GUARDED], openbao=True)
    return found


def _settings(
    stored: Stored, tls: Listening | None, unsealing: Unsealing | None = None, *, openbao: bool = False
) -> str:
    return vault_config.text(
        stored,
        listen=f"0.0.0.0:{VAULT_PORT}",
        tls=tls,
        address=f"{'https' if tls else 'http'}://127.0.0.1:{VAULT_PORT}",
        cluster_address=f"https://127.0.0.1:{VAULT_PORT + 1}",
        openbao=openbao,
        unsealing=unsealing,
    )


def command(config: str, version: str, *, secret: bool = False) -> list[str]:
    """Return what runs a *version* in a container with one of Vault's configurations. *secret*: it is in a Secret."""
    file = f"/vault/{'tls' if secret else 'config'}/{of_product(config, version)}"
    return [program(version), "server", f"-config={file}"]


def create(cluster: KindCluster, directory: Path, template: str, **values: object) -> None:
    """Create what a *template* describes in a cluster, filled with *values* as JSON and with the name of its node.

    Some of them are secret: the manifest is a file in *directory* that nobody else reads.
    """
    filled = Template(templates.text(template)).substitute(
        node=json.dumps(cluster.node), **{name: json.dumps(value) for name, value in values.items()}
    )
    manifest = directory / "vault.yaml"
    pki.write_private(manifest, filled.encode())
    cluster.kube.create_all(manifest)


class VaultPod(OnePod):
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
        store: Store | None = None,
        unsealer: Unsealing | None = None,
    ) -> None:
        """*account* is namespace/name of its service account; *port* the port of this machine where it answers.

        That leads to *node_port* of its node. Its data is in a folder of the node that is called after the *run*.
        *licence* is handed to every version. *name* is that of its StatefulSet. *store* is what has its data,
        if that is another server. *unsealer* is the Vault that may unseal this one, by files of this machine.
        """
        directory.mkdir(mode=0o700)
        namespace, self._account = account.split("/")
        super().__init__(cluster, namespace, name, pod_of(name), directory / "vault.log")
        self._directory, self._licence, self._node_port = directory, licence, node_port
        self._names = {name}
        self._data = f"{NODE_FOLDER}/{run}" if name == "vault" else f"{NODE_FOLDER}/{run}-{name}"
        self._kept = f"{self._data}-kept"
        self._authority = pki.Authority(directory, "127.0.0.1", f"vault.{self.namespace}.svc", client=True)
        self._store = store
        self._unsealer = unsealer
        self._disks: AuditDisks | None = None
        self._unsealing: Unsealing | None = None
        within = from_within(unsealer) if unsealer else None
        self._configs = settings(storage, kept_in=store.stored_within(TLS) if store else None, unsealing=within)
        self._config = GUARDED
        self.audit: Lines = PodTail(self.log.path)
        """a second reader of that file, where Vault's audit log goes to stdout"""
        self.client = Vault(
            f"https://127.0.0.1:{port}",
            self._authority.ca,
            audit_file="stdout",
            certificate=self._authority.client,
        )
        self._rollouts, self._is_made = 0, False
        self.keeps = False

    @property
    def name(self) -> str:
        """Return the name of its StatefulSet."""
        return self._name

    @property
    def folder(self) -> str:
        """Return the folder of its node that has its data."""
        return self._data

    @property
    def authority(self) -> pki.Authority:
        """Return whose certificates let others in."""
        return self._authority

    @property
    def within(self) -> tuple[str, str]:
        """Return its address for whoever is in the network of the run, and the name that its certificate has."""
        scheme = self.client.address.partition(":")[0]
        return f"{scheme}://{self._cluster.address}:{self._node_port}", f"vault.{self.namespace}.svc"

    def audit_by(self, devices: AuditDevices, disks: AuditDisks) -> None:
        """Have its audit log be what *devices* write, of which those that are files are on *disks*.

        It goes to stdout otherwise. To be called before the first rollout.
        """
        self.audit, self._disks = devices, disks
        devices.introduce(self.client, PodTail(self.log.path))

    def listen_plainly(self) -> None:
        """Have the next rollout listen with plain HTTP, to whoever asks."""
        self.client.listens_plainly()
        self._config = PLAIN

    def listen_to_certificates(self) -> None:
        """Have the next rollout listen to whoever asks over TLS, and take note of whatever certificate is shown."""
        self._config = OPEN

    def unseal_by(self, token: Secret | None, *, disabled: bool = False) -> None:
        """Have the next rollout be unsealed by the Vault that may, which knows this one by a *token*; None: by keys.

        *disabled*: by its keys, while that is the seal that it is to leave. A Pod that is there, and starts Vault anew,
        has another token at once, as it is in a Secret, and the other configuration only once it is rolled out.
        """
        assert self._unsealer is not None
        self._unsealing = None if token is None else self._unsealer._replace(token=token, disabled=disabled)
        if self._is_made and token is not None:
            self._cluster.kube.change_secret(self.namespace, self._name, SEAL_TOKEN, token)

    def continue_over(self, other: VaultPod) -> None:
        """Have the next rollout be over the data of *other*, which is stopped and starts no more."""
        self._data = other._data

    def keep_data(self) -> int:
        """Copy the data of this Vault, which is sealed, in place of an earlier copy. Return how many bytes that is."""
        if self._store is not None:
            return self._store.keep_data()
        self.keeps = True
        self._copy(self._data, self._kept)
        return int(self._cluster.read("du", "-sb", self._kept).split()[0])

    def put_back_data(self) -> None:
        """Replace the data of this Vault, which is sealed, by the copy that was kept."""
        if self._store is not None:
            self._store.put_back_data()
            return
        self._copy(self._kept, self._data)

    def held(self) -> list[Where]:
        """Return where its data are, and then where the copy of them is that it keeps, if it keeps one.

        Nowhere, where another server has them: that stays where it is, and is found again.
        """
        folders = [] if self._store else [self._data, *([self._kept] if self.keeps else [])]
        return [self._cluster.in_volume(folder) for folder in folders]

    def copy_data(self, *, as_it_runs: bool = False) -> str:
        """Copy the data of this Vault, which is sealed, to a folder of the node that outlives it; return its path.

        Or *as it runs*: as a power cut would leave them, which raft's own files bear. Raises RigError.
        """
        kept = f"{self._data}-source"
        if as_it_runs:
            self._copy_as_it_runs(kept, then="CONT")
        else:
            self._copy(self._data, kept)
        return kept

    def begin_with(self, data: str, root: Secret | None) -> None:
        """Have the first start be over a copy of *data*, of a Vault that is initialised, whose root token is *root*.

        Raises RigError.
        """
        self._copy(data, self._data)
        self.client.root = root

    def leave_at_once(self) -> bool:
        """Have nothing of it be in the cluster any more but what it runs. Whoever comes then is to `take_place` first.
        Return whether there was a Pod.

        A kubelet that is asked first looks at its containers two or three times, a second apart, before it lets a Pod
        go; what a Vault says of its end is of no use to anybody any more.
        """
        self.remove()
        return self._cluster.kube.delete_pod(self.namespace, self._pod)

    def go_on_in(self, cluster: KindCluster) -> None:
        """Have all that is done from now on be done by *cluster*, which is the same one as a later rehearsal has it."""
        self._cluster, self.unwanted = cluster, None

    def take_place(self) -> None:
        """Wait until nothing runs any more of a Vault of this name that was here before, and has left.

        Raises as `roll_out`.
        """
        kube, pod = self._cluster.kube, (self.namespace, self._pod)

        def gone() -> bool:
            # again, because that may have failed when it left, and a controller may not know of it yet
            if self.leave_at_once():
                return False
            self._cluster.run("sh", "-c", templates.text("end-pod.sh"), "sh", *pod)
            # and it may have made one since: that would be taken for the next
            return not kube.delete_pod(*pod)

        self._await("the Pod of the Vault before this one to be gone", gone)

    def remove(self) -> None:
        """Remove it from its cluster. A Pod that it has left is removed by a controller some time."""
        self._cluster.kube.delete_stateful_set(self.namespace, self._name)

    def _copy(self, source: str, target: str) -> None:
        # what is in the folder, and not the folder: a Pod that runs has mounted that
        self._cluster.run("sh", "-c", COPY, "sh", source, target)

    def _copy_as_it_runs(self, target: str, *, then: str) -> None:
        script = templates.text("copy-as-it-runs.sh")
        self._cluster.run("sh", "-c", script, "sh", self._uid, self._data, target, then)

    def roll_out(self, version: str, image: str, *, token_file: bool) -> PodState:
        """Start *version*, or replace the one that runs, and return its Pod once it answers, sealed or not initialised.

        Raises ProcessDied with its last lines, NotReady, and RigError where something else than Vault is to blame.
        """
        self._version, self._rollouts = version, self._rollouts + 1
        gone = self._uid
        if self._is_made:
            self._roll(image, token_file=token_file)
        else:
            self._create(image, token_file=token_file)
            self._is_made = True
        return self._comes(gone, self.client)

    def stop(self) -> None:
        """Have no Pod, and return when it is gone. The next rollout makes a new one."""
        if self._uid:
            self._cluster.kube.change_stateful_set(self.namespace, self._name, {"replicas": 0})
            self._await(f"the Pod of {versions.called(self._version)} to be gone", lambda: self._state() is None)

    def end_abruptly(self) -> None:
        """End Vault as a power cut would, if it runs; the next rollout makes all of it anew. Raises as `roll_out`.

        Its StatefulSet goes with its Pod: one that is deleted before a controller has begun a rollout comes as it was.
        """
        if self._uid:
            self.leave_at_once()
            self.take_place()
            self._is_made = False

    def go_on_as(self, at: Turn) -> None:
        """End Vault as a power cut would, if it runs; the next rollout is that of *at*, over a copy of its data.

        Nobody has to wait for a kubelet to take its Pod down, unless it had that name before. Where there is no room
        for a copy, or Vault does not run, that is waited for, and its name stays. Raises as `roll_out`.
        """
        if not self._uid:
            return
        data = f"{self._data}-{at.name}"
        try:
            self._copy_as_it_runs(data, then="KILL")
        except RigError:
            self.end_abruptly()
            return
        self.leave_at_once()
        self._data, self._is_made = data, False
        self._name, self._pod, self._node_port = at.name, pod_of(at.name), at.node_port
        scheme = self.client.address.partition(":")[0]
        self.client.address = f"{scheme}://127.0.0.1:{at.port}"
        if at.name in self._names:
            self.take_place()
        self._names.add(at.name)

    def kill(self) -> None:
        """Do nothing: it goes with its cluster, or when that is emptied."""

    def _create(self, image: str, *, token_file: bool) -> None:
        if self._disks is not None:
            self._disks.make()
        files = [self._authority.certificate, self._authority.key, self._authority.ca]
        secrets = {path.name: path.read_text() for path in files}
        # OpenBao goes by these names as well, where its own (BAO_) are not there
        said = {"VAULT_LOG_FORMAT": "json", "HOME": "/tmp"}  # noqa: S108
        environment: list[dict[str, Any]] = [{"name": name, "value": value} for name, value in said.items()]
        if self._licence:
            secrets[LICENCE_FILE] = self._licence.reveal()
            environment.append({"name": "VAULT_LICENSE_PATH", "value": f"/vault/tls/{LICENCE_FILE}"})
        if self._store is not None:
            secrets |= {name: path.read_text() for name, path in self._store.files.items()}
        if self._unsealer is not None:
            paths = (self._unsealer.ca, self._unsealer.certificate, self._unsealer.key)
            secrets |= {name: Path(path).read_text() for name, path in zip(SEAL_FILES, paths, strict=True)}
            if self._unsealing is not None:
                secrets[SEAL_TOKEN] = self._unsealing.token.reveal()
            # as Vault's chart has it (extraSecretEnvironmentVars); one whose seal is not changed yet has none
            wanted = {"name": self._name, "key": SEAL_TOKEN, "optional": True}
            environment.append({"name": "VAULT_TOKEN", "valueFrom": {"secretKeyRef": wanted}})
        create(
            self._cluster,
            self._directory,
            "vault.yaml",
            name=self._name,
            port=self._node_port,
            namespace=self.namespace,
            service_account=self._account,
            data=self._data,
            image=image,
            token_file=token_file,
            configs={} if self._store else self._configs,
            command=self._command,
            tls=secrets | (self._configs if self._store else {}),
            environment=environment,
            audit={"name": "audit", **(self._disks.volume if self._disks else {"emptyDir": {}})},
        )

    @property
    def _command(self) -> list[str]:
        return command(by_seal(self._config, self._unsealing), self._version, secret=self._store is not None)

    def _roll(self, image: str, *, token_file: bool) -> None:
        """Begin the rollout of another image. Its number has that happen also where all else is as before."""
        container = {"name": "vault", "image": image, "command": self._command}
        data = {"name": "data", "hostPath": {"path": self._data, "type": "DirectoryOrCreate"}}
        spec = {"automountServiceAccountToken": token_file, "containers": [container], "volumes": [data]}
        template = {"metadata": {"annotations": {"rehearsal": f"rollout {self._rollouts}"}}, "spec": spec}
        change = {"replicas": 1, "template": template}
        self._cluster.kube.change_stateful_set(self.namespace, self._name, change)


def objects(namespace: str, name: str) -> Objects:
    """Return what is in a cluster of the Vault of this *name* alone."""
    beside = {(kind, namespace, name) for kind in ("configmaps", "secrets")}
    return frozenset({("pods", namespace, pod_of(name)), *beside})
