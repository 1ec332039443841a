"""The life of one kind cluster: made by the kind command under labels of ours, with a kubeconfig of its own.

The supervisor of the run ends it: whatever carries the labels of the run goes, whoever made it.
"""

from __future__ import annotations

import json
import re
import secrets as random
import shlex
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from string import Template
from typing import Final, NamedTuple, TypeVar

from harness import wait
from harness.artifacts import templates
from harness.artifacts.images import Image
from harness.clients.container_engine import Engine
from harness.clients.kube import Kube
from harness.clients.kube_emptying import Spared
from harness.clients.kube_states import NodeState, PodState
from harness.drivers.log_tail import PodTail, Tail
from harness.errors import RigError, Unreachable
from harness.host import pki, ports
from harness.host.process import Process, Supervisor
from harness.secret import Secret

T = TypeVar("T")

VAULT_PORT: Final = 8200
SECOND_VAULT_PORT: Final = 8202
"""At which a Vault answers that runs beside the first for a while."""
NODE_PORTS: Final = (30200, 30201, 30202)
"""At which the Pods of a Vault of several nodes answer: of those that an API server gives to Services."""
NEXT_VAULT_PORT: Final = 8204
"""At which the Vault of the next rehearsal answers, or of the one after that: by turns with the first."""
VAULT_PORTS: Final = (VAULT_PORT, SECOND_VAULT_PORT, *NODE_PORTS, NEXT_VAULT_PORT)
"""At which Vaults answer on a node, in the order of the ports of this machine that lead to them."""
API_PORT: Final = 6443

_SHARES_ASIDE: Final = "256"
"""A quarter of what a container gets as a rule, where processors are short; elsewhere it changes nothing."""

_CREATE_SECONDS: Final = 300
_PRINT_SECONDS: Final = 10
_LOOK_SECONDS: Final = 0.05
_VAR: Final = "/var"
_KUBELET_PODS: Final = "/var/lib/kubelet/pods"
_POD_LOGS: Final = "/var/log/pods"
_AUDIT_LOG: Final = "/var/log/kubernetes/audit.log"
_COUNTED: Final = re.compile(r"(?m)^ *(\d+) (/\S+)$")
"""A line of `wc -l`, but for that of the sum."""
_LIST_LOGS: Final = f"ls -d {_POD_LOGS}/kube-system_kube-apiserver-*/kube-apiserver/*.log"
_BEGIN: Final = "--- begin ---"
_MARK: Final = "REHEARSAL_WATCH"
_END_WATCHERS: Final = f"""
for one in $(pgrep -x tail); do
    spared=
    for mark; do
        [ -n "$mark" ] && tr "\\0" "\\n" 2>/dev/null <"/proc/$one/environ" | grep -qx "{_MARK}=$mark" && spared=yes
    done
    [ -n "$spared" ] || kill "$one" 2>/dev/null
done
true
"""
"""What a command on a node does goes on when whoever watched it is killed: ends all that watch, but by a mark of $@."""


class Where(NamedTuple):
    """A folder in a volume of the engine."""

    volume: str
    folder: str = ""
    """its path from the root of the volume; empty: all of that"""


class Workbench:
    """What the clusters of one run share: the engine, the network, the kind command, and the labels of the run."""

    def __init__(
        self,
        folder: Path,
        engine: Engine,
        supervisor: Supervisor,
        kind: Path,
        *,
        name: str,
        network: str,
        labels: Mapping[str, str],
    ) -> None:
        """*name* is what everything is named after, and *network* that of the run, or of the one that lends to it."""
        self.engine, self.supervisor, self._labels = engine, supervisor, labels
        self.name, self.network = name, network
        self._kind, self._folder, self._owns = kind, folder, False
        self._makers: list[Process] = []
        folder.mkdir(mode=0o700)
        flags = " ".join(f"--label {shlex.quote(f'{key}={value}')}" for key, value in labels.items())
        shim = Template(templates.text("docker-with-labels"))
        command = folder / "docker"
        command.write_text(shim.substitute(labels=flags, docker=shlex.quote(str(engine.command))))
        command.chmod(0o700)

    @property
    def labels(self) -> Mapping[str, str]:
        """Return what everything on the engine bears that is of this run; from now on that goes with the run."""
        self._own()
        return self._labels

    def _own(self) -> None:
        # not sooner: one that has only what is lent to it need not look at its end for what it made there
        if not self._owns:
            self.supervisor.own_engine(self.engine.socket, self._settled)
            self._owns = True

    def _settled(self) -> bool:
        """Is nothing under way any more that may yet be made on the engine?"""
        return not self.engine.unanswered and all(maker.poll() == 0 for maker in self._makers)

    def another(self, folder: Path, number: int) -> Workbench:
        """Return one for a further rehearsal of the same run, whose things have names of their own."""
        name = f"{self.name}-{number}"
        return Workbench(
            folder, self.engine, self.supervisor, self._kind, name=name, network=self.network, labels=self._labels
        )

    def kind(self, words: Sequence[str], *, kubeconfig: Path, log: Path, aside: bool = False) -> Process:
        """Start the kind command; *aside* whatever nodes it makes get few processors as long as others want them.

        Nothing of the user's reaches it but the engine: no kubeconfig, no docker configuration, no proxy.
        """
        self._own()
        maker = self.supervisor.start(
            f"kind {words[0]}",
            [str(self._kind), *words],
            env={
                "HOME": str(self._folder),
                "KUBECONFIG": str(kubeconfig),
                "PATH": f"{self._folder}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "DOCKER_HOST": f"unix://{self.engine.socket}",
                "KIND_EXPERIMENTAL_PROVIDER": "docker",
                "KIND_EXPERIMENTAL_DOCKER_NETWORK": self.network,
                "NODE_CPU_SHARES": _SHARES_ASIDE if aside else "",
            },
            cwd=self._folder,
            log=log,
        )
        self._makers.append(maker)
        return maker

    def copy_output(self, name: str, words: Sequence[str], folder: Path, into: Path) -> None:
        """Have what `docker` *words* prints appended to the file *into*, by a child that ends with the run."""
        self.supervisor.start(
            name,
            [str(self.engine.command), *words],
            env={"DOCKER_HOST": f"unix://{self.engine.socket}", "HOME": str(folder)},
            cwd=folder,
            log=into,
        )

    def follow(
        self, what: str, container: str, files: Sequence[str], folder: Path, into: Path, since: str, mark: str = ""
    ) -> None:
        """Have the lines of *files* in a *container* appended to *into*, from a line on, as `tail -n` counts them.

        A file that is not there yet is looked for again and again. What looks has a *mark*, by which it is known.
        """
        tail = f"tail -q -n {since} --follow=name --retry --sleep-interval={_LOOK_SECONDS}"
        self.copy_output(what, ["exec", f"--env={_MARK}={mark}", container, *tail.split(), *files], folder, into)


class KindCluster:
    """One cluster. `start` returns when its API server is ready; the supervisor ends it."""

    def __init__(self, name: str, directory: Path, bench: Workbench, nodes_prefix: str, port: int) -> None:
        self.name, self.directory, self.port = name, directory, port
        self.kubeconfig = directory / "kubeconfig"
        self.node = f"{nodes_prefix}-control-plane"
        self._cluster, self._bench = nodes_prefix, bench
        self.mark = random.token_hex(4)
        """by which is known what follows files on the node for this object alone"""
        directory.mkdir(mode=0o700)
        (directory / "mounted").mkdir(mode=0o700)
        self.audit = Tail(directory / "audit.log")
        self.log = PodTail(directory / "kube-apiserver.log")
        self.ca = directory / "ca.crt"
        self.kube = Kube(f"https://127.0.0.1:{port}", self.ca, Secret(random.token_urlsafe(24)))
        self._up = self._several = False
        self._making: Process | None = None
        self._over: threading.Event | None = None
        self._workers: list[str] = []

    def start(
        self,
        image: Image,
        *,
        workers: int,
        kubelet: Mapping[str, object],
        vault_ports: Sequence[int],
        issuer: str,
        over: threading.Event,
        aside: bool = False,
    ) -> None:
        """Have the cluster made and wait until its API server is ready, or *over* that nobody waits any more.

        *vault_ports* are those of this machine that lead to `VAULT_PORTS`, none if there is no Vault in it; *issuer*
        signs its service account tokens. *aside* it rises after others where processors are short, because those are
        waited for first. Raises ProcessDied with what kind said, NotReady if it takes too long, and RigError where the
        port is taken.
        """
        self._over, self._several = over, workers > 0
        ports.insist(self.port, f"the API server of {self.name}")
        self._write_mounted()
        config = self.directory / "kind.yaml"
        pki.write_private(config, self._config(image, workers, kubelet, vault_ports, issuer).encode())
        words = ["create", "cluster", f"--name={self._cluster}", f"--image={image.name}", f"--config={config}"]
        words.append("--retain")  # what kind thinks of a failure is for us to read, and for the supervisor to remove
        pki.write_private(self.kubeconfig, b"")
        self._making = self._bench.kind(words, kubeconfig=self.kubeconfig, log=self.directory / "kind.log", aside=aside)
        # kind goes on for seconds after the API server takes objects: those can be used
        self._await("the certificate authority of {}", self._authority, every=0.3)
        self._await("the API server of {} to be ready", self.kube.serves)
        self._up = True
        self._follow_api_server()
        if workers and image.brings_network:
            self._connect_nodes(1 + workers)

    def have_one_name_server(self) -> None:
        """Have one Pod answer for the names of Services and Pods, as soon as kubeadm has made any.

        Among several kube-proxy chooses by lot, which not every kernel can: then it leads nobody to any Service.
        """
        self._await(
            "the name server of {} to be there", lambda: self.kube.scale_deployment("kube-system", "coredns", 1)
        )

    def await_made(self) -> None:
        """Wait until kind has done its part. Raises ProcessDied with what it said, NotReady if it takes too long."""
        if self._making is not None:
            self._await("kind to have made {}", lambda: self._making is None or self._making.poll() == 0)

    def take_over(self, there: Path, spared: Spared | None = None) -> None:
        """Use the cluster of a kept run, whose directory is *there*, emptied of earlier rehearsals; but a Vault that is
        *spared* serves on.
        """
        self.reach(there)
        spaces = self.kube.reset(spared)
        stays = (spared.namespace, spared.pod, spared.data) if spared is not None else ("", "", "")
        for node in [self.node, *self._workers]:
            self.run("sh", "-c", templates.text("empty-node.sh"), "sh", *stays, *spaces, node=node)
            if node != self.node:
                self.run("sh", "-c", _END_WATCHERS, "sh", node=node)
        self.go_on(spared.mark if spared is not None else "")

    def go_on(self, watched: str = "") -> None:
        """Use this cluster, which is reached, as it is. What watches files on its node goes on with the mark *watched*,
        or with that of this object; whatever else does is ended.
        """
        # in one command, which does no harm a second time: an engine takes a while for each
        script = f"{_END_WATCHERS}wc -l {_AUDIT_LOG} $({_LIST_LOGS})"
        counted = _COUNTED.findall(self.read("sh", "-c", script, "sh", self.mark, watched))
        # from the line on that comes next, whenever what follows them begins
        ends = {file: f"+{int(lines) + 1}" for lines, file in counted}
        audit, (log, *older) = ends.pop(_AUDIT_LOG), list(ends)
        self._follow("audit log", [_AUDIT_LOG], self.audit.path, audit)
        self._follow("API server's log", [log, *older], self.log.path, "0" if older else ends[log])

    def reach(self, there: Path) -> None:
        """Have the cluster of a kept run, whose directory is *there*, be asked as it can be by that run."""
        token, _, _ = (there / "mounted" / "tokens.csv").read_text().partition(",")
        pki.write_private(self.kubeconfig, (there / self.kubeconfig.name).read_bytes())
        # where it stays as long as the cluster: a source state outlives the run that has made it
        self.ca = there / self.ca.name
        self.kube = Kube(self.kube.host, self.ca, Secret(token))
        self._up = True
        self._workers = [node.name for node in self.kube.nodes() if node.name != self.node]
        self._several = bool(self._workers)

    @property
    def only_node(self) -> str | None:
        """Return the node for every Pod, which then needs no scheduler that may not have started yet; None: several."""
        return None if self._several else self.node

    @property
    def name_for_kind(self) -> str:
        """Return what kind calls this cluster."""
        return self._cluster

    @property
    def address(self) -> str:
        """Return the address of the API server for whoever is in the network of the run."""
        return self._bench.engine.address(self.node, self._bench.network)

    def in_volume(self, folder: str) -> Where:
        """Return where the engine has a *folder* of the node below /var: kind gives each node a volume for that."""
        return Where(self._bench.engine.volume(self.node, _VAR), folder.removeprefix(f"{_VAR}/"))

    @property
    def gateway(self) -> str:
        """Return the address at which whoever is in the network of the run finds this machine."""
        return self._bench.engine.address(self.node, self._bench.network, "Gateway")

    def died(self) -> str | None:
        """Return a sentence if the cluster's node has ended, or the engine that runs it."""
        if not self._up:
            return None
        try:
            ended = self._bench.engine.ended(self.node)
        except Unreachable as error:
            return str(error)
        return f"the node of cluster {self.name} has ended ({ended})" if ended else None

    def lost(self) -> str | None:
        """Return a sentence if the cluster cannot review a token: it has died, or its API server answers nobody.

        The kubelet starts one that died again, so a node that lives says nothing about it.
        """
        if ended := self.died():
            return ended
        try:
            serves = not self._up or self.kube.serves()
        except Unreachable as error:
            return f"the API server of {self.name} is gone ({error})"
        return None if serves else f"the API server of {self.name} is not ready"

    def run(self, *command: str, node: str = "", stdin: Iterable[bytes] = ()) -> str:
        """Run a command on a node, or the control plane's, and return what it printed. Raises RigError if it fails."""
        return self._bench.engine.execute(node or self.node, command, stdin=stdin)

    def read(self, *command: str, node: str = "") -> str:
        """Run a command that prints something and changes nothing, and return what it printed.

        An engine that is busy was seen to lose what a quick command prints: so it is run until it prints something.
        """
        return wait.until(
            lambda: self.run(*command, node=node) or None,
            what=f"{command[0]} on a node of {self.name} to print something",
            seconds=_PRINT_SECONDS,
        )

    def load(self, image: str) -> None:
        """Bring an image of the engine's store into the node, unless it is there already."""
        if any(name.endswith(f"/{image}") for name in self._images):
            return
        archive = self._bench.engine.export(image)
        self.run("ctr", "--namespace=k8s.io", "images", "import", "-", stdin=archive)

    def pause_image(self) -> str:
        """Return the name of the image that holds every Pod's namespaces: each node has it."""
        names = self._images
        found = next((name for name in names if "/pause:" in name), None)
        if found is None:
            raise RigError(f"the node of {self.name} has no pause image, which every node needs: {', '.join(names)}")
        return found

    @cached_property
    def _images(self) -> list[str]:
        """The names of the images that the node had in the beginning."""
        return self.read("ctr", "--namespace=k8s.io", "images", "ls", "-q").split()

    def token_of(self, pod: PodState, volume: str) -> Secret:
        """Return the service account token that the kubelet has put into *volume* of *pod*: the Pod's own file."""
        path = f"{_KUBELET_PODS}/{shlex.quote(pod.uid)}/volumes/kubernetes.io~projected/{volume}/token"
        return Secret(self.read("sh", "-c", f"cat {path}", node=pod.node).strip())

    def follow_pod(self, namespace: str, pod: str, uid: str, container: str, into: Path) -> None:
        """Append to *into* whatever *container* of a Pod prints from its beginning on."""
        log = f"{_POD_LOGS}/{namespace}_{pod}_{uid}/{container}/0.log"
        self._follow(f"log of {pod}", [log], into, since="+1")

    def pod_log(self, namespace: str, pod: str, uid: str, container: str, lines: int) -> list[str]:
        """Return the last *lines* that *container* of a Pod printed, the last start's last, as the kubelet keeps them.

        Raises Unreachable or RigError where the node cannot be asked.
        """
        logs = f"{_POD_LOGS}/{namespace}_{pod}_{uid}/{container}/*.log"
        script = f'echo {_BEGIN}; for f in $(ls -tr {logs} 2>/dev/null); do tail -q -n {lines} "$f"; done'
        return self.read("sh", "-c", script).partition(f"{_BEGIN}\n")[2].splitlines()[-lines:]

    def all_logs(self, without: Collection[tuple[str, str]] = ()) -> dict[str, list[str]]:
        """Return the last lines of every Pod's log and of every node's journal, by name; *without* some Pods, each by
        its namespace and name.
        """
        gather = (
            f'for f in {_POD_LOGS}/*/*/*.log; do echo "==> $f"; tail -n 2000 "$f"; done; echo "==> /node/journal/0"; '
        )
        gather += "journalctl --no-pager --lines=2000"
        found: dict[str, list[str]] = {}
        for node in [self.node, *self._workers]:
            name = short = f"{self.name}-{node.removeprefix(self._cluster).strip('-')}"
            passed_over = False
            for line in self.run("sh", "-c", gather, node=node).splitlines():
                if line.startswith("==> "):
                    pod, container = Path(line).parts[-3:-1]
                    passed_over = tuple(pod.split("_")[:2]) in without
                    name = "-".join([self.name, *pod.replace(f"-{node}", "").split("_")[:2], container])
                    name = f"{short}-journal" if pod == "node" else name
                if not passed_over:
                    found.setdefault(f"{name}.log", []).append(line)
        return found

    def _authority(self) -> bool:
        """Fetch the cluster's certificate authority from its node, as soon as kubeadm has made it."""
        try:
            text = self.run("cat", "/etc/kubernetes/pki/ca.crt")
        except RigError as error:
            raise Unreachable(str(error)) from error
        self.ca.write_text(text)
        return bool(text)

    def _await(self, what: str, condition: Callable[[], T | None], every: float = 0.05) -> T:
        return wait.until(
            condition,
            what=what.format(self.name),
            seconds=_CREATE_SECONDS,
            every=every,
            died=self._failed,
            log=lambda: self._making.tail(60) if self._making else (),
            advice="a busy machine needs longer; `rehearse doctor` says what this one has",
        )

    def _failed(self) -> str | None:
        """Return a sentence if it is of no use to wait for this cluster."""
        if self._over is not None and self._over.is_set():
            return "the run is over"
        if self._making is not None and self._making.poll():
            return f"kind could not make cluster {self.name}: {self._making.died()}"
        return self.died()

    def _connect_nodes(self, count: int) -> None:
        """Give each node a Pod network of its own, and the way to those of the others.

        A node image that was made here has a bridge for one node; the vendor's has a daemon that does this.
        """

        def networks() -> list[NodeState] | None:
            nodes = self.kube.nodes()
            return nodes if len(nodes) == count and all(node.pods for node in nodes) else None

        nodes = self._await("the nodes of {} to get their networks", networks)
        self._workers = [node.name for node in nodes if node.name != self.node]
        for node in nodes:
            routes = [f"ip route replace {other.pods} via {other.address}" for other in nodes if other != node]
            own = f"sed -i 's#10.244.0.0/24#{node.pods}#' /etc/cni/net.d/10-bridge.conflist"
            self.run("sh", "-c", " && ".join([own, *routes]), node=node.name)

    def _follow_api_server(self) -> None:
        """Have what the API server writes appended to files of ours, from its beginning on."""
        self._follow("audit log", [_AUDIT_LOG], self.audit.path, since="+1")
        self._follow("API server's log", self.api_server_logs(), self.log.path, since="+1")

    def api_server_logs(self) -> list[str]:
        """Return the files on the node in which the words of its API servers are kept, also of those that ended."""
        return self.read("sh", "-c", _LIST_LOGS).split()

    def follow_new_logs(self, known: Sequence[str]) -> None:
        """Have what an API server writes that was started anew appended as well: all files but those that are known."""
        new = [file for file in self.api_server_logs() if file not in known]
        if new:
            self._follow("API server's log", new, self.log.path, since="+1")

    def _write_mounted(self) -> None:
        folder = self.directory / "mounted"
        token = self.kube.administrator_token.reveal()
        pki.write_private(folder / "tokens.csv", f'{token},rehearsal-admin,rehearsal-admin,"system:masters"\n'.encode())
        pki.write_private(folder / "audit-policy.yaml", templates.text("audit-policy.yaml").encode())

    def _config(
        self, image: Image, workers: int, kubelet: Mapping[str, object], vault_ports: Sequence[int], issuer: str
    ) -> str:
        mappings = [
            {"containerPort": on_node, "hostPort": here, "listenAddress": "127.0.0.1"}
            for on_node, here in zip(VAULT_PORTS, vault_ports, strict=False)
        ]
        return Template(templates.text("kind.yaml")).substitute(
            api_port=self.port,
            issuer=json.dumps(issuer),
            brings_network=json.dumps(image.brings_network),
            kubelet="\n  ".join(f"{name}: {json.dumps(value)}" for name, value in kubelet.items()),
            folder=json.dumps(str(self.directory / "mounted")),
            ports=json.dumps(mappings),
            workers="- role: worker\n" * workers,
        )

    def _follow(self, what: str, files: Sequence[str], into: Path, since: str) -> None:
        """Have the lines of files on the node appended to a file of ours, by a child that ends with the run.

        A file whose folder is not there yet is looked at again and again, by default once a second.
        """
        self._bench.follow(f"{what} of {self.name}", self.node, files, self.directory, into, since, self.mark)

    def follow_file(self, file: str, into: Path) -> None:
        """Have the lines of a *file* on the node appended to *into*, from its beginning on."""
        self._follow(Path(file).name, [file], into, since="+1")
