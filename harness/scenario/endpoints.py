"""What may stand at kubernetes_host in the place of the API server's own address: a proxy, or a name for Pods alone.

A proxy is a server of the rehearsal's own, with a CA of its own, between Vault and the API server of one cluster. By a
name such as https://kubernetes.default.svc a Pod finds the API server of its own cluster, and nobody else finds any:
here it is that server's own address where Vault is in a cluster, and a name of nobody's where it is in none.
"""

from __future__ import annotations

import re
from typing import Final, Literal

Answering = Literal["passes", "no-audiences", "unauthorized", "html", "reset"]
"""What a proxy does with each request: it passes it on; it does so, and leaves the audiences out of the answer to a
TokenReview; it answers 401, or 200 and a page; or it resets."""

CLUSTER: Final = "cluster"
"""The API server's own address."""

PLAIN: Final = "cluster-http"
"""The API server's own address, with http: it answers 400 to whoever does not speak TLS."""

_PROXIES: Final[dict[str, Answering]] = {
    "proxy": "passes",
    "proxy-no-audiences": "no-audiences",
    "proxy-401": "unauthorized",
    "proxy-html": "html",
    "proxy-reset": "reset",
}

WORDS: Final = (CLUSTER, PLAIN, *_PROXIES)
"""What can be said in the place of an address."""

_PASSING: Final = (CLUSTER, "proxy", "proxy-no-audiences")

_INSIDE: Final = re.compile(r"https://kubernetes\.default(\.svc(\.cluster\.local)?)?(:443)?")

NO_ANSWER: Final = (PLAIN, "proxy-401", "proxy-html")
"""What answers, and is not the API server that Vault wants to ask."""


def proxy(word: str) -> Answering | None:
    """Return what the proxy does that a *word* stands for, or None where it stands for none."""
    return _PROXIES.get(word)


def inside(word: object) -> bool:
    """Is it a name by which a Pod finds the API server of its own cluster?"""
    return isinstance(word, str) and _INSIDE.fullmatch(word) is not None


def nowhere(word: str) -> str:
    """Return such a name as it is for whoever is in no cluster: nobody's, whatever the resolver of a machine knows."""
    name, colon, port = word.removeprefix("https://").partition(":")
    return f"https://{name}.invalid{colon}{port}"


def reaches(word: object, home: str) -> bool:
    """Does a TokenReview arrive at the API server that is sent to what stands at kubernetes_host?

    *home* is the cluster that Vault is in, empty where it is in none.
    """
    return word in _PASSING or (inside(word) and bool(home))


def told(word: str) -> str:
    """Return what it is that answers at kubernetes_host, in the words of a sentence."""
    return {
        PLAIN: "the API server's own port, to which the config has Vault speak http where it expects TLS",
        "proxy": "a proxy that passes on what it is asked",
        "proxy-no-audiences": "a proxy that passes on what it is asked, and knows no audiences",
        "proxy-401": "a proxy that knows no service account tokens",
        "proxy-html": "a proxy that shows a page to whoever comes",
        "proxy-reset": "a proxy that resets connections",
    }.get(word, word)
