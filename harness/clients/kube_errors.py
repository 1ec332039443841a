"""What an API server declines, or gives no answer to, in our words: the kubernetes client's errors stay here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from harness.errors import RigError, Unreachable


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn the client's errors into ours: an answer that is a no is a RigError, no answer is Unreachable."""
    import urllib3
    from kubernetes import client

    try:
        yield
    except client.ApiException as error:
        if not error.status:
            raise Unreachable(f"the API server was asked for {what}: {error.reason}") from None
        raise RigError(f"the API server declined {what}: HTTP {error.status} {error.reason}{_said(error)}") from None
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise Unreachable(f"the API server gave no answer for {what}: {error}") from None
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        # what comes of an answer that is not what the API says it is
        raise RigError(
            f"the API server was asked for {what}, and its answer makes no sense ({type(error).__name__}: {error}): is "
            "something else listening on its port?"
        ) from error


def raise_unless_done(answer: Any) -> None:
    """Raise what the client itself raises for an *answer* that is a no."""
    from kubernetes import client

    if not 200 <= answer.status < 300:
        words = answer.data.decode(errors="replace")
        raise client.ApiException(status=answer.status, reason=answer.reason, body=words)


def _said(error: Any) -> str:
    return f": {str(error.body)[:500]}" if error.body else ""
