"""What dead runs left is found and ended; what lives, what is somebody else's and what is in doubt stays."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

import harness
from harness.clients.container_engine import Engine
from harness.clients.engine_things import labels
from harness.host import kept_runs, run_registry, run_traces
from harness.host.process import Supervisor
from harness.host.run_removal import sweep
from harness.maintenance import cleanup
from harness.maintenance.cleanup import RunRemains
from harness.wait import now, until
from tests.containers import Belongings, empty_image
from tests.runs import kill_everybody

pytestmark = pytest.mark.processes

LONG_AGO = 86_400.0  # in 1970: before any supervisor that may be at work on this machine
NOBODY = 65534
SECRET = secrets.token_hex(16)  # of this process alone: what carries another is not ours to end
GONE = {"pid": 1, "started": -1}


@dataclass
class Place:
    """Where runs of a test leave things. Only they are looked at: other runs of this machine are not ours to judge."""

    base: Path
    run: str

    def __post_init__(self) -> None:
        self.registry, self.temporary = self.base / "registry", self.base / "temporary"
        for folder in (self.registry, self.temporary):
            folder.mkdir()
        self.work = self.temporary / f"rehearse-{self.run}"
        self.entry = self.registry / f"{self.run}.json"

    def record(self, **changed: object) -> None:
        """Write an entry as the supervisor does, of a run whose processes are gone."""
        entry = {
            "run": self.run,
            "harness": GONE,
            "supervisor": GONE,
            "work": str(self.work),
            "created": now(),
            "children": [],
            "mark": SECRET,
            **run_traces.whereabouts(),
        }
        said = {name: value for name, value in (entry | changed).items() if value is not None}
        self.entry.write_text(json.dumps(said))
        self.entry.chmod(0o600)

    def lay_out(self) -> None:
        """Make the work directory as the supervisor and the local driver do, with something in it, long ago."""
        self.lay_out_unmarked()
        os.close(run_traces.plant(str(self.work), self.run, SECRET))
        os.utime(self.work, (LONG_AGO, LONG_AGO))

    def lay_out_unmarked(self) -> None:
        """Make the work directory as the release before did, which put no mark into it."""
        self.work.mkdir(mode=0o700)
        for name in ("vault/data", "pod", "cluster-apps/etcd"):
            (self.work / name).mkdir(parents=True)
        (self.work / "vault" / "data" / "db").write_bytes(bytes(300_000))
        (self.work / "root-token").touch()
        os.utime(self.work, (LONG_AGO, LONG_AGO))

    def find(self, *others: Path, engine: Engine | None = None) -> list[RunRemains]:
        found = cleanup.find(self.registry, self.temporary, *others, engine=engine)
        return [one for one in found if one.run == self.run]

    def one(self, *others: Path, engine: Engine | None = None) -> RunRemains:
        (found,) = self.find(*others, engine=engine)
        return found

    def tree(self) -> list[str]:
        return sorted(str(path) for path in self.base.rglob("*"))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A place of its own for a test; whatever a test that fails leaves running ends with it."""
    one = Place(tmp_path, f"{tmp_path.name}-{os.getpid()}")
    yield one
    known = {"run": one.run, "mark": SECRET, "work": str(one.base / "nothing")}
    sweep(known, str(one.base / "nothing"))


@contextmanager
def sleeping(run: str = "", user: int | None = None, secret: str = SECRET) -> Iterator[subprocess.Popen[bytes]]:
    """A process that sleeps until the end of the block, with the marks of a run or without any."""
    environment = {"REHEARSE_RUN": run, "REHEARSE_MARK": secret} if run else {}
    with subprocess.Popen(["/bin/sleep", "3600"], env=environment, user=user) as process:
        try:
            until(lambda: psutil.Process(process.pid).name() == "sleep", what="sleep to run", seconds=30)
            yield process
        finally:
            process.kill()


def test_a_process_is_known_by_its_mark_from_its_first_moment_on() -> None:
    """A program has its name before /proc has what it was started with."""
    for _ in range(100):
        with subprocess.Popen(["/bin/sleep", "3600"], env={"REHEARSE_MARK": SECRET}) as process:
            try:
                assert run_traces.carries(process.pid, SECRET)
            finally:
                process.kill()


def test_a_process_without_an_environment_is_not_waited_for() -> None:
    began = now()
    with subprocess.Popen(["/bin/sleep", "3600"], env={}) as process:
        try:
            assert run_traces.environment(process.pid) == {}
        finally:
            process.kill()
    assert now() - began < 0.5


def started(pid: int) -> int:
    """Return the start time of a process in clock ticks, the way proc(5) counts the fields of stat."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[22 - 3])


# --- what is ended ----------------------------------------------------------------------------------------------------

CRASHED = """
import sys
from pathlib import Path
from harness.host.process import Supervisor

supervisor = Supervisor(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
work = Path(sys.argv[2])
(work / "data").write_bytes(bytes(250_000))
supervisor.start("vault", ["/bin/sh", "-c", "(setsid sleep 3600 &) ; sleep 3600 & echo; sleep 3600"],
                 env={"PATH": "/usr/bin:/bin"}, cwd=work, log=work / "log")
print("running", flush=True)
sys.stdin.read()
"""


def crash(place: Place) -> None:
    """Let a real run begin, and kill its harness, its supervisor and its watcher, so that none can clear up."""
    with subprocess.Popen(
        [sys.executable, "-c", CRASHED, place.run, str(place.work), str(place.registry)],
        cwd=Path(harness.__path__[0]).parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as doomed:
        assert doomed.stdout
        assert doomed.stdout.readline() == b"running\n"
        until(lambda: (place.work / "log").stat().st_size, what="the server's children", seconds=30)
        kill_everybody(place.entry)


def test_a_crashed_run_is_found_and_ended_and_a_foreign_etcd_beside_it_lives_on(place: Place, tmp_path: Path) -> None:
    """Processes, work directory and entry go; a process without the mark stays, and so does one of another run."""
    crash(place)
    etcd = tmp_path / "etcd"
    etcd.write_text("#!/bin/sh\nread line\n")
    etcd.chmod(0o700)
    with (
        subprocess.Popen([str(etcd)], env={}, cwd=place.work, stdin=subprocess.PIPE) as foreign,
        sleeping(f"{place.run}-other") as other,
    ):
        # The kernel has ended the server itself; what it had started is what is left, as soon as it is what it will be.
        until(lambda: set(place.one().processes.values()) == {"sleep"}, what="the sleepers", seconds=30)
        remains = place.one()
        assert remains.state == "left"
        assert remains.size >= 250_000
        assert cleanup.clean([remains]) == []
        assert foreign.poll() is other.poll() is None
    assert place.find() == []
    assert not place.work.exists()
    assert not place.entry.exists()


def test_what_only_carries_the_name_of_a_run_is_not_ended(place: Place) -> None:
    """Anybody may set REHEARSE_RUN; and where the entry is gone, nothing confirms a secret either."""
    with sleeping(place.run, secret="") as bystander:
        for recorded in (False, True):
            if recorded:
                place.lay_out()
                place.record()
            remains = place.one()
            assert remains.state == "unsure"
            assert (
                f"not the secret that a server of it has: look at it, and end it yourself (kill {bystander.pid})"
                in (remains.doubt)
            )
            assert len(cleanup.clean([remains])) == 1
            assert bystander.poll() is None
    assert place.work.exists()


@pytest.mark.parametrize("content", [None, b"", b'{"run": ', b'{"run": "it"}', b"\xff"])
@pytest.mark.parametrize(
    ("marked", "doubt"),
    [(True, "carries a mark, and the entry that could confirm it is gone"), (False, "of an earlier release left")],
)
def test_a_work_directory_that_no_entry_confirms_is_named_and_never_removed(
    place: Place, content: bytes | None, marked: bool, doubt: str
) -> None:
    """It may be anybody's, whatever it is called and holds: a person's own has a name and a vault/data as ours have."""
    if marked:
        place.lay_out()
    else:
        place.lay_out_unmarked()
    if content is not None:
        place.entry.write_bytes(content)
    before = place.tree()
    remains = place.one()
    assert (remains.state, remains.size >= 300_000) == ("unsure", True)
    assert doubt in remains.doubt
    assert f"remove it by hand: rm -rf {place.work}" in remains.doubt
    assert len(cleanup.clean([remains])) == 1
    assert place.tree() == before


def test_what_the_release_before_left_is_named_and_how_to_remove_it(place: Place) -> None:
    """Its entries have no mark, and its directories neither: nothing proves whose they are."""
    place.lay_out_unmarked()
    place.record(mark=None, machine=None, boot=None, space=None)
    before = place.tree()
    remains = place.one()
    assert "made by a release that put no mark into what it made" in remains.doubt
    (told,) = cleanup.clean([remains])
    assert f"rm -rf {place.work} {place.entry}" in told
    assert place.tree() == before


def test_an_entry_that_names_anything_is_no_reason_to_advise_its_removal(place: Place) -> None:
    """Neither one that says it is of the release before, nor one whose directory has a name as ours have."""
    for name in (".ssh", "rehearse-.ssh"):
        home = place.base.parent / f"{place.base.name}-home" / name
        home.mkdir(parents=True, mode=0o700)
        (home / "id_ed25519").write_text("mine")
        place.record(run=".ssh", work=str(home), mark=None, machine=None, boot=None, space=None)
        entry = place.entry.replace(place.registry / ".ssh.json")
        (remains,) = [one for one in cleanup.find(place.registry, place.temporary) if one.run == ".ssh"]
        assert remains.state == "unsure"
        assert f"rm -rf {home}" not in remains.doubt
        assert len(cleanup.clean([remains])) == 1
        assert (home / "id_ed25519").read_text() == "mine"
        entry.unlink()


def test_a_forged_entry_removes_nothing(place: Place) -> None:
    """An entry alone can name any directory of this user; the directory has to confirm it, with a secret and its place.

    Not even a true mark helps that was copied, or that came along with a directory that was moved.
    """
    home = place.base / "home"
    for forged in (home / ".ssh", home / "rehearse-.ssh"):
        forged.mkdir(parents=True, mode=0o700)
        (forged / "id_ed25519").write_text("mine")
        entry = place.registry / ".ssh.json"
        place.record(run=".ssh", work=str(forged))
        place.entry.replace(entry)
        (remains,) = [one for one in cleanup.find(place.registry, place.temporary) if one.run == ".ssh"]
        assert "does not hold the mark that a rehearsal puts into its directory" in remains.doubt
        os.close(run_traces.plant(str(place.temporary), ".ssh", SECRET))
        (place.temporary / run_traces.MARK_FILE).replace(forged / run_traces.MARK_FILE)
        (remains,) = [one for one in cleanup.find(place.registry, place.temporary) if one.run == ".ssh"]
        assert "and is in another place now" in remains.doubt
        assert len(cleanup.clean([remains])) == 1
        assert (forged / "id_ed25519").read_text() == "mine"
        entry.unlink()


def test_an_entry_that_others_may_have_written_is_not_believed(place: Place) -> None:
    place.lay_out()
    place.record()
    place.entry.chmod(0o666)
    remains = place.one()
    assert "can be written to by others" in remains.doubt
    assert len(cleanup.clean([remains])) == 1
    assert place.work.exists()


def test_a_server_on_record_is_ended_also_if_it_dropped_its_environment(place: Place) -> None:
    """Its process id and start time are on record, from this boot and this PID namespace; from others they are not."""
    place.lay_out()
    with sleeping() as server:
        child = {"name": "etcd", "pid": server.pid, "started": started(server.pid)}
        place.record(children=[child], boot="another")
        assert place.one().state == "left"
        assert cleanup.clean([place.one()]) == []
        assert server.poll() is None
        place.lay_out()
        place.record(children=[child])
        assert cleanup.clean([place.one()]) == []
        assert server.wait(30) == -signal.SIGKILL


@pytest.mark.parametrize("content", [b"", b"{}"])
def test_an_entry_that_says_nothing_is_as_old_as_its_file_and_is_forgotten(place: Place, content: bytes) -> None:
    place.entry.write_bytes(content)
    os.utime(place.entry, (LONG_AGO, LONG_AGO))
    remains = place.one()
    assert (remains.state, remains.since) == ("left", LONG_AGO)
    assert cleanup.clean([remains]) == []
    assert place.find() == []


def test_the_entries_of_another_registry_name_their_own_work_directories(place: Place, tmp_path: Path) -> None:
    """Builds keep theirs beside the cache, and name their directories otherwise."""
    builds = tmp_path / "builds"
    work = builds / place.run
    work.mkdir(parents=True, mode=0o700)
    os.close(run_traces.plant(str(work), place.run, SECRET))
    place.record(work=str(work))
    place.entry.rename(builds / place.entry.name)
    assert place.find() == []
    remains = place.one(builds)
    assert (remains.state, remains.work) == ("left", work)
    assert cleanup.clean([remains]) == []
    assert list(builds.iterdir()) == []


# --- what lives -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recorded", [True, False])
def test_a_run_whose_supervisor_lives_is_listed_and_not_touched(place: Place, tmp_path: Path, recorded: bool) -> None:
    """Also where its registry is another than ours, as with another REHEARSE_STATE."""
    registry = place.registry if recorded else tmp_path / "elsewhere"
    with Supervisor(place.run, place.work, registry) as supervisor:
        server = supervisor.start("vault", ["/bin/sleep", "3600"], env={}, cwd=place.work, log=place.work / "vault.log")
        remains = place.one()
        assert (remains.state, remains.kept, list(remains.processes)) == ("running", False, [server.pid])
        before = place.tree()
        assert cleanup.clean([remains]) == []
        assert server.poll() is None
        assert place.tree() == before
    assert place.find() == []


KEPT = """
import sys
from pathlib import Path
from harness.host.process import Supervisor

work = Path(sys.argv[2])
supervisor = Supervisor(sys.argv[1], work, Path(sys.argv[3]))
supervisor.start("vault", ["/bin/sleep", "3600"], env={}, cwd=work, log=work / "log")
supervisor.keep(3600)
"""


def test_a_run_that_was_kept_is_told_as_such_and_not_touched(place: Place) -> None:
    """Its harness is gone on purpose."""
    subprocess.run(
        [sys.executable, "-c", KEPT, place.run, str(place.work), str(place.registry)],
        cwd=Path(harness.__path__[0]).parent,
        check=True,
    )
    remains = place.one()
    assert (remains.state, remains.kept) == ("running", True)
    assert ", kept, " in str(remains)
    assert cleanup.clean([remains]) == []
    assert place.one().processes == remains.processes != {}
    assert kept_runs.end(place.entry) == ""
    assert place.find() == []


def test_a_run_whose_harness_alone_lives_is_not_touched(place: Place) -> None:
    """It knows that its supervisor is gone, and clears up itself."""
    with Supervisor(place.run, place.work, place.registry):
        os.kill(json.loads(place.entry.read_text())["supervisor"]["pid"], signal.SIGKILL)
        assert place.one().state == "running"


def test_a_run_that_is_on_no_record_here_is_known_to_live_by_its_lock(place: Place, tmp_path: Path) -> None:
    """Its directory looks like that of a dead run; what saves it is that somebody holds it."""
    with Supervisor(place.run, place.work, tmp_path / "elsewhere"):
        (place.work / "vault" / "data").mkdir(parents=True)
        remains = place.one()
        assert remains.state == "running"
        assert cleanup.clean([remains]) == []
        assert place.work.exists()


def test_a_directory_without_a_mark_may_belong_to_a_supervisor_on_no_record(place: Place, tmp_path: Path) -> None:
    """One of the release before locked nothing."""
    with Supervisor("another", place.base / "another", tmp_path / "elsewhere"):
        place.lay_out_unmarked()
        os.utime(place.work)
        remains = place.one()
        assert "belong to the supervisor that runs as process" in remains.doubt
        assert len(cleanup.clean([remains])) == 1
        assert place.work.exists()


@pytest.mark.parametrize(("later", "strays"), [(0, {2: 7.0}), (1, {os.getpid(): 5.0, 2: 7.0})])
def test_a_supervisor_whose_run_is_on_record_casts_no_doubt_on_others(later: int, strays: dict[int, float]) -> None:
    """On record is the one that started when its entry says, and no other of the same id."""
    ours = run_registry.Identity(os.getpid(), started(os.getpid()) + later)
    record = run_registry.Entry("run", harness=ours, supervisor=ours, work="/tmp/rehearse-run", created=0.0)
    assert cleanup._Machine([], {os.getpid(): 5.0, 2: 7.0}, frozenset()).strays([record]) == strays


@pytest.mark.parametrize("who", ["harness", "supervisor"])
@pytest.mark.parametrize(("later", "state"), [(0, "running"), (1, "left"), (-1, "left")])
def test_a_process_is_known_by_its_start_and_not_by_its_id_alone(
    place: Place, who: str, later: int, state: str
) -> None:
    """Ids are used again: a stranger that has the id of a dead supervisor neither saves the run nor dies with it."""
    with sleeping() as stranger:
        identity = {"pid": stranger.pid, "started": started(stranger.pid) + later}
        place.record(**{who: identity}, children=[{"name": "etcd", **identity}])
        remains = place.one()
        assert remains.state == state
        assert cleanup.clean([remains]) == []
        assert stranger.poll() is None
    assert place.entry.exists() is (state == "running")


def test_a_zombie_is_dead(place: Place) -> None:
    """It keeps its id and its start time for as long as nobody asks how it ended."""
    with subprocess.Popen(["/bin/true"]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        place.record(supervisor={"pid": ended.pid, "started": started(ended.pid)})
        assert place.one().state == "left"


# --- what is somebody else's, or in doubt -----------------------------------------------------------------------------


def link(place: Place) -> None:
    precious = place.base / "precious"
    (precious / "vault" / "data").mkdir(parents=True)
    (precious / "vault" / "data" / "db").write_bytes(bytes(300_000))
    place.work.symlink_to(precious)
    place.record()


def file(place: Place) -> None:
    place.work.write_text("mine")
    place.record()


def shared(place: Place) -> None:
    place.lay_out()
    place.work.chmod(0o755)
    place.record()


def unmarked(place: Place) -> None:
    place.lay_out_unmarked()
    place.record()


def foreign_mark(place: Place) -> None:
    place.lay_out()
    place.record(mark=SECRET[::-1])


def linked_mark(place: Place) -> None:
    place.lay_out()
    (place.work / run_traces.MARK_FILE).replace(place.base / "mark")
    (place.work / run_traces.MARK_FILE).symlink_to(place.base / "mark")
    place.record()


def stranger(place: Place) -> None:
    (place.base / "documents").mkdir(mode=0o700)
    place.record(work=str(place.base / "documents"))


def relative(place: Place) -> None:
    place.lay_out()
    place.record(work=place.work.name)


def mistaken(place: Place) -> None:
    place.lay_out()
    place.record(run="another")


def linked_entry(place: Place) -> None:
    place.lay_out()
    place.record()
    place.entry.replace(place.base / "entry")
    place.entry.symlink_to(place.base / "entry")


def bare(place: Place) -> None:
    place.work.mkdir(mode=0o700)
    os.utime(place.work, (LONG_AGO, LONG_AGO))


def mixed(place: Place) -> None:
    place.lay_out_unmarked()
    (place.work / "notes.txt").write_text("mine")
    os.utime(place.work, (LONG_AGO, LONG_AGO))


@pytest.mark.parametrize(
    ("make", "doubt"),
    [
        (link, "is not a directory, but a link or a file"),
        (file, "is not a directory, but a link or a file"),
        (shared, "is not private to this user"),
        (unmarked, "does not hold the mark that a rehearsal puts into its directory"),
        (foreign_mark, "holds a mark that is not that of this run"),
        (linked_mark, "does not hold the mark that a rehearsal puts into its directory"),
        (stranger, "documents, and no run of this name would have that"),
        (relative, "no run of this name would have that"),
        (mistaken, "is the entry of run 'another'"),
        (linked_entry, "is not a file of this user"),
        (bare, "is on no record and does not hold just what a rehearsal puts there"),
        (mixed, "is on no record and does not hold just what a rehearsal puts there"),
    ],
    ids=lambda case: getattr(case, "__name__", ""),
)
def test_what_is_in_doubt_is_told_and_left_alone(place: Place, make: Callable[[Place], None], doubt: str) -> None:
    """Nothing of such a run is touched, and the message says what was seen."""
    make(place)
    before = place.tree()
    remains = place.one()
    assert remains.state == "unsure"
    assert doubt in remains.doubt
    (told,) = cleanup.clean([remains])
    assert doubt in told
    assert place.tree() == before


@pytest.mark.parametrize("make", [lambda path: path.symlink_to("/"), lambda path: path.write_text("mine")])
def test_a_link_or_a_file_that_nothing_names_is_none_of_our_business(
    place: Place, make: Callable[[Path], object]
) -> None:
    """We make directories: whatever else has such a name is somebody's own."""
    make(place.work)
    assert place.find() == []


@pytest.mark.parametrize("mark", ["../x", "two\nlines", "\udcff"])
def test_a_mark_that_no_run_can_have_is_not_acted_upon(place: Place, mark: str) -> None:
    """The mark is text that anybody may set: it must not lead out of the registry, nor out of its line."""
    outside = place.base / "x.json"
    outside.write_text("{}")
    with sleeping(mark) as orphan:
        (remains,) = [one for one in cleanup.find(place.registry, place.temporary) if orphan.pid in one.processes]
        assert remains.doubt == "no run has such a name"
        (told,) = cleanup.clean([remains])
        assert told.isprintable()
        assert orphan.poll() is None
    assert outside.exists()


def test_processes_of_another_user_are_not_touched(place: Place) -> None:
    """Root can look into them, and still has no business there. An ordinary user's are all that user's own."""
    root = os.geteuid() == 0
    with sleeping(place.run, user=NOBODY if root else None) as other:
        place.record()
        assert [one.state for one in place.find()] == (["unsure"] if root else ["left"])
        with sleeping(place.run) as orphan:
            remains = place.one()
            assert set(remains.processes) == ({orphan.pid} if root else {orphan.pid, other.pid})
            left = cleanup.clean([remains])
            assert [other.poll(), orphan.poll(), len(left)] == [None, None, 1] if root else left == []


ASKING = """
import json, os, sys
from pathlib import Path
from harness.maintenance import cleanup as cleaning

mine = [one for one in cleaning.find(Path(sys.argv[1]), Path(sys.argv[2])) if one.run == os.environ["REHEARSE_RUN"]]
print(json.dumps([[one.state for one in mine], cleaning.clean(mine)]))
"""


def test_whoever_asks_does_not_end_itself(place: Place) -> None:
    """A shell in which somebody has set the mark is not a server that was left."""
    answer = subprocess.run(
        [sys.executable, "-c", ASKING, str(place.registry), str(place.temporary)],
        cwd=Path(harness.__path__[0]).parent,
        env={**os.environ, "REHEARSE_RUN": place.run, "REHEARSE_MARK": SECRET},
        stdout=subprocess.PIPE,
        check=True,
    )
    states, left = json.loads(answer.stdout)
    assert states == ["unsure"]
    assert "unset REHEARSE_RUN" in left[0]


@contextmanager
def as_nobody(folder: Path) -> Iterator[None]:
    """Give *folder* to a user without rights and be that user; whoever is one already stays as it is."""
    root = os.geteuid() == 0
    if root:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_what_cannot_be_removed_is_named_and_stays_on_record() -> None:
    with tempfile.TemporaryDirectory() as name:
        place = Place(Path(name), f"stuck-{os.getpid()}")
        place.lay_out()
        place.record()
        with as_nobody(place.base):
            place.temporary.chmod(0o500)
            remains = place.one()
            assert cleanup.clean([remains]) == [f"of run {place.run!r} there is still: {place.work}: Permission denied"]
            assert place.one().state == "left"
            place.temporary.chmod(0o700)
            assert cleanup.clean([remains]) == []
        assert place.find() == []


# --- what people read -------------------------------------------------------------------------------------------------


def test_a_line_says_what_there_is_since_when_and_how_much(place: Place) -> None:
    place.lay_out()
    place.record(created=now() - 3 * 3600)
    with sleeping(place.run) as orphan:
        assert str(place.one()) == (
            f"'{place.run}', left, 3 h old: sleep (process {orphan.pid}), {place.work} (0.3 MB), {place.entry}"
        )


def test_a_line_says_why_a_run_is_left_alone_and_no_clock_makes_an_age_negative(place: Place) -> None:
    link(place)
    place.record(created=now() + 3600)
    assert str(place.one()).startswith(f"'{place.run}', unsure, 0 s old: {place.work} (0.0 MB), {place.entry}; left ")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2 h"), (172_800, "2 days")],
)
def test_an_age_is_told_in_the_largest_unit_that_fits_twice(seconds: float, words: str) -> None:
    assert cleanup._ago(seconds) == words


def test_directories_that_are_missing_hold_nothing_and_are_not_made(tmp_path: Path) -> None:
    found = cleanup.find(tmp_path / "registry", tmp_path / "temporary", tmp_path / "builds")
    assert [one for one in found if not one.processes] == []
    assert list(tmp_path.iterdir()) == []


# --- on a container engine --------------------------------------------------------------------------------------------

NEVER = f"1.{10**12}"  # a process that no machine has had, long after any supervisor that may be at work on this one


def test_an_engine_that_cannot_be_reached_is_told_if_an_entry_names_it(place: Place) -> None:
    """All else of the run goes; the entry stays, because only it says that there may be more, and where."""
    place.lay_out()
    place.record(engine=str(place.base / "engine"))
    remains = place.one()
    assert (remains.state, remains.engine, remains.things) == ("left", place.base / "engine", ())
    assert f"nobody knows what at {place.base / 'engine'}, because the container engine gave no answer" in str(remains)
    (told,) = cleanup.clean([remains])
    assert f"the container engine at {place.base / 'engine'} gave no answer" in told
    assert (place.work.exists(), place.entry.exists()) == (False, True)


@pytest.fixture(scope="module")
def real_engine() -> Iterator[tuple[Engine, str]]:
    """The engine of this machine, and an image."""
    with empty_image() as found:
        yield found


@pytest.fixture
def belonging(place: Place, real_engine: tuple[Engine, str]) -> Iterator[Callable[..., Belongings]]:
    """Makes a container, a network and a volume with labels; whatever is left of them is removed afterwards."""
    made: list[Belongings] = []

    def make(name: str = place.run.replace("_", "-"), **changed: str | None) -> Belongings:
        wanted = labels(place.run, now() + 3600) | {
            f"rehearse.{key.replace('_', '-')}": changed[key] for key in changed
        }
        made.append(Belongings(*real_engine, name, {key: value for key, value in wanted.items() if value is not None}))
        return made[-1]

    yield make
    for one in made:
        one.remove()


@pytest.mark.kind
@pytest.mark.parametrize("dead", [{"owner": NEVER}, {"expires": "1000000000"}], ids=["owner", "expired"])
def test_what_a_dead_run_has_on_the_engine_is_ended_and_everybody_elses_is_not(
    place: Place, belonging: Callable[..., Belongings], real_engine: tuple[Engine, str], dead: dict[str, str]
) -> None:
    """Without any entry, by the labels alone. Beside it: another kind cluster's things, and those of a living run."""
    engine, image = real_engine
    ours = belonging(**dead)
    name = f"{ours.name}-other"
    kind = Belongings(engine, image, f"{name}-kind", {"io.x-k8s.kind.cluster": "mine"})
    living = belonging(f"{name}-run", run=f"{place.run}-other")
    try:
        remains = place.one(engine=engine)
        assert remains.state == "left"
        assert {(one.kind, one.name) for one in remains.things} == ours.things
        assert f"network {ours.name}, volume {ours.name}" in str(remains)
        beside = cleanup.find(place.registry, place.temporary, engine=engine)
        assert kind.name not in {one.run for one in beside}
        assert cleanup.clean([one for one in beside if one.run.startswith(place.run)]) == []
        assert ours.there() == set()
        assert kind.there() == kind.things
        assert living.there() == living.things
    finally:
        kind.remove()
    assert place.find(engine=engine) == []


@pytest.mark.kind
def test_a_crashed_run_is_ended_on_the_engine_that_its_entry_names(
    place: Place, belonging: Callable[..., Belongings], real_engine: tuple[Engine, str]
) -> None:
    """Also where the user's docker command uses another engine by now, or is gone."""
    ours = belonging(owner=NEVER)
    place.record(engine=str(real_engine[0].socket))
    remains = place.one()
    assert {(one.kind, one.name) for one in remains.things} == ours.things
    assert cleanup.clean([remains]) == []
    assert ours.there() == set()
    assert place.find(engine=real_engine[0]) == []


@pytest.mark.kind
def test_what_a_living_run_has_on_the_engine_is_not_touched(
    place: Place, belonging: Callable[..., Belongings], real_engine: tuple[Engine, str], tmp_path: Path
) -> None:
    """With an entry, without one, and if only its supervisor lives and its entry is in another place."""
    engine, _ = real_engine
    ours = belonging()
    assert place.one(engine=engine).state == "running"
    with Supervisor(place.run, place.work, place.registry) as supervisor:
        kept = belonging(f"{ours.name}-kept", owner=NEVER, expires="1000000000")
        supervisor.own_engine(engine.socket)
        assert place.one(engine=engine).state == "running"
        assert cleanup.clean(place.find(engine=engine)) == []
        assert kept.there() == kept.things
    assert kept.there() == ours.there() == set()


@pytest.mark.kind
@pytest.mark.parametrize(
    ("changed", "doubt"),
    [
        ({"managed_by": None}, "carries its label, and no rehearsal has made it"),
        ({"owner": None}, "does not say who has made it, and has not expired"),
        ({"owner": "1.0"}, "may belong to the supervisor that runs as process"),
        ({"run": ""}, "no run has such a name"),
    ],
)
def test_what_is_in_doubt_on_the_engine_is_told_and_left_alone(
    place: Place,
    belonging: Callable[..., Belongings],
    real_engine: tuple[Engine, str],
    changed: dict[str, str | None],
    doubt: str,
) -> None:
    """Labels that somebody else may have written, and a run that may have been kept with its record elsewhere."""
    with Supervisor("another", place.base / "another", place.base / "elsewhere"):
        ours = belonging(**{"owner": NEVER, **changed})
        run = changed.get("run", place.run)
        found = cleanup.find(place.registry, place.temporary, engine=real_engine[0])
        (remains,) = [one for one in found if one.run == run]
        assert remains.state == "unsure"
        assert doubt in remains.doubt
        (told,) = cleanup.clean([remains])
        assert doubt in told
        assert ours.there() == ours.things
