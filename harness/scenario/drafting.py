"""Five answers become a scenario: the nearest shipped one, with the names and versions of whoever answered."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from harness.knowledge import kubernetes_auth, versions
from harness.scenario import places, topology, yaml_document
from harness.scenario.schema import SCHEMA

Place = Literal["same", "other", "outside"]
"""Where Vault runs: in the cluster of the apps, in another cluster, or outside any."""

NOBODY: Final = "nobody"
"""The reviewer where nobody ever chose one."""

REVIEWERS: Final = (NOBODY, "local", "client-jwt", "secret", "pod-token", "requested")

_KUBERNETES: Final = "1.32.0"


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """What the five questions ask: versions, Vault's place, who wrote the config, who reviews, whose login it is."""

    source: str
    target: str
    place: Place
    written_by: str
    """the Vault version that last wrote the config"""
    with_token_file: bool
    """was a pod's token readable at that moment?"""
    reviewer: str
    """one of REVIEWERS"""
    service_account: str
    """of the app, as namespace/name"""
    mount: str
    role: str


class Shape(msgspec.Struct, frozen=True):
    """What makes two scenarios alike."""

    place: Place
    reviewer: str
    copied: bool
    """does the config hold a copy of a pod's token that nobody chose?"""
    old: bool
    """was it written by a Vault that knew of no pod's token?"""


_SHIPPED: Final = (
    ("the-outage-apps-in-another-cluster-are-refused-after-the-upgrade", Shape("other", NOBODY, False, True)),
    ("a-config-written-in-a-pod-by-1.7-never-worked-for-another-cluster", Shape("other", NOBODY, True, False)),
    ("a-config-written-outside-a-pod-breaks-once-vault-has-one", Shape("other", NOBODY, False, False)),
    ("one-cluster-staging-stays-green-while-the-reviewer-changes", Shape("same", NOBODY, False, True)),
    ("a-frozen-reviewer-dies-with-its-pod", Shape("same", NOBODY, True, False)),
    ("a-copied-pod-token-as-the-reviewer-dies-with-the-pod", Shape("same", "pod-token", False, False)),
    ("a-reviewer-out-of-a-secret-outlives-vaults-pod", Shape("same", "secret", False, False)),
    ("a-long-lived-reviewer-survives-the-upgrade", Shape("other", "secret", False, False)),
    ("disable-local-ca-jwt-keeps-apps-in-another-cluster-logged-in", Shape("other", "client-jwt", False, False)),
    ("a-vault-outside-any-cluster-keeps-the-app-as-its-reviewer", Shape("outside", NOBODY, False, False)),
)
"""The shipped scenarios with one app and one mount, each with its shape; the first of the nearest is taken."""


def nearest(answers: Answers) -> str:
    """Return the name of the shipped scenario that is most like what was answered."""
    here = shape_of(answers)
    return min(_SHIPPED, key=lambda one: _distance(one[1], here))[0]


def shape_of(answers: Answers) -> Shape:
    """Return what decides which scenarios are like this one."""
    nobody = answers.reviewer == NOBODY
    stored = kubernetes_auth.stored_reviewer(
        answers.written_by, token_file=answers.with_token_file, explicit=not nobody, disable_local=False
    )
    old = nobody and not versions.at_least(answers.written_by, kubernetes_auth.COPIES_POD_TOKEN)
    return Shape(answers.place, answers.reviewer, stored == "frozen", old)


def _distance(one: Shape, other: Shape) -> int:
    reviewers = one.reviewer != other.reviewer
    return 8 * reviewers + 4 * (one.place != other.place) + 2 * (one.copied != other.copied) + (one.old != other.old)


def draft(answers: Answers) -> str:
    """Return the scenario as the text of a file. It has no `expect`: what it would say is the answer."""
    space, account = answers.service_account.split("/")
    apps, vault = ("platform" if answers.place == "same" else "apps"), "platform"
    inside = answers.place != "outside"
    names = [vault, apps] if answers.place == "other" else [apps]
    itself = answers.reviewer in (NOBODY, "client-jwt") and not (answers.place == "same" and shape_of(answers).copied)
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "description": _question(answers),
        "clusters": {name: {"kubernetes": _KUBERNETES} for name in names},
        "vault": ({"cluster": vault, "service-account": places.DEFAULT_ACCOUNT} if inside else {})
        | {"source": answers.source, "target": answers.target},
        "auth": {
            answers.mount: {
                "cluster": apps,
                "configured": {"by": answers.written_by, "with-token-file": answers.with_token_file},
                **({} if answers.reviewer == NOBODY else {"reviewer": answers.reviewer}),
                "roles": {
                    answers.role: {"service-accounts": [account], "namespaces": [space], "policies": [answers.role]}
                },
            }
        },
        "apps": {
            account: {
                "cluster": apps,
                "service-account": answers.service_account,
                "role": answers.role,
                **({"may-review-tokens": True} if itself else {}),
                "reads": [f"{topology.SECRETS}/{account}"],
            }
        },
    }
    return _HEAD.format(name=nearest(answers)) + yaml_document.written(document)


_HEAD: Final = """\
# Drawn from the shipped scenario {name}, with your names.
# What decides the answer: configured (who wrote the config last, and was a pod's token there?) and reviewer.
# `rehearse run FILE` asks; `rehearse run FILE --write-expect` prints the `expect:` that makes it a test.
"""


def _question(answers: Answers) -> str:
    place = {
        "same": "in the cluster of its apps",
        "other": "in another cluster than its apps",
        "outside": "outside any cluster",
    }[answers.place]
    return (
        f"{versions.called(answers.source)} runs {place}; auth/{answers.mount}/config was last written by Vault "
        f"{answers.written_by}. What does the upgrade to {answers.target} do to {answers.service_account}?"
    )
