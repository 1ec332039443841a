"""What is said to a Vault whose transit engine has the key of another Vault's seal."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, Final

from msgspec.structs import replace

from harness.rig.rig import Reply
from harness.secret import Secret

TRANSIT_MOUNT: Final = "transit"
TRANSIT_KEY: Final = "autounseal"
_POLICY: Final = "autounseal"
_PATHS: Final = tuple(f"{TRANSIT_MOUNT}/{verb}/{TRANSIT_KEY}" for verb in ("encrypt", "decrypt"))
"""What a Vault with a transit seal does at its start, and again when it unseals itself."""


class TransitSeal(abc.ABC):
    """The part of the way to ask a Vault that is about the seal of another one."""

    root: Secret | None

    @abc.abstractmethod
    def _ask(self, method: str, path: str, token: Secret | None = None, **body: Any) -> Reply: ...

    @abc.abstractmethod
    def make_token(self, policy: str, *, period: str = "") -> Secret: ...

    @abc.abstractmethod
    def _tell(self, method: str, path: str, body: Mapping[str, Any]) -> None: ...

    def make_transit_key(self) -> None:
        """Have the key with which another Vault's seal is encrypted, and a policy that lets its holder do no more."""
        self._tell("post", f"sys/mounts/{TRANSIT_MOUNT}", {"type": "transit"})
        self._tell("post", f"{TRANSIT_MOUNT}/keys/{TRANSIT_KEY}", {})
        rules = (f'path "{path}" {{ capabilities = ["update"] }}' for path in _PATHS)
        self._tell("put", f"sys/policies/acl/{_POLICY}", {"policy": "\n".join(rules)})

    def make_seal_token(self) -> Secret:
        """Return a new token for another Vault's seal, as Vault's guide has it: an orphan that is renewed for ever."""
        return self.make_token(_POLICY, period="24h")

    def end_token(self, token: Secret) -> None:
        """Have *token* be good for nothing any more, as at its end."""
        self._tell("post", "auth/token/revoke", {"token": token.reveal()})

    def try_seal(self, token: Secret) -> Reply:
        """Encrypt something with the key of another Vault's seal and decrypt it again, as that does with its *token*.

        The answer is the first that is no grant, and has no ciphertext in it.
        """
        encrypt, decrypt = _PATHS
        first = self._ask("post", encrypt, token, json={"plaintext": "cmVoZWFyc2Fs"})
        if not first.ok:
            return first
        again = self._ask("post", decrypt, token, json={"ciphertext": first.data.get("ciphertext", "")})
        return replace(again, data={})
