"""What a kubelet would mount into Vault's Pod, as a folder of this machine."""

from __future__ import annotations

import shutil
from pathlib import Path

from harness.host import pki
from harness.secret import Secret


class PodFolder:
    """The folder of a service account: the CA of its cluster, its namespace and its token. Made 0700."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(mode=0o700)

    def fill(self, authority: Path, namespace: str, jwt: Secret) -> None:
        """Write what a kubelet would mount. The token last: its presence is what makes Vault be in a pod."""
        shutil.copyfile(authority, self.path / "ca.crt")
        pki.write_private(self.path / "namespace", namespace.encode())
        pki.write_private(self.path / "token", jwt.reveal().encode())

    def renew_authority(self, authority: Path) -> None:
        """Replace the CA at once, as a kubelet does: nobody reads half of it."""
        new = self.path / "..ca.crt"
        shutil.copyfile(authority, new)
        new.rename(self.path / "ca.crt")

    def empty(self) -> None:
        """Remove it all: what Vault has next may be less."""
        for file in self.path.iterdir():
            file.unlink()
