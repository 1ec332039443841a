"""An identity provider outside of any cluster: who mints the tokens of apps that no API server knows."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Final

from harness.host.pki import Signer
from harness.record import events
from harness.record.journal import Journal
from harness.rig.rig import IssuedToken
from harness.scenario.app_spec import AppSpec
from harness.secret import fingerprint
from harness.wait import now

ISSUER: Final = "https://provider.rehearsal.invalid"


class Provider:
    """It has one key at a time, in memory alone, and gives each app one token of it."""

    def __init__(self, signer: Signer | None = None) -> None:
        """*signer* has its key, where that is in somebody's config already; left out, it is made when it is needed."""
        self._given: dict[str, IssuedToken] = {}
        self.signer = signer
        """who signs its tokens; None as long as it is not needed"""

    @cached_property
    def _signer(self) -> Signer:
        self.signer = self.signer or Signer()
        return self.signer

    @property
    def public_key(self) -> str:
        """Return the key with which its tokens are checked, as PEM."""
        return self._signer.public_key

    def rotate_key(self) -> None:
        """Have another key from now on; whoever comes for a token then gets a new one."""
        vars(self).pop("_signer", None)
        self.signer = None
        self._given.clear()

    def token(self, name: str, app: AppSpec, journal: Journal) -> IssuedToken:
        """Return the token of an app, which is put on record when it is minted.

        One audience is a text in it and not a list, unlike in tokens of Kubernetes: Vault does not take the two alike.
        """
        if name not in self._given:
            self._given[name] = self._mint(name, app)
            token = self._given[name]
            event = events.TokenIssued(
                token=fingerprint(token.jwt.reveal()),
                cluster="",
                subject=token.subject,
                purpose=token.purpose,
                issuer=token.issuer,
                audiences=token.audiences,
                issued=token.issued,
                expires=token.expires,
            )
            journal.write(event)
        return self._given[name]

    def _mint(self, name: str, app: AppSpec) -> IssuedToken:
        begins = int(now())
        claims: dict[str, Any] = {
            **app.claims,
            "iss": ISSUER,
            "sub": name,
            "iat": begins,
            "exp": begins + app.token_seconds,
        }
        if app.audiences:
            claims["aud"] = app.audiences[0] if len(app.audiences) == 1 else list(app.audiences)
        return IssuedToken(
            jwt=self._signer.sign(claims),
            cluster="",
            subject=name,
            purpose=f"app:{name}",
            issuer=ISSUER,
            audiences=app.audiences,
            issued=float(begins),
            expires=float(begins + app.token_seconds),
        )
