"""Of a growing log every whole line is read once, and its time is understood as the server meant it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.drivers import log_tail
from harness.drivers.log_tail import Tail

Moment = tuple[int, int, int, int, int, int]


def append(file: Path, content: bytes) -> None:
    with file.open("ab") as log:
        log.write(content)


def test_a_file_that_is_not_there_yet_has_no_lines(tmp_path: Path) -> None:
    """The server may still be starting; once it writes, nothing is missed."""
    tail = Tail(tmp_path / "later.log")
    assert tail.lines() == []
    append(tail.path, b"first\n")
    assert tail.lines() == ["first"]
    assert tail.lines() == []


def test_an_unfinished_line_waits_until_it_is_whole(tmp_path: Path) -> None:
    tail = Tail(tmp_path / "a.log")
    append(tail.path, b"one\ntw")
    assert tail.lines() == ["one"]
    append(tail.path, b"o, in two p")
    assert tail.lines() == []
    append(tail.path, b"arts\n\nthree\n")
    assert tail.lines() == ["two, in two parts", "", "three"]


@given(
    lines=st.lists(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\n\r"), max_size=12)),
    cuts=st.lists(st.integers(min_value=0, max_value=200)),
    rest=st.sampled_from(["", "unfinished", "ü"]),
)
def test_every_whole_line_comes_once_and_in_order_wherever_the_writing_pauses(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], cuts: list[int], rest: str
) -> None:
    """Also in the middle of a character, and whatever else than a newline stands in a line."""
    tail = Tail(tmp_path_factory.mktemp("tail") / "a.log")
    content = "".join(f"{line}\n" for line in lines).encode() + rest.encode()
    places = sorted({0, len(content), *(cut for cut in cuts if cut < len(content))})
    seen = []
    for begin, end in itertools.pairwise(places):
        append(tail.path, content[begin:end])
        seen += tail.lines()
    assert seen == lines


def test_bytes_that_are_no_text_lose_no_line(tmp_path: Path) -> None:
    tail = Tail(tmp_path / "a.log")
    append(tail.path, b"good\n\xff\xfe bad\r\ngood\n")
    assert tail.lines() == ["good", "\ufffd\ufffd bad", "good"]


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ('{"@level":"debug"}', {"@level": "debug"}),
        ("{}", {}),
        ("==> Vault server configuration:", None),
        ('{"cut": "of', None),
        ("goroutine 1 [running]:", None),
        ('["not", "an", "object"]', None),
        ("", None),
        ("42", None),
    ],
)
def test_a_line_is_an_object_or_nothing(line: str, value: dict[str, str] | None) -> None:
    """Servers also write banners and stack traces into their JSON logs."""
    assert log_tail.as_json(line) == value


@pytest.mark.parametrize(
    ("timestamp", "seconds"),
    [
        ("1970-01-01T00:00:00Z", 0.0),
        ("2026-03-14T15:09:26Z", 1773500966.0),
        ("2026-03-14T15:09:26.535897Z", 1773500966.535897),
        ("2026-03-14T15:09:26.535897932Z", 1773500966.535897),
        ("2026-03-14T15:09:26.5Z", 1773500966.5),
        ("2026-03-14T17:09:26.535897932+02:00", 1773500966.535897),
        ("2026-03-14T10:09:26.535897-05:00", 1773500966.535897),
    ],
)
def test_rfc_3339_is_read_to_the_microsecond(timestamp: str, seconds: float) -> None:
    """Vault and Kubernetes write nanoseconds, fewer digits where they end in zeros, and any zone."""
    assert log_tail.seconds_of(timestamp) == pytest.approx(seconds, abs=1e-6)


@pytest.mark.parametrize("timestamp", ["", "yesterday", "2026-13-01T00:00:00Z", "15:09:26"])
def test_what_is_no_time_is_no_time(timestamp: str) -> None:
    assert log_tail.seconds_of(timestamp) == 0.0


@given(at=st.floats(min_value=0, max_value=4e9))
def test_a_time_reads_back_as_it_was_written(at: float) -> None:
    written = log_tail.as_time(at)
    assert written.endswith("Z")
    assert log_tail.seconds_of(written) == pytest.approx(at, abs=1e-5)


@pytest.fixture(params=["UTC", "Pacific/Auckland", "America/New_York"])
def zone(request: pytest.FixtureRequest) -> Iterator[str]:
    """Let this process live in a time zone, as the servers it starts would."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TZ", request.param)
        time.tzset()
        yield request.param
    time.tzset()


def local(year: int, month: int, day: int, hour: int, minute: int, second: int) -> float:
    return datetime(year, month, day, hour, minute, second).timestamp()


@pytest.mark.usefixtures("zone")
@pytest.mark.parametrize(
    ("line", "near", "meant"),
    [
        ("E0314 15:09:26.250000   77 x.go:1] no", (2026, 3, 14, 15, 9, 27), (2026, 3, 14, 15, 9, 26)),
        ("E1231 23:59:59.250000   77 x.go:1] no", (2026, 1, 1, 0, 0, 2), (2025, 12, 31, 23, 59, 59)),
        ("I0101 00:00:01.250000   77 x.go:1] no", (2025, 12, 31, 23, 59, 59), (2026, 1, 1, 0, 0, 1)),
        ("W0229 12:00:00.250000   77 x.go:1] no", (2028, 2, 29, 12, 0, 1), (2028, 2, 29, 12, 0, 0)),
        ("F0229 12:00:00.250000   77 x.go:1] no", (2025, 1, 1, 0, 0, 0), (2024, 2, 29, 12, 0, 0)),
        ("E0715 04:00:00.250000   77 x.go:1] no", (2026, 7, 15, 4, 0, 1), (2026, 7, 15, 4, 0, 0)),
    ],
)
def test_a_kubernetes_log_line_is_of_the_nearest_year(line: str, near: Moment, meant: Moment) -> None:
    """It has none: around new year it is the other one, and 29 February is in a leap year; always in local time."""
    assert log_tail.klog_seconds(line, local(*near)) == pytest.approx(local(*meant) + 0.25, abs=1e-5)


@pytest.mark.parametrize(
    "line", ["", "panic: no", "Trace[1]: 15:09:26", "E1341 15:09:26.535897 x.go:1] no", "X0314 15:09"]
)
def test_a_line_without_a_time_is_of_now(line: str) -> None:
    assert log_tail.klog_seconds(line, 1773500966.0) == 1773500966.0


def test_times_are_written_in_utc() -> None:
    assert log_tail.as_time(datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC).timestamp()) == "2026-03-14T15:09:26Z"
