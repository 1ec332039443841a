"""Containers, networks and volumes for tests: of an image that holds nothing, with this machine's programs in them."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from harness.clients.container_engine import Engine, reach
from harness.clients.engine_things import Thing

PROGRAMS = {path: {"bind": path, "mode": "ro"} for path in ("/bin", "/lib", "/lib64", "/usr") if Path(path).exists()}


@contextmanager
def empty_image() -> Iterator[tuple[Engine, str]]:
    """The engine of this machine and an image on it, which is gone afterwards."""
    engine = reach(os.environ)
    name = f"rehearse-test/empty:{os.getpid()}"
    with io.BytesIO() as file:
        with tarfile.open(fileobj=file, mode="w") as archive:
            for path, content in (("Dockerfile", b"FROM scratch\nCOPY nothing /\n"), ("nothing", b"")):
                entry = tarfile.TarInfo(path)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
        file.seek(0)
        engine.build_from(file, name, {})
    try:
        yield engine, name
    finally:
        engine.remove_image(name)


class Belongings:
    """A network, a volume, and containers that use both and sleep."""

    def __init__(self, engine: Engine, image: str, name: str, labels: Mapping[str, str], containers: int = 1) -> None:
        self.engine, self.name = engine, name
        engine.create_network(name, labels)
        engine.create_volume(name, labels)
        self.containers = [
            engine.start(
                image,
                ["/bin/sleep", "3600"],
                name=f"{name}-{number}",
                labels=dict(labels),
                network=name,
                volumes={**PROGRAMS, name: {"bind": "/data", "mode": "rw"}},
            )
            for number in range(containers)
        ]

    @property
    def things(self) -> set[tuple[str, str]]:
        """Return what there was in the beginning, as kinds and names."""
        containers = {("container", f"{self.name}-{number}") for number in range(len(self.containers))}
        return {("network", self.name), ("volume", self.name)} | containers

    def there(self) -> set[tuple[str, str]]:
        """Return what of it is still there; a container that has ended is not."""
        return self.things & everything(self.engine)

    def remove(self) -> None:
        """Remove what is left of it."""
        order = {kind: number for number, kind in enumerate(("container", "network", "volume"))}
        for kind, name in sorted(self.there(), key=lambda thing: order[thing[0]]):
            self.engine.remove(Thing(kind, name, name, {}))  # type: ignore[arg-type]


def everything(engine: Engine) -> set[tuple[str, str]]:
    """Return every running container, every network and every volume of the engine, whoever has made it."""
    api = engine._client.api
    return {
        *(("container", one["Names"][0].lstrip("/")) for one in api.containers()),
        *(("network", one["Name"]) for one in api.networks()),
        *(("volume", one["Name"]) for one in api.volumes()["Volumes"] or ()),
    }
