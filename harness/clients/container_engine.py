"""Everything we say to the container engine of this machine: the only module that knows the docker library.

Whatever is made here carries the labels of its run, and `leftovers` finds it again by them. The user's contexts and
configuration are read to find the engine, and never written.
"""

from __future__ import annotations

import shutil
import socket as sockets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any, Final, Literal

import msgspec

from harness.clients import engine_requirements, engine_things
from harness.clients.engine_things import Thing, thing_of
from harness.errors import MissingPrerequisite, RigError, Unreachable
from harness.host import run_traces
from harness.wait import now

_TIMEOUT_SECONDS: Final = 120
_PULL_SECONDS: Final = 1200
INSTALL: Final = "install a Docker engine and start it (nox -s engine does so on a Debian machine, as root)"
"""What helps where there is none."""

_NO_PROGRAM: Final = "/no-such-program"
_ASKED: Final[dict[Path, set[object]]] = {}
"""What this program has asked each engine to make, and has no answer to: several objects may speak to one."""


class Image(msgspec.Struct, frozen=True):
    """An image of the local store."""

    name: str
    id: str
    """sha256:..., of its configuration: the same wherever this very image is"""
    digest: str
    """sha256:..., under which a registry has it; "" for one that was made here"""
    size: int
    labels: Mapping[str, str]


class Engine:
    """The engine at a Unix socket. One object may be shared by threads."""

    def __init__(self, socket: Path, command: Path) -> None:
        """*command* is the docker command line client: kind speaks through it."""
        import docker

        self.socket, self.command = socket, command
        self._asked = _ASKED.setdefault(socket, set())
        with _translated(f"any word at {socket}"):
            _knock(socket)
            self._client = docker.DockerClient(f"unix://{socket}", version="auto", timeout=_TIMEOUT_SECONDS)

    def about(self) -> engine_requirements.About:
        """Return what the engine says of itself. Raises MissingPrerequisite for one that only looks like Docker."""
        with _translated("what it is"):
            before = now()
            info, after, version = self._client.info(), now(), self._client.version()
        parts = [str(part.get("Name", "")) for part in version.get("Components") or ()]
        if any("podman" in part.lower() for part in parts):
            raise MissingPrerequisite(
                f"the engine at {self.socket} is Podman {version.get('Version', '')}: kind's way to use it is marked "
                "experimental, and no rehearsal was ever seen to work on it; name a Docker engine in DOCKER_HOST"
            )
        options = [str(option) for option in info.get("SecurityOptions") or ()]
        return engine_requirements.About(
            version=str(version.get("Version", "")),
            cgroup=int(info.get("CgroupVersion") or 1),
            rootless=any("rootless" in option for option in options),
            folder=Path(info["DockerRootDir"]),
            processors=int(info["NCPU"]),
            memory=int(info["MemTotal"]),
            ahead=engine_requirements.ahead(info.get("SystemTime"), before, after),
        )

    # --- images ---

    def image(self, name: str) -> Image | None:
        """Return what the local store has under *name* (with tag or digest, or an id), or None."""
        import docker

        try:
            with _translated(f"the image {name}"):
                found = self._client.images.get(name)
        except RigError as error:
            if isinstance(error.__cause__, docker.errors.NotFound):
                return None
            raise
        digests = found.attrs.get("RepoDigests") or [""]
        labels = (found.attrs.get("Config") or {}).get("Labels") or {}
        return Image(name, str(found.id), digests[0].partition("@")[2], int(found.attrs["Size"]), labels)

    def published(self, name: str, seconds: int) -> str:
        """Return the digest under which the registry has *name*: a short question, before a long `pull`.

        Raises RigError with the registry's words, and Unreachable once *seconds* have passed without any.
        """
        from docker import APIClient

        with (
            _translated(f"what the registry has as {name}"),
            closing(APIClient(f"unix://{self.socket}", version="auto", timeout=seconds)) as client,
        ):
            hasty: Any = client  # this one method of it has no annotations
            return str(hasty.inspect_distribution(name)["Descriptor"]["digest"])

    def pull(self, name: str) -> Image:
        """Fetch *name* from its registry. Raises RigError or Unreachable with the engine's words where it cannot."""
        from docker import APIClient

        with (
            _translated(f"to pull {name}"),
            closing(APIClient(f"unix://{self.socket}", version="auto", timeout=_PULL_SECONDS)) as patient,
        ):
            for line in patient.pull(name, stream=True, decode=True):
                if "error" in line:
                    raise RigError(f"the engine was asked to pull {name}: {line['error']}")
        pulled = self.image(name)
        if pulled is None:
            raise RigError(f"the engine pulled {name}, and does not have it: something else removes images")
        return pulled

    def build_from(self, archive: IO[bytes], name: str, labels: Mapping[str, str]) -> Image:
        """Build *archive*, a tar file with a Dockerfile, into the image *name*. Nothing is pulled for it."""
        import docker

        with _translated(f"to build {name}"):
            try:
                self._client.images.build(
                    tag=name,
                    labels=dict(labels),
                    rm=True,
                    forcerm=True,
                    pull=False,
                    fileobj=archive,
                    custom_context=True,
                    use_config_proxy=False,
                )
            except docker.errors.BuildError as error:
                said = [str(line.get("stream", line.get("error", ""))).strip() for line in error.build_log]
                raise RigError(f"the engine could not build {name}: {error}", [line for line in said if line]) from None
        return self._made(name)

    def import_root(self, archive: Path, name: str, labels: Mapping[str, str], changes: Sequence[str] = ()) -> Image:
        """Make the image *name* of one layer: *archive*, a tar file of a root directory (docker import)."""
        repository, _, tag = name.rpartition(":")
        with _translated(f"to import {name}"):
            self._client.api.import_image_from_file(
                str(archive), repository=repository, tag=tag, changes=[*changes, *_label_lines(labels)]
            )
        return self._made(name)

    def remove_image(self, name: str) -> None:
        """Remove *name* from the local store, and what only it has. One that is not there is removed already."""
        import docker

        with _translated(f"to remove the image {name}"):
            try:
                self._client.images.remove(name, noprune=False)
            except docker.errors.ImageNotFound:
                return

    def images(self, label: str) -> list[Image]:
        """Return every named image of the local store that carries *label*."""
        with _translated("its images"):
            found = self._client.api.images(filters={"label": label})
        return [
            Image(name, str(one["Id"]), "", int(one["Size"]), one.get("Labels") or {})
            for one in found
            for name in one.get("RepoTags") or ()
            if name != "<none>:<none>"
        ]

    def export(self, name: str) -> Iterable[bytes]:
        """Return the archive of the image *name* (docker save), in pieces."""
        with _translated(f"to export {name}"):
            pieces: Iterable[bytes] = self._client.api.get_image(name)
        return pieces

    def commit(self, container: str, name: str, labels: Mapping[str, str], changes: Sequence[str] = ()) -> Image:
        """Make the image *name* of what *container* has become."""
        repository, _, tag = name.rpartition(":")
        with _translated(f"to commit {name}"):
            self._client.api.commit(container, repository, tag, changes=[*changes, *_label_lines(labels)])
        return self._made(name)

    # --- what belongs to a run ---

    @property
    def unanswered(self) -> bool:
        """May something be made for a run of which nobody knows, because it was asked for and nothing was answered?"""
        return bool(self._asked)

    @contextmanager
    def _making(self, what: str) -> Iterator[None]:
        asked = object()
        self._asked.add(asked)
        try:
            with _translated(what):
                yield
        except RigError:
            self._asked.remove(asked)
            raise
        self._asked.remove(asked)

    def create_network(self, name: str, labels: Mapping[str, str]) -> str:
        """Create a bridge network and return its id. Raises RigError where *name* is taken."""
        with self._making(f"the network {name}"):
            return str(self._client.networks.create(name, labels=dict(labels), check_duplicate=True).id)

    def bridge(self, network: str) -> tuple[str, str]:
        """Return the address at which those in a *network* find this machine, and all addresses of it (a.b.c.d/n).

        Raises RigError where it has none of IPv4.
        """
        with _translated(f"the network {network}"):
            ranges = self._client.networks.get(network).attrs["IPAM"]["Config"] or []
        for one in ranges:
            if "." in one.get("Gateway", ""):
                return str(one["Gateway"]), str(one["Subnet"])
        raise RigError(f"the network {network} has no IPv4 address of this machine, where its containers would find it")

    def create_volume(self, name: str, labels: Mapping[str, str], *, memory: int = 0) -> None:
        """Create a volume; one of so many bytes of *memory* is there as long as a container that runs has it."""
        options = {"type": "tmpfs", "device": "tmpfs", "o": f"size={memory},mode=0700"} if memory else None
        with self._making(f"the volume {name}"):
            self._client.volumes.create(name, labels=dict(labels), driver_opts=options)

    def start(self, image: str, command: Sequence[str], *, alias: str = "", **options: Any) -> str:
        """Start a container and return its id. *options* are those of the library, `labels` among them.

        In the network that *options* name, others find it by the name *alias*, if there is one.
        """
        with self._making(f"a container of {image}"):
            if alias:
                endpoint = self._client.api.create_endpoint_config(aliases=[alias])
                options["networking_config"] = {options["network"]: endpoint}
            # the user's proxies are not for servers that talk to each other
            options |= {"detach": True, "use_config_proxy": False}
            return str(self._client.containers.run(image, list(command), **options).id)

    @contextmanager
    def workshop(self, image: str, name: str, folder: Path, place: str) -> Iterator[str]:
        """Yield a container of *image* in which another image can be made: privileged, and with *folder* at *place*.

        It lives by a line to this process: whatever becomes of that, the engine ends it and removes it. One of this
        name that is still there goes first.
        """
        api = self._client.api
        self.remove(Thing("container", name, name, {}))
        with _translated(f"a container of {image}"):
            # privileged, because unpacking an image is mounting it
            binds = [f"{folder}:{place}:rw"]
            host = api.create_host_config(binds=binds, privileged=True, network_mode="none", auto_remove=True)
            api.create_container(
                image, name=name, entrypoint=["cat"], stdin_open=True, host_config=host, use_config_proxy=False
            )
            line = api.attach_socket(name, params={"stdin": 1, "stream": 1})
            api.start(name)
        try:
            yield name
        finally:
            self.remove(Thing("container", name, name, {}))
            line.close()

    def privileges_refused(self, image: str, **options: Any) -> str:
        """Return why no privileged container of *image* can be started, as each node of a cluster is, or nothing.

        It is tried out, with a program that is not there: rights are given before that is noticed.
        """
        import docker

        api = self._client.api
        mine = engine_things.labels("trial", now() + _TIMEOUT_SECONDS)
        with _translated("a privileged container"):
            host = api.create_host_config(privileged=True, network_mode="none", **options)
            trial = api.create_container(
                image, entrypoint=[_NO_PROGRAM], labels=mine, host_config=host, use_config_proxy=False
            )["Id"]
            try:
                api.start(trial)
            except docker.errors.APIError as error:
                said = str(error.explanation)
                return "" if _NO_PROGRAM in said else said
            finally:
                api.remove_container(trial, v=True, force=True)
        return ""

    def stop(self, container: str, seconds: int) -> None:
        """Ask *container* to end, kill it after *seconds*."""
        with _translated(f"to stop {container}"):
            self._client.containers.get(container).stop(timeout=seconds)

    def ended(self, container: str) -> str | None:
        """Return a sentence if *container* is not running, or is gone altogether; None while it runs."""
        import docker

        try:
            with _translated(f"the container {container}"):
                state = self._client.containers.get(container).attrs["State"]
        except RigError as error:
            if isinstance(error.__cause__, docker.errors.NotFound):
                return f"the container {container} is gone"
            raise
        if state["Running"] and not state.get("Paused"):
            return None
        why = ", out of memory" if state.get("OOMKilled") else ""
        return f"the container {container} is {state['Status']} with status {state['ExitCode']}{why}"

    def address(self, container: str, network: str, whose: Literal["IPAddress", "Gateway"] = "IPAddress") -> str:
        """Return the IP address of *container* in *network*, or that at which it finds this machine (Gateway)."""
        with _translated(f"the address of {container}"):
            attached = self._client.containers.get(container).attrs["NetworkSettings"]["Networks"]
        return str(attached[network][whose])

    def volume(self, container: str, path: str) -> str:
        """Return the volume that is mounted at *path* of *container*. Raises RigError where none is."""
        with _translated(f"the volumes of {container}"):
            mounts = self._client.containers.get(container).attrs["Mounts"]
        found = [str(one["Name"]) for one in mounts if one["Type"] == "volume" and one["Destination"] == path]
        if not found:
            raise RigError(f"the container {container} has no volume at {path}")
        return found[0]

    def execute(self, container: str, command: Sequence[str], *, stdin: Iterable[bytes] = ()) -> str:
        """Run *command* in *container* and return what it printed. Raises RigError with that if it fails.

        It reads the pieces of *stdin*, one after the other.
        """
        status, output = self._execute(container, command, stdin)
        if status != 0:
            raise RigError(f"{command[0]} in {container} ended with status {status}: {output[-2000:].strip()}")
        return output

    def logs(self, container: str, lines: int | Literal["all"]) -> list[str]:
        """Return the last *lines* that *container* printed."""
        with _translated(f"the log of {container}"):
            text: bytes = self._client.containers.get(container).logs(tail=lines)
        return text.decode(errors="replace").splitlines()

    def leftovers(self, run: str = "") -> list[Thing]:
        """Return everything that carries the label of *run*, or of any run where that is left out."""
        label = f"{run_traces.LABEL}={run}" if run else run_traces.LABEL
        filters = {"label": label}
        api = self._client.api
        with _translated("what there is of ours"):
            return [
                *(
                    thing_of("container", one, (one["Names"] or [one["Id"]])[0])
                    for one in api.containers(all=True, filters=filters)
                ),
                *(thing_of("network", one, one["Name"]) for one in api.networks(filters=filters)),
                *(thing_of("volume", one, one["Name"]) for one in api.volumes(filters=filters).get("Volumes") or ()),
            ]

    def remove(self, thing: Thing) -> None:
        """Remove *thing*, running or not, with its anonymous volumes. One that is gone is removed already."""
        import docker

        api = self._client.api
        with _translated(f"to remove the {thing.kind} {thing.name}"):
            try:
                if thing.kind == "container":
                    api.remove_container(thing.id, v=True, force=True)
                elif thing.kind == "network":
                    api.remove_network(thing.id)
                else:
                    api.remove_volume(thing.id, force=True)
            except docker.errors.NotFound:
                return

    def _made(self, name: str) -> Image:
        made = self.image(name)
        if made is None:
            raise RigError(f"the engine made {name}, and does not have it: something else removes images")
        return made

    def _execute(self, container: str, command: Sequence[str], stdin: Iterable[bytes]) -> tuple[int, str]:
        api = self._client.api
        with _translated(f"to run {command[0]} in {container}"):
            started = api.exec_create(container, list(command), stdin=stdin != ())["Id"]
            if stdin == ():
                output: bytes = api.exec_start(started)
            else:
                output = _fed(api.exec_start(started, socket=True), stdin)
            return int(api.exec_inspect(started)["ExitCode"] or 0), output.decode(errors="replace")


def reach(environment: Mapping[str, str]) -> Engine:
    """Return the engine that the user's docker command would use. Raises MissingPrerequisite where there is none.

    *environment* is the user's: DOCKER_HOST and DOCKER_CONTEXT say which engine, PATH where the client is.
    """
    command = shutil.which("docker", path=environment.get("PATH", ""))
    if command is None:
        raise MissingPrerequisite(f"there is no docker command on PATH, and kind speaks through it: {INSTALL}")
    host = environment.get("DOCKER_HOST") or _context_host(environment.get("DOCKER_CONTEXT", ""))
    if not host.startswith("unix://"):
        raise MissingPrerequisite(
            f"the engine is at {host}, and a rehearsal mounts folders of this machine: it needs a local one, at a "
            "unix:// socket; name that in DOCKER_HOST"
        )
    socket = Path(host.removeprefix("unix://"))
    try:
        return Engine(socket, Path(command))
    except (Unreachable, RigError) as error:
        raise MissingPrerequisite(f"{error}: {INSTALL}, or be in the group that may use {socket}") from error


def _knock(socket: Path) -> None:
    """Raise OSError in plain words where nobody listens: the library has many words for it, and leaves a file open."""
    if not socket.is_socket():
        raise FileNotFoundError(f"{socket} is no socket")
    with sockets.socket(sockets.AF_UNIX) as line:
        line.settimeout(_TIMEOUT_SECONDS)
        line.connect(str(socket))


def _context_host(name: str) -> str:
    from docker import ContextAPI

    try:
        context = ContextAPI.get_context(name or None)
    except Exception as error:  # the library raises what it likes for a damaged configuration
        raise MissingPrerequisite(f"the user's docker context cannot be read: {error}; name DOCKER_HOST") from error
    host = context.Host if context is not None else None
    return host or "unix:///var/run/docker.sock"


def _label_lines(labels: Mapping[str, str]) -> list[str]:
    return [f'LABEL "{key}"="{value}"' for key, value in labels.items()]


def _fed(socket: Any, stdin: Iterable[bytes]) -> bytes:
    """Write *stdin* to what runs at the other end of *socket*, and return what it printed until its end."""
    import docker.utils.socket

    framing: Any = docker.utils.socket
    raw = socket._sock  # noqa: SLF001 -- the library offers no other way to say that the input is over
    with closing(raw), socket:
        for piece in stdin:
            raw.sendall(piece)
        raw.shutdown(sockets.SHUT_WR)
        frames = (framing.demux_adaptor(*frame) for frame in framing.frames_iter(socket, tty=False))
        streams = framing.consume_socket_output(frames, demux=True)
    return b"".join(part for part in streams if part)


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """Turn the library's errors into ours: a no is a RigError, no answer is Unreachable."""
    import docker
    import requests

    try:
        yield
    except docker.errors.APIError as error:
        raise RigError(f"the container engine was asked for {what}: {error.explanation or error}") from error
    except (docker.errors.DockerException, requests.exceptions.RequestException, OSError) as error:
        raise Unreachable(f"the container engine gave no answer for {what}: {error}") from error
