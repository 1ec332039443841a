"""What a rig that starts Vault Agents beside apps can do."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import msgspec

from harness.errors import RigError
from harness.rig.rig import Reply, Rig
from harness.scenario.schema_agents import SinkState
from harness.secret import Secret


class Agent(msgspec.Struct, frozen=True):
    """A Vault Agent that logs in to a Kubernetes mount, writes the token that it gets and what it reads, and ends."""

    version: str
    mount: str
    role: str
    reads: tuple[str, ...] = ()
    """the API paths of the secrets that it writes to files"""
    vault: str = ""
    """the name of the Vault that it asks; empty: the only one there is"""
    node: str = ""
    """the node of it that it asks; empty: the only one there is, or whichever leads"""
    has_sink: bool = True
    """is the folder there where it writes the token that it gets?"""


@runtime_checkable
class RunsAgents(Protocol):
    """A rig that can start a Vault Agent beside an app."""

    def run_agent(self, app: str, agent: Agent, jwt: Secret) -> Reply:
        """Have an *agent* of an *app* with the token *jwt* of its Pod's service account log in.

        200 is an agent that got all it wanted, and ended by itself. Else the status and the error are what Vault first
        answered it, by its own log, and it was ended; none of them: it said nothing of Vault. The data: its version
        (`agent`), its `exit` code, the path that was refused (`refused`), by what words it could not write its token
        (`sink`, where it could not), whether it wrote the `token`, and how many `files`. Raises RigError where it
        could not be started.
        """
        ...

    def turn_sink(self, app: str, to: SinkState) -> None:
        """Take the folder of the sink away from whatever agent of an *app* starts from then on, or give it back."""
        ...

    def sidecar(self, app: str, agent: Agent, jwt: Secret) -> Reply:
        """Return how the *agent* is that runs beside an *app*; one is started, and given time to log in, the first time
        and where the last has ended.

        *jwt* is what its Pod has by now for a token. 200, with the token of Vault that it has, is an agent that runs
        and has written all it wanted. Else as `run_agent`, by what it wrote since its last login. The data have more:
        the `age` of its oldest file in seconds, its `logins` and `renewals`, and of the time since the last of them its
        `failures` to log in and the `backoff` in seconds before the next try, and `waits_on` where it has not tried
        again since the look before: then the answer is of that time. Raises RigError as `run_agent`.
        """
        ...


def agents(rig: Rig) -> RunsAgents:
    """Return *rig* as one that runs Vault Agents. Raises RigError where it cannot."""
    if isinstance(rig, RunsAgents):
        return rig
    raise RigError("this driver runs no Vault Agent: choose another driver, or leave the app's agent out")
