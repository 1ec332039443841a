"""Whatever a run has on a container engine goes with the run, however it ends, and nobody else's thing does."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.clients.container_engine import Engine
from harness.clients.engine_things import labels
from harness.errors import LeftBehind, RigError
from harness.host import kept_runs, reaper, supervisor
from harness.host.process import Supervisor
from harness.host.run_removal import sweep
from harness.wait import now, pause, until
from tests.containers import Belongings, empty_image, everything
from tests.socket_engine import engine_that

FREEZER = Path(reaper._FREEZER)

# --- an engine that answers what a test wants -------------------------------------------------------------------------


def nothing(path: str) -> tuple[int, Any]:
    return 200, {"Volumes": None} if path.startswith("/volumes") else []


@pytest.mark.processes
def test_removals_are_under_way_side_by_side(tmp_path: Path) -> None:
    """The engine is asked for the second removal before it has answered the first: here it waits for just that."""
    there, both = {"a", "b"}, threading.Barrier(2, timeout=30)

    def answer(method: str, path: str) -> tuple[int, Any]:
        if method == "DELETE":
            both.wait()
            there.discard(path.partition("?")[0].removeprefix("/containers/"))
            return 204, b""
        if path.startswith("/containers"):
            return 200, [{"Id": each, "Names": [f"/{each}"]} for each in sorted(there)]
        return nothing(path)

    with engine_that(answer, tmp_path / "engine") as path:
        assert reaper.clear(path, "rehearse.run=it") == []
    assert there == set()


@pytest.mark.processes
def test_a_container_that_comes_into_being_afterwards_is_removed_as_well(tmp_path: Path) -> None:
    """A client that was killed in the middle of its request may have one to come: one empty list is not the end."""
    asked: list[str] = []

    def answer(method: str, path: str) -> tuple[int, Any]:
        asked.append(f"{method} {path.partition('?')[0]}")
        listed = asked.count("GET /containers/json")
        if path.startswith("/containers/json") and listed == 2:
            return 200, [{"Id": "late", "Names": ["/late"]}]
        return nothing(path)

    with engine_that(answer, tmp_path / "engine") as path:
        assert reaper.clear(path, "rehearse.run=it") == []
    assert asked.count("DELETE /containers/late") == 1
    assert asked.count("GET /containers/json") == 4


@pytest.mark.processes
@pytest.mark.parametrize(("settled", "listings"), [(True, 2), (False, 3)])
def test_where_nobody_was_cut_off_one_empty_list_is_the_end(tmp_path: Path, settled: bool, listings: int) -> None:
    """As a supervisor is told when its run is over: what was there is removed, and once more nothing is listed."""
    asked: list[str] = []

    def answer(method: str, path: str) -> tuple[int, Any]:
        asked.append(f"{method} {path.partition('?')[0]}")
        if path.startswith("/containers/json") and asked.count("GET /containers/json") == 1:
            return 200, [{"Id": "1f", "Names": ["/node"]}]
        return nothing(path)

    with engine_that(answer, tmp_path / "engine") as path:
        run = Supervisor("it", tmp_path / "work", tmp_path / "registry")
        run.own_engine(Path(path), lambda: settled)
        run.own_engine(Path(path), lambda: True)  # as a proof's own bench does: all of them have to say so
        run.close()
    assert asked.count("DELETE /containers/1f") == 1
    assert asked.count("GET /containers/json") == listings


@pytest.mark.processes
def test_only_what_carries_the_label_of_the_run_is_asked_for(tmp_path: Path) -> None:
    """The engine does the choosing; each kind is asked for with the label, and containers in any state."""
    asked: list[str] = []

    def answer(_method: str, path: str) -> tuple[int, Any]:
        asked.append(path)
        return nothing(path)

    with engine_that(answer, tmp_path / "engine") as path:
        reaper.clear(path, "rehearse.run=it")
    filters = "filters=%7B%22label%22%3A%20%5B%22rehearse.run%3Dit%22%5D%7D"
    listings = {f"/containers/json?all=1&{filters}", f"/networks?{filters}", f"/volumes?{filters}"}
    assert set(asked) == listings


@pytest.mark.processes
def test_what_would_not_go_is_named_with_the_engines_reason(tmp_path: Path) -> None:
    def answer(method: str, path: str) -> tuple[int, Any]:
        if method == "DELETE":
            return 403, {"message": "it has active endpoints"}
        return (200, [{"Id": "1f", "Name": "net"}]) if path.startswith("/networks") else nothing(path)

    with engine_that(answer, tmp_path / "engine") as path:
        (left,) = reaper.clear(path, "rehearse.run=it", seconds=1.2)
    assert left == f"the network net, at {path}: it has active endpoints (HTTP 403)"


@pytest.mark.processes
@pytest.mark.parametrize("said", [(500, {"message": "no"}), (200, b"<html>"), (200, "words"), (200, [{}]), (200, b"")])
def test_an_engine_that_makes_no_sense_is_told_and_raises_nothing(tmp_path: Path, said: tuple[int, Any]) -> None:
    """What runs at the end of a run must not stumble; but an empty answer is that nothing is there."""
    with engine_that(lambda _method, _path: said, tmp_path / "engine") as path:
        left = reaper.clear(path, "rehearse.run=it")
    assert bool(left) == (said != (200, b""))
    assert all("gave no answer" in one for one in left)


@pytest.mark.processes
def test_an_engine_that_is_silent_is_waited_for_no_longer_than_said(tmp_path: Path) -> None:
    """One that answers nothing at all: what it had listed before is named."""
    ended = threading.Event()

    def answer(method: str, path: str) -> tuple[int, Any]:
        if method == "DELETE":
            ended.wait(30)
        if path.startswith("/containers"):
            return 200, [{"Id": "1f", "Names": ["/node"]}]
        return nothing(path)

    with engine_that(answer, tmp_path / "engine") as path:
        (left,) = reaper.clear(path, "rehearse.run=it", seconds=1.0)
        ended.set()
    assert left.startswith(f"the container node, because the container engine at {path} gave no answer: ")


@pytest.mark.processes
def test_an_engine_that_died_is_told_and_the_run_stays_on_record(tmp_path: Path) -> None:
    """Everything else is ended and removed; the entry says which engine has to be looked at later."""
    entry = tmp_path / "registry" / "it.json"
    one = Supervisor("it", tmp_path / "work", tmp_path / "registry")
    one.own_engine(tmp_path / "engine")
    server = one.start("it", ["/bin/sleep", "9"], env={}, cwd=tmp_path, log=tmp_path / "work" / "log")
    with pytest.raises(LeftBehind, match=r"run it is over, but there is still: .*gave no answer: .*No such file"):
        one.close()
    assert server.poll() == -signal.SIGKILL
    assert not (tmp_path / "work").exists()
    known = json.loads(entry.read_text())
    assert known["engine"] == str(tmp_path / "engine")
    assert "gave no answer" in sweep(known, str(entry))[0]
    assert entry.exists()
    with engine_that(lambda _method, path: nothing(path), tmp_path / "engine") as path:
        assert sweep({**known, "engine": path}, str(entry)) == []
    assert not entry.exists()


@pytest.mark.processes
def test_a_dead_supervisor_can_own_nothing(tmp_path: Path) -> None:
    """Then nothing may be made either: nobody would be there to remove it."""
    with Supervisor("it", tmp_path / "work", tmp_path / "registry") as one:
        os.kill(json.loads((tmp_path / "registry" / "it.json").read_text())["supervisor"]["pid"], signal.SIGKILL)
        with pytest.raises(RigError, match="supervisor was ended by SIGKILL"):
            one.own_engine(tmp_path / "engine")


# --- a real engine ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real_engine() -> Iterator[tuple[Engine, str]]:
    """The engine of this machine, and an image."""
    with empty_image() as found:
        yield found


@pytest.fixture
def stranger(real_engine: tuple[Engine, str], tmp_path: Path) -> Iterator[Belongings]:
    """Somebody else's container, network and volume, labelled as kind does; they have to survive."""
    name = f"stranger-{tmp_path.name}-{os.getpid()}".replace("_", "-")
    one = Belongings(*real_engine, name, {"io.x-k8s.kind.cluster": name})
    yield one
    try:
        assert one.there() == one.things
    finally:
        one.remove()


HARNESS = """
import os, sys
from pathlib import Path
from harness.clients.container_engine import reach
from harness.clients.engine_things import labels
from harness.host.process import Supervisor
from harness.wait import now
from tests.containers import Belongings

run, image, base, how = sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4]
engine = reach(os.environ)
with Supervisor(run, base / "work", base / "registry") as supervisor:
    supervisor.own_engine(engine.socket)
    Belongings(engine, image, run, labels(run, now() + 3600), containers=2)
    if how == "keep":
        supervisor.keep(3600)
    print("running", flush=True)
    if how == "raise":
        raise ValueError
    if how == "wait":
        sys.stdin.read()
"""


@contextmanager
def harness_at_work(run: str, image: str, base: Path, how: str) -> Iterator[subprocess.Popen[bytes]]:
    """A harness of its own that has two containers, a network and a volume."""
    with subprocess.Popen(
        [sys.executable, "-c", HARNESS, run, image, str(base), how],
        cwd=Path(harness.__path__[0]).parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"running\n"
        yield process


def run_of(tmp_path: Path) -> str:
    return f"run-{tmp_path.name}-{os.getpid()}".replace("_", "-")


@pytest.mark.kind
@pytest.mark.parametrize("how", ["wait", "raise", "leave"])
def test_however_the_harness_ends_its_containers_do_as_well(
    real_engine: tuple[Engine, str], stranger: Belongings, tmp_path: Path, how: str
) -> None:
    """By SIGKILL, an exception or in peace: nothing with its label is left, and the stranger's things are."""
    engine, image = real_engine
    run = run_of(tmp_path)
    with harness_at_work(run, image, tmp_path, how) as doomed:
        if how == "wait":
            doomed.kill()
    until(lambda: not (tmp_path / "registry" / f"{run}.json").exists(), what="the end of the run", seconds=60)
    assert engine.leftovers(run) == []
    assert not (tmp_path / "work").exists()
    assert stranger.there() == stranger.things


@pytest.mark.kind
def test_a_run_that_was_kept_has_its_containers_until_it_is_ended(
    real_engine: tuple[Engine, str], tmp_path: Path
) -> None:
    engine, image = real_engine
    run = run_of(tmp_path)
    with harness_at_work(run, image, tmp_path, "keep"):
        pass
    assert {("network", run), ("volume", run), ("container", f"{run}-0")} <= everything(engine)
    assert kept_runs.end(tmp_path / "registry" / f"{run}.json") == ""
    assert engine.leftovers(run) == []


@pytest.mark.kind
def test_a_dead_supervisors_work_is_done_by_whoever_closes(real_engine: tuple[Engine, str], tmp_path: Path) -> None:
    """As after the memory ran out: the harness lives, and its supervisor does not."""
    engine, image = real_engine
    run = run_of(tmp_path)
    one = Supervisor(run, tmp_path / "work", tmp_path / "registry")
    one.own_engine(engine.socket)
    Belongings(engine, image, run, labels(run, now() + 3600))
    os.kill(json.loads((tmp_path / "registry" / f"{run}.json").read_text())["supervisor"]["pid"], signal.SIGKILL)
    one.close()
    assert engine.leftovers(run) == []


ASKING = """
import os, sys
from pathlib import Path
from harness.clients.container_engine import reach
from harness.clients.engine_things import labels
from harness.host.process import Supervisor
from harness.wait import now, pause

run, image, base, seconds = sys.argv[1], sys.argv[2], Path(sys.argv[3]), float(sys.argv[4])
engine = reach(os.environ)
supervisor = Supervisor(run, base / "work", base / "registry")
supervisor.own_engine(engine.socket)
flags = [word for key, value in labels(run, now() + 3600).items() for word in ("--label", f"{key}={value}")]
for number in range(3):
    supervisor.start(f"docker run {number}", [str(engine.command), "run", "--detach", "--volume=/bin:/bin:ro",
                     "--volume=/lib:/lib:ro", "--volume=/lib64:/lib64:ro", "--volume=/usr:/usr:ro", "--volume=/data",
                     *flags, image, "/bin/sleep", "3600"],
                     env={}, cwd=base / "work", log=base / "work" / "log")
pause(seconds)
os.kill(os.getpid(), 9)
"""


@pytest.mark.kind
@pytest.mark.parametrize("seconds", [0.0, 0.02, 0.05, 0.1, 0.2, 0.4])
def test_a_client_that_is_killed_in_the_middle_of_its_request_leaves_nothing(
    real_engine: tuple[Engine, str], tmp_path: Path, seconds: float
) -> None:
    """The engine may make a container for somebody who is gone; it is found all the same, with its volume."""
    engine, image = real_engine
    run = run_of(tmp_path)
    words = [sys.executable, "-c", ASKING, run, image, str(tmp_path), str(seconds)]
    killed = subprocess.run(words, cwd=Path(harness.__path__[0]).parent, check=False)
    assert killed.returncode == -signal.SIGKILL
    until(lambda: not (tmp_path / "registry" / f"{run}.json").exists(), what="the end of the run", seconds=60)
    # One that were still to come would be there by then.
    pause(1.0)
    assert engine.leftovers(run) == []


def test_the_supervisor_needs_nothing_but_the_standard_library() -> None:
    """It is loaded by path, in isolation from every installed package, and of ours only loads what is as poor."""
    folder = Path(supervisor.__file__).parent
    loaded = {"supervisor"}
    for name in (todo := ["supervisor"]):
        text = (folder / f"{name}.py").read_text()
        assert (
            not set(re.findall(r"^ *(?:from|import) (\w+)", text, re.MULTILINE)) - sys.stdlib_module_names - {"harness"}
        )
        ours = {*re.findall(r"from harness\.host\.(\w+) import", text)}
        ours |= {word for words in re.findall(r"from harness\.host import (.+)", text) for word in words.split(", ")}
        todo += sorted(ours - loaded)
        loaded |= ours
    assert loaded == {"supervisor", "memory_directory", "process_launch", "reaper", "run_removal", "run_traces"}
