"""What drivers need and prove is their own answer: nobody else asks what one is called."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import harness
from harness.drivers.kind.driver import KindDriver
from harness.drivers.local.driver import LocalDriver
from harness.drivers.paper.driver import PaperDriver
from harness.rig.driver import Driver
from harness.scenario import driver_traits

DRIVERS: list[type[Driver]] = [LocalDriver, KindDriver, PaperDriver]
PLACES = ("drivers", "scenario/driver_traits.py", "session/one_rehearsal.py")
"""Where a driver is made, or says what it is."""


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_driver_is_known_by_its_name(driver: type[Driver]) -> None:
    """So that a plan and a record, which have no driver, can ask what it needs and proves."""
    assert driver_traits.of(driver.name) is driver.traits
    assert driver.traits.name == driver.name


def test_every_name_has_a_driver() -> None:
    assert [driver.name for driver in DRIVERS] == list(driver_traits.NAMES)


def test_a_driver_that_this_release_does_not_have_answered_from_servers() -> None:
    """A record of another release is judged as one of real servers, of which more is demanded."""
    other = driver_traits.of("somebody-elses")
    assert (other.real, other.lends, other.artifacts(["1.32.0"], ["1.7.0"])) == (True, False, ())


def test_what_a_driver_needs_is_made_of_the_versions() -> None:
    wanted = (["1.31.0", "1.32.0"], ["1.7.0"])
    assert driver_traits.LOCAL.artifacts(*wanted) == (
        ("etcd", driver_traits.ETCD),
        ("kube-apiserver", "1.31.0"),
        ("kube-apiserver", "1.32.0"),
        ("vault", "1.7.0"),
    )
    assert driver_traits.PAPER.artifacts(*wanted) == ()


def test_nobody_else_compares_the_name_of_a_driver() -> None:
    """A fourth driver would be forgotten there."""
    house = Path(harness.__file__).parent
    found = []
    for file in house.rglob("*.py"):
        place = file.relative_to(house).as_posix()
        if place.startswith(PLACES):
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Compare) and isinstance(node.left, ast.Attribute) and node.left.attr == "driver":
                named = [
                    one for one in node.comparators if isinstance(one, ast.Constant) and isinstance(one.value, str)
                ]
                found += [f"{place}:{node.lineno}"] if named else []
    assert found == []
