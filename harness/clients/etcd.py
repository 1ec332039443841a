"""Everything we say to an etcd: whether it serves."""

from __future__ import annotations

import http.client
import json
import ssl
from contextlib import closing
from pathlib import Path
from typing import Final

from harness.errors import Unreachable

_TIMEOUT_SECONDS: Final = 5.0


def serves(port: int, ca: Path, certificate: tuple[Path, Path]) -> bool:
    """Does the etcd at *port* of this machine take requests, which it does once it has a leader?

    *ca* vouches for it, and the files *certificate* and key for us. Raises Unreachable where it gives no answer.
    """
    context = ssl.create_default_context(cafile=str(ca))
    context.load_cert_chain(*map(str, certificate))
    asking = http.client.HTTPSConnection("127.0.0.1", port, timeout=_TIMEOUT_SECONDS, context=context)
    with closing(asking):
        try:
            asking.request("GET", "/health")
            answer = asking.getresponse()
            said = json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Unreachable(f"etcd at 127.0.0.1:{port} gave no answer: {error}") from error
    return answer.status == 200 and said.get("health") == "true"
