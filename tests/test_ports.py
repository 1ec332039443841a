"""A port is handed out once, whoever asks, and comes back however its holder ends."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import RigError
from harness.host import ports
from harness.host.ports import Ports

HOLDER = """
import sys
from pathlib import Path
from harness.host.ports import Ports

with Ports(Path(sys.argv[1])) as ports:
    print(*ports.take(25), flush=True)
    sys.stdin.read()
"""

pytestmark = pytest.mark.processes


def holder(directory: Path) -> subprocess.Popen[str]:
    """Start another run that takes 25 ports and keeps them until its stdin is closed."""
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(directory)],
        cwd=Path(ports.__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def numbers(run: subprocess.Popen[str]) -> list[int]:
    assert run.stdout
    return [int(word) for word in run.stdout.readline().split()]


def test_ports_are_free_and_ours_until_the_end(tmp_path: Path) -> None:
    """What is taken can be listened on, and leaves no lock file behind."""
    directory = tmp_path / "state" / "ports"
    with Ports(directory) as ours, ExitStack() as opened:
        taken = ours.take(8)
        for port in taken:
            opened.enter_context(socket.create_server(("127.0.0.1", port)))
        assert len(set(taken)) == 8
        assert {file.name for file in directory.glob("*.lock")} == {f"{port}.lock" for port in taken}
        assert directory.stat().st_mode & 0o777 == 0o700
    assert not list(directory.glob("*.lock"))


def test_nothing_is_taken_where_nothing_is_asked_for(tmp_path: Path) -> None:
    with Ports(tmp_path) as ours:
        assert ours.take(0) == []


def test_a_port_somebody_listens_on_is_not_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that knows nothing of us keeps its port, and too few ports are an error with a way out."""
    with socket.create_server(("127.0.0.1", 0)) as server, Ports(tmp_path) as ours:
        port = server.getsockname()[1]
        monkeypatch.setattr(ports, "_RANGE", range(port, port + 1))
        with pytest.raises(RigError, match=r"1 free ports .* and 0 were found: end other rehearsals"):
            ours.take(1)


def test_a_machine_whose_loopback_is_down_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To bind works there, as in a new network namespace, and then each server would be waited for, a minute long."""

    def connect(*_: object) -> None:
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr(socket.socket, "connect", connect)
    with Ports(tmp_path) as ours, pytest.raises(RigError, match="nobody is reached at") as caught:
        ours.take(1)
    assert "(Network is unreachable)" in str(caught.value)
    assert "ip link set lo up" in str(caught.value)


def test_too_few_ports_are_all_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that cannot be met keeps nothing from the next one."""
    with Ports(tmp_path / "found") as scout:
        one = scout.take(1)[0]
    monkeypatch.setattr(ports, "_RANGE", range(one, one + 1))
    with Ports(tmp_path / "tried") as ours:
        with pytest.raises(RigError):
            ours.take(2)
        assert not list((tmp_path / "tried").glob("*.lock"))
        assert ours.take(1) == [one]


@pytest.mark.parametrize(
    ("ephemeral", "expected"),
    [
        ("32768\t60999\n", set(range(21000, 32000))),
        ("25000 60999\n", set(range(21000, 25000))),
        ("1024 65535\n", set(range(21000, 32000))),
    ],
)
def test_the_kernels_own_ports_are_avoided_where_possible(tmp_path: Path, ephemeral: str, expected: set[int]) -> None:
    """A port that the kernel may give to any client is only ours if there is no other."""
    (tmp_path / "range").write_text(ephemeral)
    assert set(ports._candidates(tmp_path / "range")) == expected


def test_threads_never_share_a_port(tmp_path: Path) -> None:
    """Neither over one object nor over several in one process."""
    with Ports(tmp_path) as one, Ports(tmp_path) as other, ThreadPoolExecutor(8) as pool:
        takes = [pool.submit(ours.take, 5) for ours in (one, other) * 8]
        taken = [port for take in takes for port in take.result()]
    assert len(set(taken)) == len(taken) == 80


def test_processes_never_share_a_port(tmp_path: Path) -> None:
    """Runs side by side get ports apart, and the files go with the runs."""
    runs = [holder(tmp_path) for _ in range(3)]
    taken = [port for run in runs for port in numbers(run)]
    for run in runs:
        run.communicate()
    assert len(set(taken)) == len(taken) == 75
    assert not list(tmp_path.glob("*.lock"))


def test_a_killed_run_gives_its_ports_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGKILL frees the ports at once, and the next run removes the files, but not those of a run that lives."""
    dead, alive = holder(tmp_path), holder(tmp_path)
    its, kept = numbers(dead), numbers(alive)
    dead.kill()
    dead.communicate()
    monkeypatch.setattr(ports, "_RANGE", its)
    with Ports(tmp_path) as ours:
        assert {file.name for file in tmp_path.glob("*.lock")} == {f"{port}.lock" for port in kept}
        assert ours.take(25) == its
    alive.communicate()


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4), st.booleans()), max_size=12))
def test_no_order_of_taking_and_ending_hands_a_port_out_twice(moves: list[tuple[int, int, bool]]) -> None:
    """Three runs take and end in any order: what they hold at the same time is always apart."""
    with tempfile.TemporaryDirectory() as name:
        held: dict[int, tuple[Ports, list[int]]] = {}
        for run, count, ends in moves:
            ours, taken = held.setdefault(run, (Ports(Path(name)).__enter__(), []))
            taken += ours.take(count)
            everyones = [port for _, some in held.values() for port in some]
            assert len(set(everyones)) == len(everyones)
            if ends:
                held.pop(run)[0].__exit__(None, None, None)
