"""A course with every kind of step, for every place of Vault and every kind of storage: what real servers are given."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

CLUSTER: Final = "sandbox"
WEB: Final = {"cluster": CLUSTER, "service-account": "apps/web"}
STEPS: Final[Sequence[dict[str, Any]]] = (
    {"snapshot": {}},
    {"upgrade": "1.11.0"},
    {"write": {"config": {"disable_local_ca_jwt": True}}},
    {"revoke": WEB},
    {"grant": WEB},
    {"restart": {}},
    {"roll-back": "binary"},
    {"upgrade": "1.11.0"},
    {"restore": {}},
    {"roll-back": "snapshot"},
    {"wait": "1s"},
    {"look": {}},
)
SHORT: Final[Sequence[dict[str, Any]]] = ({"snapshot": {}}, {"upgrade": "1.11.0"}, {"roll-back": "snapshot"})
MOMENTS: Final = (
    "before",
    "after 1.11.0",
    "after write to kubernetes",
    "after revoke",
    "after grant",
    "after restart",
    "after roll-back (binary)",
    "after 1.11.0 (step 8)",
    "after restore",
    "after roll-back (snapshot)",
    "look",
)


def scenario(
    file: Path, place: str, storage: str, *, tls: bool = True, steps: Sequence[dict[str, Any]] = STEPS
) -> Path:
    """Write a scenario into *file* and return that.

    *place* is where Vault is: inside the cluster `sandbox`, in which the app is as well, or outside any.
    """
    home = {"cluster": CLUSTER, "service-account": "vault/vault"} if place == "inside" else {}
    mount = {
        "cluster": CLUSTER,
        "configured": {"by": "1.7.0", "with-token-file": False},
        "roles": {"web": {"service-accounts": ["web"], "namespaces": ["apps"], "policies": ["web"]}},
    }
    web = {"cluster": CLUSTER, "service-account": "apps/web", "role": "web", "reads": ["secret/web"]}
    document = {
        "schema": 1,
        "description": "A course with every kind of step.",
        "clusters": {CLUSTER: {"kubernetes": "1.32.0"}},
        "vault": home | {"source": "1.7.0", "storage": storage, "tls": tls},
        "auth": {"kubernetes": mount},
        "apps": {"web": web | {"may-review-tokens": True}},
        "course": list(steps),
    }
    file.write_text(json.dumps(document))
    return file


def logins(judgement: dict[str, Any]) -> list[tuple[str, int | None, str]]:
    """Return each login with its moment: how it was answered, and who reviewed it."""
    return [(row["moment"], row["status"], row["reviewer"]) for row in judgement["reviewing"]]


def expected(place: str) -> list[tuple[str, int, str]]:
    """Return what `logins` says of this course wherever it is rehearsed."""
    answers = dict.fromkeys(MOMENTS, (200, "client"))
    answers["after revoke"] = (403, "client")
    if place == "inside":
        # its Pod has an account, which 1.11.0 presents unless it is told not to; the snapshot knows nothing of that
        answers |= dict.fromkeys(("after 1.11.0", "after restore"), (200, "vault"))
    return [(moment, *answers[moment]) for moment in MOMENTS]


LATE: Final = {
    "after roll-back (binary)": {"granted"},
    "after 1.11.0 (step 8)": {"granted"},
    "after restore": {"refused"},
    "after roll-back (snapshot)": {"refused"},
    "look": {"refused"},
}
"""What is to become of what was written late: only the snapshot knows nothing of it."""


def late(judgement: dict[str, Any]) -> dict[str, set[str]]:
    """Return how it was answered at each moment whether the secret and the role are there that were written late."""
    answers: dict[str, set[str]] = {}
    for seen in judgement["observations"]:
        if seen["probe"] in ("late-secret", "late-role"):
            answers.setdefault(seen["moment"], set()).add(seen["answer"])
    return answers
