"""Child processes live as long as they are wanted and not a moment longer, however the harness ends."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import tenacity

import harness
from harness.errors import ProcessDied, RigError
from harness.host import run_traces, standing_still
from harness.host.process import Process, Supervisor, namespaces_allowed
from harness.host.run_removal import sweep
from harness.secret import Secret
from harness.wait import until

pytestmark = pytest.mark.processes

FOREVER = "sleep 3600 & wait"
STUBBORN = "trap '' TERM; echo ready; while :; do sleep 1; done"
POLITE = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.02; done"
NOBODY = 65534


class Run:
    """A run of its own below a directory: the supervisor, and what can be seen of it from outside."""

    def __init__(self, base: Path) -> None:
        self.id = f"run-{base.name}-{os.getpid()}"
        self.base, self.work, self.registry = base, base / "work", base / "registry"
        self.supervisor = Supervisor(self.id, self.work, self.registry)

    def start(self, script: str, name: str = "server", cwd: Path | None = None, pod: Path | None = None) -> Process:
        argv, log = ["/bin/sh", "-c", script], self.work / f"{name}.log"
        return self.supervisor.start(name, argv, env={"PATH": os.defpath}, cwd=cwd or self.work, log=log, pod=pod)

    def entry(self) -> dict[str, Any]:
        entry: dict[str, Any] = json.loads((self.registry / f"{self.id}.json").read_text())
        return entry

    def traces(self) -> list[str]:
        return traces_of(self.id, self.base)


def traces_of(run_id: str, base: Path) -> list[str]:
    """Return everything that is left of a run: its marked processes, its supervisor, its files."""
    mark, found = f"REHEARSE_RUN={run_id}".encode(), []
    for where, directories, files in os.walk(base):
        found += [f"{where}/{name}" for name in (*directories, *files) if name != "registry"]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_text())
        except OSError:
            continue
    return found


def mounts() -> list[str]:
    """Return the mounts of this machine without those of a container engine, which come and go as they please."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if "/docker/" not in line and "/containerd/" not in line]


def all_gone(run_id: str, base: Path) -> None:
    until(lambda: not traces_of(run_id, base), what=f"the last trace of {run_id}", seconds=30)


def wrote(process: Process, line: str) -> None:
    until(lambda: line in process.tail(), what=f"{line!r} in the log", seconds=30, died=process.died, log=process.tail)


def ended(process: Process) -> int:
    def status() -> tuple[int] | None:
        return None if (code := process.poll()) is None else (code,)

    return until(status, what="its end", seconds=30)[0]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """A run that is closed in the end, after which there must be no trace of it."""
    one = Run(tmp_path)
    with one.supervisor:
        yield one
    assert one.traces() == []


@pytest.fixture
def deaf() -> Iterator[None]:
    """Ignore what the jobs of a shell ignore that run in the background."""
    ours = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGQUIT)}
    yield
    for number, handler in ours.items():
        signal.signal(number, handler)


# --- one server -------------------------------------------------------------------------------------------------------


def test_a_server_runs_until_it_is_stopped(run: Run) -> None:
    """It is alive, says so, hears SIGTERM, and its own status comes back; also when it is stopped twice."""
    server = run.start(POLITE)
    wrote(server, "ready")
    assert server.poll() is None
    assert server.died() is None
    assert server.stop(30) == 7
    assert server.stop(30) == server.kill() == server.poll() == 7
    assert server.died() == "server was stopped"


def test_a_server_that_dies_at_once_is_reported_with_its_last_words(run: Run) -> None:
    """The most common failure gets the truest sentence: status and log, not a deadline."""
    server = run.start("echo listening; echo no storage given >&2; exit 3", "vault 1.7.0")
    with pytest.raises(ProcessDied, match=r"vault 1\.7\.0 ended by itself with status 3") as caught:
        until(lambda: None, what="vault to listen", seconds=3600, died=server.died, log=server.tail)
    assert caught.value.log == ("listening", "no storage given")


def test_a_server_killed_from_outside_is_not_said_to_have_ended_by_itself(run: Run) -> None:
    """As when the kernel runs out of memory."""
    server = run.start(FOREVER)
    os.kill(server.pid, signal.SIGKILL)
    assert ended(server) == -signal.SIGKILL
    assert server.died() == "server was ended from outside by SIGKILL"


def test_a_server_that_ignores_sigterm_is_killed_after_the_deadline(run: Run) -> None:
    server = run.start(STUBBORN)
    wrote(server, "ready")
    assert server.stop(0.05) == -signal.SIGKILL
    assert server.died() == "server was stopped"


@pytest.mark.parametrize("end", [lambda server: server.kill(), lambda server: server.stop(30)])
def test_what_a_server_started_ends_with_it(run: Run, end: Callable[[Process], int]) -> None:
    """When the end of a server is known, its whole process group is gone, also the deaf and the orphaned."""
    server = run.start(f"(trap '' TERM; (sleep 3600 & sleep 3600) & wait) & echo ready; {FOREVER}")
    wrote(server, "ready")
    end(server)
    assert [trace for trace in run.traces() if "sleep" in trace] == []


def test_what_a_server_that_ended_by_itself_left_running_is_ended(run: Run) -> None:
    """A leftover would hold the port or the data the next version needs."""
    server = run.start("sleep 3600 & exit 0")
    assert ended(server) == 0
    assert [trace for trace in run.traces() if "sleep" in trace] == []


def test_whoever_slipped_away_is_ended_with_the_run(run: Run) -> None:
    """A grandchild in a session of its own outlives its server, but not the run (the fixture looks for it)."""
    server = run.start("setsid sh -c 'echo away; exec sleep 3600' & sleep 0.01; wait")
    wrote(server, "away")
    server.kill()
    assert [trace for trace in run.traces() if "sleep" in trace]


@pytest.mark.parametrize(
    ("argv", "cwd", "log", "message"),
    [
        (["/no/such/vault"], ".", "log", "tried to execute /no/such/vault: No such file or directory"),
        (["/etc/passwd"], ".", "log", "tried to execute /etc/passwd: Permission denied"),
        (["/bin/true"], "absent", "log", r"tried to enter the directory \S+/absent: No such file"),
        (["/bin/true"], ".", "absent/log", r"tried to write to the log \S+/absent/log: No such file"),
        (["/bin/tr\0ue"], ".", "log", "embedded null byte"),
    ],
)
def test_a_server_that_cannot_start_says_what_was_tried(
    run: Run, argv: list[str], cwd: str, log: str, message: str
) -> None:
    """The step and the kernel's answer come back, and the supervisor is well afterwards."""
    with pytest.raises(RigError, match="vault could not be started: .*" + message):
        run.supervisor.start("vault", argv, env={}, cwd=run.work / cwd, log=run.work / log)
    assert ended(run.start("exit 0")) == 0


def test_the_environment_is_what_was_given_and_the_mark(run: Run) -> None:
    """No VAULT_ADDR, proxy or PATH of ours gets through, and odd characters do."""
    given = {"ODD": "ü = '\n", "EMPTY": ""}
    argv = [sys.executable, "-I", "-S", "-c", "print(open('/proc/self/environ', 'rb').read())"]
    server = run.supervisor.start("env", argv, env=given, cwd=run.work, log=run.work / "env.log")
    assert ended(server) == 0
    seen = dict(pair.split("=", 1) for pair in eval("".join(server.tail())).decode().rstrip("\0").split("\0"))
    assert seen == {**given, "REHEARSE_RUN": run.id, "REHEARSE_MARK": run.entry()["mark"]}


@pytest.mark.usefixtures("deaf")
def test_a_server_is_born_with_nothing_of_ours(run: Run) -> None:
    """No open file, no input, no ignored signal, no way to more rights; only its user can read what it writes."""
    script = """
        ls /proc/self/fd | tr '\\n' ' '; readlink /proc/self/fd/0; umask; pwd
        exec grep -E '^(SigBlk|SigIgn|NoNewPrivs)' /proc/self/status
    """
    server = run.start(script)
    assert ended(server) == 0
    fds, umask, here, *status = server.tail()
    assert fds == "0 1 2 3 /dev/null"  # 3 is the directory that ls reads
    assert umask == "0077"
    assert here == str(run.work)
    assert {tuple(line.split()) for line in status} == {
        ("NoNewPrivs:", "1"),
        ("SigBlk:", "0" * 16),
        ("SigIgn:", "0" * 16),
    }
    assert (run.work / "server.log").stat().st_mode & 0o777 == 0o600
    assert run.work.stat().st_mode & 0o777 == 0o700


# --- logs -------------------------------------------------------------------------------------------------------------


def test_the_log_is_kept_over_a_restart_and_the_tail_is_its_own(run: Run) -> None:
    """The last words of the old version are in the file, but not among those of the new one."""
    for version in ("old", "new"):
        server = run.start(f"echo {version} 1; echo {version} 2; echo {version} 3")
        assert ended(server) == 0
    assert server.tail(2) == ["new 2", "new 3"]
    assert server.tail() == ["new 1", "new 2", "new 3"]
    assert (run.work / "server.log").read_text().startswith("old 1\n")


def test_the_tail_is_redacted_also_where_a_long_log_is_cut(run: Run) -> None:
    """A secret never leaves through a log; and of the line that the cut goes through, nothing is shown."""
    Secret("correct-horse-battery")
    script = "i=0; while [ $i -lt 4000 ]; do echo correct-horse-battery $i; i=$((i+1)); done"
    server = run.start(script)
    assert ended(server) == 0
    lines = server.tail(100_000)
    assert 1000 < len(lines) < 4000
    assert all(re.fullmatch(r"secret:[0-9a-f]{12} \d+", line) for line in lines)


def test_a_log_that_is_gone_has_no_tail(run: Run) -> None:
    """Reading the log for an error must not hide the error."""
    server = run.start("exit 1")
    ended(server)
    (run.work / "server.log").unlink()
    assert server.tail() == []


# --- the run ----------------------------------------------------------------------------------------------------------


def test_threads_start_and_stop_servers_side_by_side(run: Run) -> None:
    """Answers find their askers."""

    def life(number: int) -> tuple[list[str], int]:
        server = run.start(
            f"trap 'exit {number}' TERM; echo {number}; while :; do sleep 0.02; done", f"server {number}"
        )
        wrote(server, str(number))
        return server.tail(), server.stop(30)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(life, range(16))) == [([str(number)], number) for number in range(16)]


def test_the_registry_knows_the_run_while_it_lasts(run: Run) -> None:
    """Enough to find everything again if both the harness and the supervisor are killed."""
    server = run.start(FOREVER, "etcd")
    entry = run.entry()
    (child,) = entry["children"]
    assert (entry["run"], entry["work"], entry["harness"]["pid"]) == (run.id, str(run.work), os.getpid())
    assert (child["name"], child["pid"]) == ("etcd", server.pid)
    for known in (entry["harness"], entry["supervisor"], child):
        started = Path(f"/proc/{known['pid']}/stat").read_text().rpartition(")")[2].split()[19]
        assert known["started"] == int(started)
    assert (run.registry / f"{run.id}.json").stat().st_mode & 0o777 == 0o600
    assert run.registry.stat().st_mode & 0o777 == 0o700


def test_closing_leaves_no_thread_no_file_and_no_zombie(tmp_path: Path) -> None:
    """A program that rehearses a hundred times does not fill up."""
    threads, files = threading.active_count(), len(os.listdir("/proc/self/fd"))
    with Supervisor("tidy", tmp_path / "work", tmp_path / "registry") as supervisor:
        server = supervisor.start("it", ["/bin/sleep", "9"], env={}, cwd=tmp_path, log=tmp_path / "work" / "log")
        pid = json.loads((tmp_path / "registry" / "tidy.json").read_text())["supervisor"]["pid"]
    supervisor.close()
    assert (threading.active_count(), len(os.listdir("/proc/self/fd"))) == (threads, files)
    assert not Path(f"/proc/{pid}").exists()
    assert server.stop(0) == -signal.SIGKILL
    with pytest.raises(RigError, match="late could not be started: the run is over"):
        supervisor.start("late", ["/bin/true"], env={}, cwd=tmp_path, log=tmp_path / "log")


def test_an_existing_directory_is_refused_and_left_alone(tmp_path: Path) -> None:
    """We only ever remove what we have made."""
    precious = tmp_path / "work" / "precious"
    precious.mkdir(parents=True)
    with pytest.raises(RigError, match=r"run one cannot begin in .*File exists"):
        Supervisor("one", tmp_path / "work", tmp_path / "registry")
    assert precious.exists()
    assert not list((tmp_path / "registry").iterdir())


def test_a_second_run_of_the_same_name_is_refused_and_the_first_goes_on(run: Run) -> None:
    with pytest.raises(RigError, match="File exists"):
        Supervisor(run.id, run.base / "other", run.registry)
    assert ended(run.start("exit 5")) == 5
    assert run.entry()["children"]


def test_an_error_inside_the_block_ends_everything_and_comes_out(tmp_path: Path) -> None:
    one = Run(tmp_path)
    with pytest.raises(RigError, match="No such"), one.supervisor as supervisor:  # noqa: PT012  # the block is the point
        one.start(FOREVER)
        supervisor.start("it", ["/no/such"], env={}, cwd=tmp_path, log=one.work / "log")
    assert one.traces() == []


def test_the_supervisor_does_not_hear_signals_meant_for_the_harness(run: Run) -> None:
    """Whoever signals the whole family must not take away the one who clears up."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(run.entry()["supervisor"]["pid"], number)
    assert ended(run.start("exit 5")) == 5


def test_a_killed_supervisor_takes_its_servers_along(tmp_path: Path) -> None:
    """They end, polling says so and why, nothing can be started any more, and closing still removes everything."""
    one = Run(tmp_path)
    server, other = one.start(FOREVER), one.start("setsid sleep 3600 & wait", "other")
    os.kill(one.entry()["supervisor"]["pid"], signal.SIGKILL)
    assert ended(server) == other.stop(30) == -signal.SIGKILL
    assert server.died() == "server was killed, because its supervisor was ended by SIGKILL"
    with pytest.raises(RigError, match="late could not be started: its supervisor was ended by SIGKILL"):
        one.start(FOREVER, "late")
    one.supervisor.close()
    assert one.traces() == []


def test_a_sweep_ends_a_run_whose_supervisor_is_dead(tmp_path: Path) -> None:
    """What carries its secret is found and killed; what only carries its name, and anybody may, is not."""
    work, entry, secret = tmp_path / "work", tmp_path / "swept.json", "5" * 32
    (work / "data").mkdir(parents=True)
    work.chmod(0o700)
    os.close(run_traces.plant(str(work), "swept", secret))
    entry.write_text("{}")
    marks = {"REHEARSE_RUN": "swept"}
    with (
        subprocess.Popen(["/bin/sleep", "3600"], env={**marks, "REHEARSE_MARK": secret}) as orphan,
        subprocess.Popen(["/bin/sleep", "3600"], env={**marks, "REHEARSE_MARK": secret[1:]}) as stranger,
    ):
        assert sweep({"run": "swept", "mark": secret, "work": str(work), "children": []}, str(entry)) == []
        assert orphan.wait() == -signal.SIGKILL
        assert stranger.poll() is None
        stranger.kill()
    assert traces_of("swept", tmp_path) == []


# --- ends that nobody can prepare for ---------------------------------------------------------------------------------

HARNESS = """
import sys
from pathlib import Path
from harness.host.process import Supervisor, namespaces_allowed

run, base = sys.argv[1], Path(sys.argv[2])
print("began", flush=True)
supervisor = Supervisor(run, base / "work", base / "registry")
(base / "work" / "account").mkdir()
print("armed", flush=True)
pod = None if namespaces_allowed() else base / "work" / "account"
for number in range(6):
    script = "(setsid sleep 3600 &) ; trap '' TERM; sleep 3600 & while :; do sleep 1; done"
    server = supervisor.start(f"server {number}", ["/bin/sh", "-c", script], env={"PATH": "/usr/bin:/bin"},
                              cwd=base / "work", log=base / "work" / "log", pod=pod)
    print("started", flush=True)
print("running", flush=True)
server.stop(3600)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("moment", ["began", "armed", "started", "running"])
def test_however_the_harness_ends_nothing_is_left(tmp_path: Path, how: signal.Signals, moment: str) -> None:
    """Killed at any point of a run, it leaves no process, no mount, no file and no entry in the registry."""
    before = mounts()
    with subprocess.Popen(
        [sys.executable, "-c", HARNESS, "doomed", str(tmp_path)],
        cwd=Path(harness.__path__[0]).parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as doomed:
        assert doomed.stdout
        while doomed.stdout.readline().strip() != moment:
            assert doomed.poll() is None
        doomed.send_signal(how)
    all_gone("doomed", tmp_path)
    assert mounts() == before


# --- as an ordinary user ----------------------------------------------------------------------------------------------


@pytest.fixture
def commons() -> Iterator[Path]:
    """A directory with a copy of the harness, for a user who may not look into the directories of this one."""
    with tempfile.TemporaryDirectory() as name:
        for package in (harness, tenacity):  # all that `process` needs and the standard library lacks
            folder = Path(package.__path__[0])
            shutil.copytree(folder, Path(name) / folder.name, ignore=shutil.ignore_patterns("__pycache__"))
        if os.geteuid() == 0:
            os.chown(name, NOBODY, NOBODY)
        Path(name).chmod(0o755)
        yield Path(name)


def ordinary() -> list[str]:
    """Return the beginning of a command that runs Python without privileges: ours as it is, or as nobody if root."""
    if os.geteuid() != 0:
        return [sys.executable]
    drop = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--"]
    works = "import os, sys; sys.exit(sys.version_info < (3, 11) or not os.access(sys.executable, os.X_OK))"
    for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        command = [*drop, python]
        if subprocess.run([*command, "-c", works], capture_output=True, check=False).returncode == 0:
            return command
    raise AssertionError("nobody can run a Python 3.11 here: install one in /usr/bin, or run the tests as another user")


def among_shared_mounts() -> list[str]:
    """Return the beginning of a command that runs Python where, as on most machines, mounts spread by themselves."""
    if namespaces_allowed():
        return [sys.executable]
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *user, "--mount", "--propagation", "shared", "--", sys.executable]


def outcome(command: list[str], script: str, base: Path) -> dict[str, Any]:
    """Run *script* in *base* and return the JSON it printed."""
    done = subprocess.run(
        [*command, "-B", "-c", script], cwd=base, stdout=subprocess.PIPE, text=True, check=True, timeout=120
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


POD = """
import json, os
from pathlib import Path
from harness.errors import RigError
from harness.host.process import Supervisor, namespaces_allowed
from harness.wait import until

def mounts():  # but not those of a container engine, which come and go as they please
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if "/docker/" not in line and "/containerd/" not in line]

script = '''
    cd /var/run/secrets/kubernetes.io/serviceaccount; cat namespace; echo ready
    while ! test -e token; do sleep 0.01; done; cat token; ls /run; id -u
    grep -c . /proc/self/uid_map; while :; do sleep 1; done
'''
before, base = mounts(), Path.cwd()
said = {"reason": namespaces_allowed(), "uid": os.getuid()}
with Supervisor("pod", base / "work", base / "registry", memory=MEMORY) as supervisor:
    said["in memory"] = supervisor.room != base / "work"
    account = supervisor.room / "account"
    account.mkdir()
    (account / "namespace").write_text("vault\\n")
    try:
        server = supervisor.start("vault", ["/bin/sh", "-c", script], env={"PATH": os.defpath},
                                  cwd=supervisor.room, log=supervisor.room / "log", pod=account)
    except RigError as error:
        said["error"] = str(error)
    else:
        until(lambda: "ready" in server.tail(), what="it", seconds=30, died=server.died, log=server.tail)
        (account / "token").write_text("late\\n")
        until(lambda: "1" in server.tail(), what="it", seconds=30, died=server.died, log=server.tail)
        said |= {"seen": server.tail(), "outside": mounts() != before, "status": server.stop(30)}
said["after"] = mounts() != before
said["left"] = [path.name for path in base.iterdir() if path.name not in ("harness", "tenacity")]
print(json.dumps(said))
"""


@pytest.mark.parametrize("memory", [0, 1 << 20])
@pytest.mark.parametrize("command", [lambda: [sys.executable], ordinary, among_shared_mounts])
def test_a_pod_sees_its_service_account_and_nobody_else_does(
    commons: Path, command: Callable[[], list[str]], memory: int
) -> None:
    """Files that arrive later are seen, the host's /run is not, the uid stays, and outside there is no mount.

    On a machine that forbids it, the same words say so beforehand and at the start.
    """
    said = outcome(command(), POD.replace("MEMORY", str(memory)), commons)
    assert said["after"] is False
    assert said["left"] == ["registry"]
    if said["reason"]:
        assert said["reason"].partition(";")[0] in said["error"]
        return
    assert said["in memory"] is bool(memory)
    assert said["seen"] == ["vault", "ready", "late", "secrets", str(said["uid"]), "1"]
    assert said["outside"] is False
    assert said["status"] == -signal.SIGTERM


def test_a_work_directory_that_the_pod_would_hide_is_refused(run: Run) -> None:
    """Better one clear sentence than a server that does not find its data."""
    account = run.work / "account"
    account.mkdir()
    message = "find /run again, which must not lie below /run" if not namespaces_allowed() else "tried to"
    with pytest.raises(RigError, match=message):
        run.start("true", cwd=Path("/run"), pod=account)


def test_a_pod_without_its_directory_is_refused(run: Run) -> None:
    with pytest.raises(RigError, match="tried to"):
        run.start("true", pod=run.work / "absent")


STUCK = """
import json, os
from pathlib import Path
from harness.errors import LeftBehind
from harness.host.process import Supervisor

base, said = Path.cwd(), {}

def stuck(name):
    room = base / name
    room.mkdir()
    supervisor = Supervisor(name, room / "work", base / "registry")
    (room / "work" / "closed" / "deep").mkdir(parents=True)
    (room / "work" / "closed").chmod(0)
    return room, supervisor

room, supervisor = stuck("closed")
supervisor.close()
said["closed"] = [str(path) for path in room.iterdir()]

room, supervisor = stuck("stuck")
room.chmod(0o500)
try:
    supervisor.close()
except LeftBehind as error:
    said["stuck"] = str(error)

room, supervisor = stuck("noted")
room.chmod(0o500)
try:
    with supervisor:
        1 / 0
except ZeroDivisionError as error:
    said["noted"] = error.__notes__

said["entries"] = sorted(path.name for path in (base / "registry").iterdir())
print(json.dumps(said))
for name in ("stuck", "noted"):
    (base / name).chmod(0o700)
"""


def test_what_cannot_be_removed_is_named_and_stays_on_record(commons: Path) -> None:
    """Closed directories are opened and removed; a work directory that stays is an error, or a note to the first."""
    said = outcome(ordinary(), STUCK, commons)
    assert said["closed"] == []
    assert re.search(r"run stuck is over, but there is still: \S+/stuck/work: Permission denied", said["stuck"])
    assert "run noted is over" in said["noted"][0]
    assert said["entries"] == ["noted.json", "stuck.json"]


KILLED = """
import json, os, signal
from pathlib import Path
from harness.host.process import Supervisor, namespaces_allowed
from harness.wait import until

base = Path.cwd()
with Supervisor("killed", base / "work", base / "registry") as supervisor:
    pod = None if namespaces_allowed() else base / "work"
    argv, work = ["/bin/sleep", "3600"], base / "work"
    server = supervisor.start("vault", argv, env={}, cwd=work, log=work / "log", pod=pod)
    entry = json.loads((base / "registry/killed.json").read_text())
    os.kill(entry["supervisor"]["pid"], signal.SIGKILL)
    # Reaped by whoever adopts it; a zombie has no environment left.
    def gone():
        try:
            return not Path(f"/proc/{server.pid}/environ").read_bytes()
        except OSError:
            return True
    until(gone, what="the end of the pod", seconds=30)
print(json.dumps({"left": [path.name for path in base.iterdir()]}))
"""


def test_a_pod_of_an_ordinary_user_dies_with_its_supervisor(commons: Path) -> None:
    """Its namespaces do not keep it from dying with its parent."""
    assert sorted(outcome(ordinary(), KILLED, commons)["left"]) == ["harness", "registry", "tenacity"]


def test_a_machine_that_is_too_busy_for_a_trial_of_a_pod_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.host.process._PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr("harness.host.process._PODS_SEEN", [])
    assert namespaces_allowed().startswith("the trial did not end in 0 s: this machine is too busy for it")


COUNTING = "i=0; while :; do i=$((i+1)); echo $i; done"


def test_a_server_that_is_held_writes_nothing_and_goes_on_afterwards(run: Run) -> None:
    server = run.start(COUNTING)
    log = run.work / "server.log"
    until(lambda: log.stat().st_size > 0, what="it to write", seconds=30, died=server.died)
    with standing_still.held(server):
        size = log.stat().st_size
        assert all(log.stat().st_size == size for _ in range(1000))
    until(lambda: log.stat().st_size > size, what="it to go on", seconds=30, died=server.died)


def test_a_server_that_has_ended_is_not_held(run: Run) -> None:
    server = run.start("exit 3")
    ended(server)
    with pytest.raises(ProcessDied, match="ended by itself with status 3"), standing_still.held(server):
        raise AssertionError("nothing stands still")


def test_of_a_server_that_is_held_when_its_run_ends_nothing_is_left(tmp_path: Path) -> None:
    run = Run(tmp_path)
    with run.supervisor:
        server = run.start(POLITE)
        wrote(server, "ready")
        server.hold()
    assert run.traces() == []
