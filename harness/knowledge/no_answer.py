"""How Go, and so Vault in its log, says that a server gives no answer: those words that every kind of server shares."""

from __future__ import annotations

from typing import Final

NOT_REACHED: Final = ("connection refused", "no such host", "i/o timeout", "no route to host")
"""There was no connection. Source: Go net/dial.go, net/net.go, syscall errors of connect(2)."""

CUT: Final = ("connection reset by peer", "broken pipe", "EOF")
"""There was one, and it ended: the next request over one that was kept is told so. Run: 1.11.0 (broken pipe)."""
