"""The container engine: where none will do, it is said before anything is started, and with what would help."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from harness.artifacts import images
from harness.cli import commands
from harness.clients.container_engine import Engine, reach
from harness.clients.engine_requirements import kubelet_settings
from harness.clients.engine_things import Thing
from harness.errors import MissingPrerequisite, RigError
from harness.wait import now, until
from tests.containers import PROGRAMS, empty_image
from tests.runs import OUTAGE
from tests.socket_engine import INFO, Answers, engine_that

NEW_KUBERNETES = OUTAGE.read_text().replace("1.32.0", "1.35.0")


def docker(base: Path) -> Path:
    """Return a folder with a docker command that does nothing."""
    (base / "bin").mkdir()
    command = base / "bin" / "docker"
    command.write_text("#!/bin/sh\nexit 0\n")
    command.chmod(0o755)
    return base / "bin"


def rehearse(base: Path, **environment: str) -> Result:
    """Rehearse on kind clusters with *environment*, which is to be refused."""
    here = {"REHEARSE_STATE": str(base / "state"), "REHEARSE_CACHE": str(base / "cache"), "TMPDIR": str(base)}
    scenario = base / "scenario.yaml"
    scenario.write_text(NEW_KUBERNETES)
    words = ["run", str(scenario), "--driver", "kind", "--offline", "-o", "json"]
    return CliRunner().invoke(commands.main, words, env=here | environment)


def _no_command(base: Path) -> dict[str, str]:
    return {"PATH": str(base / "empty")}


def _no_socket(base: Path) -> dict[str, str]:
    return {"PATH": str(docker(base)), "DOCKER_HOST": f"unix://{base}/nothing"}


def _far_away(base: Path) -> dict[str, str]:
    return {"PATH": str(docker(base)), "DOCKER_HOST": "ssh://build@far.example"}


@pytest.mark.parametrize(
    ("make", "said", "helps"),
    [
        (_no_command, "there is no docker command on PATH", "install a Docker engine and start it"),
        (_no_socket, "/nothing is no socket", "or be in the group that may use"),
        (_far_away, "the engine is at ssh://build@far.example", "name that in DOCKER_HOST"),
    ],
)
def test_without_an_engine_a_rehearsal_on_kind_is_exit_3(
    make: Callable[[Path], dict[str, str]], said: str, helps: str, tmp_path: Path
) -> None:
    """In one sentence with what would help; nothing is on stdout, and no run is on record as alive."""
    result = rehearse(tmp_path, **make(tmp_path))
    assert (result.exit_code, result.stdout) == (3, "")
    assert said in result.stderr
    assert helps in result.stderr
    assert "Traceback" not in result.stderr
    assert not list((tmp_path / "state").glob("live/*"))


@pytest.mark.processes
def test_podman_is_refused_by_its_name(tmp_path: Path) -> None:
    """It answers as Docker does, and says of itself what it is."""
    answers = Answers(name="Podman Engine")
    with engine_that(answers, tmp_path / "engine") as path:
        result = rehearse(tmp_path, PATH=str(docker(tmp_path)), DOCKER_HOST=f"unix://{path}")
    assert result.exit_code == 3
    assert "is Podman" in result.stderr
    assert "name a Docker engine in DOCKER_HOST" in result.stderr
    assert {asked.split(" ")[0] for asked in answers.asked} == {"GET"}


@pytest.mark.processes
def test_a_node_that_is_too_new_for_the_control_groups_is_refused_before_anything_is_asked_for(tmp_path: Path) -> None:
    """Its kubelet would not start: no image is looked for, nothing is made, and the sentence says what mends it."""
    answers = Answers()
    with engine_that(answers, tmp_path / "engine") as path:
        result = rehearse(tmp_path, PATH=str(docker(tmp_path)), DOCKER_HOST=f"unix://{path}")
    assert result.exit_code == 3
    assert "the kubelets of Kubernetes 1.35.0 refuse to run" in result.stderr
    assert "rehearse with --driver local" in result.stderr
    assert [asked for asked in answers.asked if not asked.startswith("GET") or "/images" in asked] == []


@pytest.mark.processes
@pytest.mark.parametrize(("offset", "said"), [(93.0, " s ahead of"), (-93.0, " s behind")])
def test_an_engine_with_another_time_is_refused_before_anything_is_made(
    offset: float, said: str, tmp_path: Path
) -> None:
    """A virtual machine that slept: its servers' logs could not be joined to our questions."""
    there = datetime.fromtimestamp(now() + offset, timezone(timedelta(hours=5)))
    answers = Answers({"info": (200, {**INFO, "SystemTime": there.isoformat()})})
    with engine_that(answers, tmp_path / "engine") as path:
        result = rehearse(tmp_path, PATH=str(docker(tmp_path)), DOCKER_HOST=f"unix://{path}")
    assert result.exit_code == 3
    assert "the engine's clock is 9" in result.stderr
    assert said in result.stderr
    assert [asked for asked in answers.asked if not asked.startswith("GET") or "/images" in asked] == []


@pytest.mark.processes
def test_an_engine_that_talks_of_other_things_is_no_engine(tmp_path: Path) -> None:
    """Something else listens at the socket: that is said, and not guessed at."""
    with engine_that(lambda *_: (200, b"<html>"), tmp_path / "engine") as path, pytest.raises(MissingPrerequisite):
        reach({"PATH": str(docker(tmp_path)), "DOCKER_HOST": f"unix://{path}"})


@pytest.mark.processes
@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"Running": True, "Status": "running", "ExitCode": 0}, None),
        ({"Running": True, "Paused": True, "Status": "paused", "ExitCode": 0}, "is paused with status 0"),
        ({"Running": False, "Status": "exited", "ExitCode": 137}, "is exited with status 137"),
        (
            {"Running": False, "Status": "exited", "ExitCode": 137, "OOMKilled": True},
            "is exited with status 137, out of memory",
        ),
        (None, "the container node is gone"),
    ],
    ids=["runs", "paused", "killed", "out of memory", "gone"],
)
def test_how_a_container_ended_is_said(state: dict[str, Any] | None, said: str | None, tmp_path: Path) -> None:
    known = {} if state is None else {"containers/node/json": (200, {"Id": "node", "State": state})}
    with engine_that(Answers(known), tmp_path / "engine") as path:
        ended = Engine(Path(path), Path("/docker")).ended("node")
    assert ended is None if said is None else said in str(ended)


@pytest.mark.processes
def test_a_no_of_the_engine_comes_with_its_words(tmp_path: Path) -> None:
    refused = {"networks/create": (409, {"message": "network with name mine already exists"})}
    with engine_that(Answers(refused), tmp_path / "engine") as path:
        machine = Engine(Path(path), Path("/docker"))
        with pytest.raises(RigError, match="the network mine: network with name mine already exists"):
            machine.create_network("mine", {})


@pytest.mark.processes
@pytest.mark.parametrize(
    ("cgroup", "kubernetes", "settings"),
    [("1", "1.32.0", {"failCgroupV1": False}), ("1", "1.30.0", {}), ("2", "1.32.0", {})],
)
def test_a_kubelet_is_told_of_old_control_groups_where_it_would_refuse_them(
    cgroup: str, kubernetes: str, settings: dict[str, object], tmp_path: Path
) -> None:
    info = (200, json.loads(json.dumps(INFO | {"CgroupVersion": cgroup})))
    with engine_that(Answers({"info": info}), tmp_path / "engine") as path:
        about = Engine(Path(path), Path("/docker")).about()
    assert kubelet_settings(about, kubernetes) == settings


@pytest.mark.kind
def test_the_users_proxies_reach_no_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their docker configuration hands them to every container: Vault would ask API servers beside it through them."""
    proxies = {"default": {"httpProxy": "http://me:hunter2@proxy.example:3128", "noProxy": "example"}}
    (tmp_path / "config.json").write_text(json.dumps({"proxies": proxies}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with empty_image() as (engine, name):
        options: dict[str, Any] = {"volumes": PROGRAMS, "auto_remove": True}
        container = engine.start(name, ["/bin/sleep", "60"], name=f"proxies-{os.getpid()}", **options)
        try:
            said = engine.execute(container, ["/usr/bin/env"])
        finally:
            engine.remove(Thing("container", container, container, {}))
    assert "PATH=" in said
    assert "proxy" not in said.lower()


MAKER = """
import os, sys
from pathlib import Path
from harness.clients.container_engine import reach
with reach(os.environ).workshop(sys.argv[1], sys.argv[2], Path(sys.argv[3]), "/mnt"):
    print("there", flush=True)
    sys.stdin.read()
"""


@pytest.mark.kind
def test_where_an_image_is_made_is_gone_with_whoever_makes_it(tmp_path: Path) -> None:
    """Killed in the middle, it leaves no privileged container: nobody else would know of it."""
    name = f"workshop-{os.getpid()}"
    engine = reach(os.environ)
    node = next(image.name for image in images.made(engine) if "/node:" in image.name)
    words = [sys.executable, "-c", MAKER, node, name, str(tmp_path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as maker:
        assert maker.stdout
        assert maker.stdout.readline() == "there\n"
        assert engine.ended(name) is None
        maker.kill()
    until(lambda: "is gone" in (engine.ended(name) or ""), what="the container to be gone", seconds=30)
