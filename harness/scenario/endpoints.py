"""What may stand at kubernetes_host in the place of the API server's own address: plain HTTP, or a proxy.

A proxy is a server of the rehearsal's own, with a CA of its own, between Vault and the API server of one cluster.
"""

from __future__ import annotations

from typing import Final, Literal

Answering = Literal["passes", "unauthorized", "html", "reset"]
"""What a proxy does with each request: it passes it on; it answers 401, or 200 and a page; or it resets."""

CLUSTER: Final = "cluster"
"""The API server's own address."""

PLAIN: Final = "cluster-http"
"""The API server's own address, with http: it answers 400 to whoever does not speak TLS."""

_PROXIES: Final[dict[str, Answering]] = {
    "proxy": "passes",
    "proxy-401": "unauthorized",
    "proxy-html": "html",
    "proxy-reset": "reset",
}

WORDS: Final = (CLUSTER, PLAIN, *_PROXIES)
"""What can be said in the place of an address."""

NO_ANSWER: Final = (PLAIN, "proxy-401", "proxy-html")
"""What answers, and is not the API server that Vault wants to ask."""


def proxy(word: str) -> Answering | None:
    """Return what the proxy does that a *word* stands for, or None where it stands for none."""
    return _PROXIES.get(word)


def reaches(word: object) -> bool:
    """Does a TokenReview arrive at the API server that is sent to what stands at kubernetes_host?"""
    return word in (CLUSTER, "proxy")


def told(word: str) -> str:
    """Return what it is that answers at kubernetes_host, in the words of a sentence."""
    return {
        PLAIN: "the API server's own port, to which the config has Vault speak http where it expects TLS",
        "proxy": "a proxy that passes on what it is asked",
        "proxy-401": "a proxy that knows no service account tokens",
        "proxy-html": "a proxy that shows a page to whoever comes",
        "proxy-reset": "a proxy that resets connections",
    }.get(word, word)
