"""How a Vault of several nodes comes to be, and is taken to another version node by node."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

from msgspec.structs import replace

from harness import wait
from harness.errors import NotReady, ProcessDied, RigError, SwapRefused, Unreachable
from harness.knowledge import refusals, versions
from harness.record import events
from harness.record.journal import Journal
from harness.record.node_events import NodeLost, NodeSeen, NodesSeen, NodeSwapped, QuorumLost, State
from harness.rehearsal import storages, vault_steps
from harness.rig.rig import Reply, Rig, VaultNode, VaultSystem
from harness.rig.several import several_nodes
from harness.scenario import course
from harness.scenario.course import BY_NUMBER, HALFWAY, Form, RemoveNode, Restart, Serve, Step, StepDown, StopNode
from harness.secret import Secret, carried
from harness.wait import Stopwatch

LEADER_SECONDS: Final = 60
"""How long an election may take: after a full restart and under load it is slower than after a clean stop."""

REJOIN_SECONDS: Final = 60
SEALED_SECONDS: Final = 15
"""How long a node is waited for that is to seal itself: it looks every second whether it was removed."""

STRANGER_SECONDS: Final = 5
"""How long a node is waited for that the others do not have in their configuration: it is sent nothing."""

VOTE_SECONDS: Final = 60
_NONE_TO_SPARE: Final = 2
"""Nodes: of so many over raft none can be away, so that each stop is a lost quorum, which the gaps tell."""


class OtherNodeDied(RigError):
    """A node ended by itself while another one was *replaced*, or none was."""

    def __init__(self, node: str, replaced: str, sentence: str, log: Sequence[str]) -> None:
        self.node, self.replaced = node, replaced
        super().__init__(f"{sentence}{f', while {replaced} was replaced' if replaced else ''}", log)


Replacing = Callable[[str], None]
"""Is told the name of the node that is being replaced from now on; "" once it is back."""


def form(rig: Rig, step: Form, keys: Sequence[Secret], journal: Journal) -> None:
    """Have the other nodes of a Vault join the first, one after the other, and wait until all of them vote.

    Over a storage that all of them have, nobody joins or votes: each is unsealed, and knows who leads. Nothing is
    stopped before: with a quorum of one the loss of that one would be the end. Raises as `open_node`.
    """
    system, several = rig.system(step.vault), several_nodes(rig, step)
    first, *others = system.nodes
    raft = _over_raft(system)
    if raft:
        system.setup.vote_soon()
    placed = [
        course.Restart(version=step.version, token_file=step.token_file, vault=step.vault, node=name) for name in others
    ]
    # each tries to join at once, and again after two seconds; who hears of no challenge until then waits as long
    together = raft and versions.at_least(step.version, versions.JOINS_BY_FILES)
    for served in placed:
        _add(rig, served)
        if not together:
            open_node(rig, served, keys)
    if together:
        # the last key is answered once the node has joined
        with ThreadPoolExecutor(len(placed), thread_name_prefix="joining") as pool:
            list(pool.map(carried(partial(hand_keys, rig, keys=keys)), placed))
        for served in placed:
            open_node(rig, served, ())
    if raft:
        _await_votes(system)
    several.follow()
    for name in (first, *others):
        journal.write(
            events.VaultServing(
                asked=step.version,
                answered=step.version,
                purpose="form",
                token_file=step.token_file,
                vault=step.vault,
                node=name,
            )
        )
    tell(rig, step, "formed", journal)


def _add(rig: Rig, served: Serve) -> None:
    """Start a node without data, and have it join the others, if it does not by itself."""
    several = several_nodes(rig, served)
    several.add_node(served.node, served)
    if _over_raft(rig.system(served.vault)) and not versions.at_least(served.version, versions.JOINS_BY_FILES):
        several.ask_to_join(served.node)


def _await_votes(system: VaultSystem) -> None:
    """Wait until all nodes vote: until then the loss of another one may be that of the quorum."""
    wait.until(
        lambda: all(one.voter for one in _voters(system).values()) and len(_voters(system)) == len(system.nodes),
        what=f"all {len(system.nodes)} nodes to vote",
        seconds=VOTE_SECONDS,
        every=0.05,
        died=lambda: _died(system),
        log=lambda: system.vault_log(40),
    )


def open_node(
    rig: Rig,
    served: Serve,
    keys: Sequence[Secret],
    at: Callable[[str], None] = lambda _word: None,
    *,
    stranger: bool = False,
) -> str:
    """Unseal a node, wait until it knows a leader and has caught up with it, and return the version that it says it is.

    *at* is told when it is unsealed. A *stranger* was not in the configuration of the others before. Raises
    SwapRefused where it declines a key, NotReady where it does not come back to the others, ProcessDied where it dies,
    and OtherNodeDied where another one does.
    """
    system = rig.system(served.vault)
    node = system.nodes[served.node]
    answered = vault_steps.insist_on_version(rig, served)
    if keys:
        hand_keys(rig, served, keys)
    wait.until(
        lambda: node.vault.seal_status().answered().data.get("sealed") is False,
        what=f"{served.node} to be unsealed with {versions.called(served.version)}",
        seconds=REJOIN_SECONDS,
        died=lambda: _died(system, served.node),
        log=lambda: node.vault_log(40),
        advice="its whole log is kept beside the record",
    )
    at("unsealed")
    seen = -1
    if served.meanwhile == "full-disk" and len({*_unsealed(system)} - {served.node}) >= _needed(system):
        # it may lack nothing of what the others have, and is back once it has written something that takes room
        seen = _committed(system)
        storages.write_much(system)
    wait.until(
        lambda: _caught_up(system, node, seen),
        what=f"{served.node} to rejoin the others with {versions.called(served.version)}",
        seconds=STRANGER_SECONDS if stranger else REJOIN_SECONDS,
        every=0.02,
        died=lambda: _died(system, served.node),
        log=lambda: node.vault_log(40),
        advice="its whole log is kept beside the record",
    )
    return answered


def hand_keys(rig: Rig, served: Serve, keys: Sequence[Secret]) -> None:
    """Hand a node as many unseal keys as it needs, and not one more: it answers the challenge of the leader then.

    One that is still joining has no seal yet, and is asked again. Raises as `open_node`.
    """
    system = rig.system(served.vault)
    node = system.nodes[served.node]
    handed: list[Secret] = []

    def taken() -> bool:
        said = node.vault.seal_status().answered().data
        if said.get("sealed") is False:
            return True
        needed = int(said.get("t") or 0)
        # 1.4 says that it is not initialised until it is unsealed, and after it has joined how many keys that takes
        if not needed and node.vault.health().status == 501 and not handed:
            raise Unreachable("it is not initialised: it has no data, and has joined nobody")
        for key in keys[len(handed) : needed]:
            reply = node.setup.unseal(key)
            if not reply.ok and "not initialized" in reply.error:
                raise Unreachable(f"it is not initialised: {reply.error}")
            if not reply.ok:
                raise vault_steps.declined(rig, served, reply, "that opens the data of the others")
            handed.append(key)
        return 0 < needed <= len(handed)

    wait.until(
        taken,
        what=f"{served.node} to take unseal keys with {versions.called(served.version)}",
        seconds=REJOIN_SECONDS,
        every=0.05,
        died=lambda: _died(system, served.node),
        log=lambda: node.vault_log(40),
        advice="its whole log is kept beside the record",
    )


def _committed(system: VaultSystem) -> int:
    return int(system.vault.leader().data.get("raft_committed_index", 0))


def _caught_up(system: VaultSystem, node: VaultNode, seen: int) -> bool:
    """Does a node know a leader, and has it applied what that had committed when it was asked, and more than *seen*?"""
    committed = max(_committed(system), seen + 1)
    health = node.vault.health()
    if refusals.STATES.get(health.status) not in ("active", "standby"):
        raise Unreachable(health.error or f"sys/health says HTTP {health.status}")
    said = node.vault.leader().answered().data
    if not said.get("leader_address"):
        raise Unreachable("it knows no leader")
    applied = said.get("raft_applied_index", committed)
    if applied < committed:
        raise Unreachable(f"it has applied the log of raft up to {applied}, and the one that leads up to {committed}")
    return True


def roll(
    rig: Rig,
    step: Serve,
    left: list[str],
    runs: dict[str, str],
    keys: Sequence[Secret],
    journal: Journal,
    *,
    moment: str,
    replacing: Replacing,
) -> None:
    """Take the nodes of a part of *step* that are *left*, one after the other, and take each off that list.

    *runs* has what each runs, and is kept up. *moment* is the label of the moment that comes next.
    """
    several = several_nodes(rig, step)
    while name := _next(step, left, several.follow(), whole=len(left) == len(runs)):
        replacing(name)
        swap(rig, replace(step, node=name), runs, keys, journal, moment=moment)
        left.remove(name)
        replacing("")
        await_leader(rig, step, runs[name], journal, moment=moment)


def _next(step: Serve, left: Sequence[str], leader: str, *, whole: bool) -> str:
    """Return which of the nodes that are *left*, the *whole* of them or not, is taken next in this part; "" where none
    is any more.
    """
    standing_by = [name for name in left if name != leader]
    if step.part == "standbys":
        # where nobody leads any more, one is left for the other part
        return standing_by[0] if standing_by and len(left) > 1 else ""
    if step.part == "leader":
        return (standing_by or left or [""])[0]
    if step.part in HALFWAY and not whole:
        return ""
    if step.part in BY_NUMBER:
        return max(left, default="")
    return leader if leader in left else (left or [""])[0]


def swap(
    rig: Rig, served: Serve, runs: dict[str, str], keys: Sequence[Secret], journal: Journal, *, moment: str
) -> None:
    """Take one node to what is to be *served*, and wait until it has rejoined the others. Raises as `open_node`.

    What became of a node that did not come back, or ended while another was replaced, is on record then.
    """
    several, name, system = several_nodes(rig, served), served.node, rig.system(served.vault)
    node = system.nodes[name]
    leader = several.follow()
    was = "leader" if leader == name else "standby"
    wiped = isinstance(served, Restart) and served.wiped
    stranger = bool(leader) and _over_raft(system) and name not in _voters(system) and not wiped
    tell(rig, served, f"before {name} is stopped", journal)
    watch, marks = Stopwatch(), dict[str, float]()
    before, enough = runs.get(name, ""), len(_unsealed(system)) >= _needed(system)
    try:
        _died(system)
        with journal.phase(f"swap of {name} to {served.version}"):
            if wiped:
                several.empty_node(name)
                _add(rig, served)
            else:
                node.swap(served)
        marks["answered"] = watch.seconds
        if enough and len(system.nodes) > _NONE_TO_SPARE and len(alive := _unsealed(system)) < _needed(system):
            _tell_quorum(rig, served, alive, before, journal, moment, replaced=name)
        with journal.phase(f"unseal of {name}, and its return"):
            several.follow()
            answered = open_node(rig, served, keys, lambda word: marks.update({word: watch.seconds}), stranger=stranger)
            if wiped:
                _await_votes(system)
        _died(system)
    except (ProcessDied, NotReady, SwapRefused) as error:
        _lost(rig, served, error, journal, moment)
        raise
    except OtherNodeDied as error:
        _lost(rig, replace(served, node=error.node, version=runs.get(error.node, "")), error, journal, moment)
        raise
    runs[name] = served.version
    vault_steps.note_serving(served, answered, journal)
    journal.write(
        NodeSwapped(
            version=served.version,
            from_version=before,
            was=was,  # type: ignore[arg-type]
            moment=moment,
            answered=round(marks["answered"], 3),
            unsealed=round(marks["unsealed"], 3),
            rejoined=round(watch.seconds, 3),
            vault=served.vault,
            node=name,
        )
    )
    tell(rig, served, f"{name} is back", journal)


def _lost(
    rig: Rig, served: Serve, error: RigError, journal: Journal, moment: str, *, sealed_itself: bool = False
) -> None:
    system = rig.system(served.vault)
    several = several_nodes(rig, served)
    leader = several.follow()
    journal.write(
        NodeLost(
            version=served.version,
            moment=moment,
            step=served.number,
            message=str(error),
            log=error.log or tuple(system.nodes[served.node].vault_log(40)),
            leader=leader,
            member=served.node in _voters(system) if leader and _over_raft(system) else None,
            sealed_itself=sealed_itself,
            replaced=error.replaced if isinstance(error, OtherNodeDied) else "",
            pod=several.pod_of(served.node),
            vault=served.vault,
            node=served.node,
        )
    )


def change(
    rig: Rig, step: StepDown | StopNode | RemoveNode, runs: Mapping[str, str], journal: Journal, *, moment: str
) -> None:
    """Have the one that leads step down, stop a node, or remove one from the others; and wait until somebody leads.

    *runs* has what each runs. Raises RigError where Vault declines, and as `await_leader`.
    """
    system, several = rig.system(step.vault), several_nodes(rig, step)
    led = several.follow()
    tell(rig, step, f"before {course.words_of(step)}", journal)
    if isinstance(step, StopNode):
        several.stop_node(step.node)
        if len(_unsealed(system)) < _needed(system):
            # the one that leads finds out a moment later
            wait.until(
                lambda: not several.follow(),
                what="the node that leads to give that up, because too few are left",
                seconds=LEADER_SECONDS,
                every=0.05,
                log=lambda: system.vault_log(40),
            )
    else:
        down = isinstance(step, StepDown)
        reply = system.setup.step_down() if down else system.setup.remove_peer(step.node)
        if not reply.ok:
            mend = "; nobody leads, and so nobody does it: start-node before it, until more than half run"
            told = f"Vault was told to do the step {course.words_of(step)}, and answered {reply.came}"
            raise RigError(f"{told}{'' if led else mend}")
    if isinstance(step, RemoveNode):
        _await_seal(rig, step, runs.get(step.node, ""), journal, moment)
    if isinstance(step, StepDown):
        wait.until(
            lambda: several.follow() not in ("", led),
            what=f"another node of Vault to lead than {led}, which stepped down",
            seconds=LEADER_SECONDS,
            every=0.05,
            died=lambda: _died(system),
            log=lambda: system.vault_log(40),
        )
    leader = await_leader(rig, step, runs.get(led, ""), journal, moment=moment)
    if leader:
        tell(rig, step, f"after {course.words_of(step)}", journal)


def _await_seal(rig: Rig, step: RemoveNode, version: str, journal: Journal, moment: str) -> None:
    """Wait until the node that was removed has sealed itself, where its *version* does, and put that on record."""
    node = rig.system(step.vault).nodes[step.node]
    if not versions.at_least(version, refusals.SEALS_ITSELF) or _state(node.vault.health()) == "no answer":
        return
    try:
        wait.until(
            lambda: node.vault.seal_status().answered().data.get("sealed") is True,
            what=f"{step.node} to seal itself with {versions.called(version)}",
            seconds=SEALED_SECONDS,
            every=0.05,
        )
    except NotReady:
        return  # it serves on, as it would in older versions, and every question says so
    said = node.vault.health()
    sealed = Restart(number=step.number, version=version, token_file=False, vault=step.vault, node=step.node)
    error = RigError(f"sys/health says HTTP {said.status} of it", node.vault_log(40))
    _lost(rig, sealed, error, journal, moment, sealed_itself=True)


def await_leader(rig: Rig, step: Step, version: str, journal: Journal, *, moment: str) -> str:
    """Wait until a node leads, and return its name; "" where too few are left to elect any, which is put on record.

    Raises NotReady where there are enough, and none leads all the same.
    """
    system, several = rig.system(step.vault), several_nodes(rig, step)
    needed = _needed(system)

    def led() -> str | bool:
        return several.follow() or len(_unsealed(system)) < needed

    found = wait.until(
        led, what="a node of Vault to lead", seconds=LEADER_SECONDS, every=0.05, log=lambda: system.vault_log(40)
    )
    if isinstance(found, str):
        return found
    _tell_quorum(rig, step, _unsealed(system), version, journal, moment)
    return ""


def _tell_quorum(
    rig: Rig, step: Step, alive: Sequence[str], version: str, journal: Journal, moment: str, *, replaced: str = ""
) -> None:
    """Put on record that the nodes *alive* are too few to elect anybody, and which one was being *replaced* then."""
    journal.write(
        QuorumLost(
            version=version,
            moment=moment,
            step=step.number,
            alive=tuple(alive),
            needed=_needed(rig.system(step.vault)),
            replaced=replaced,
            vault=step.vault,
        )
    )


def _needed(system: VaultSystem) -> int:
    return len(system.nodes) // 2 + 1 if _over_raft(system) else 1


def _over_raft(system: VaultSystem) -> bool:
    """Do the nodes elect who leads? Over a storage that all of them have, whoever holds the lock in it leads."""
    said = {node.vault.seal_status().data.get("storage_type") for node in system.nodes.values()} - {None}
    return not said or "raft" in said


def _unsealed(system: VaultSystem) -> list[str]:
    return [name for name, node in system.nodes.items() if _state(node.vault.health()) in ("active", "standby")]


def _state(health: Reply) -> State:
    return refusals.STATES.get(health.status, "no answer")


def tell(rig: Rig, step: Step, when: str, journal: Journal) -> None:
    """Put on record how all nodes of the Vault of *step* are found: who leads, who votes, what each runs."""
    system = rig.system(step.vault)
    several = several_nodes(rig, step)
    leader = several.follow()
    voters = _voters(system) if leader else {}
    state = system.vault.autopilot() if leader else Reply(None)
    healthy = state.data.get("servers") or {} if state.ok else {}
    found = {}
    for name, node in system.nodes.items():
        health, said = node.vault.health(), node.vault.leader()
        one = healthy.get(name) or {}
        found[name] = NodeSeen(
            version=str(health.data.get("version", "")),
            state=_state(health),
            voter=voters[name].voter if name in voters else None,
            healthy=one.get("healthy"),
            applied=said.data.get("raft_applied_index"),
            pod=several.pod_of(name),
        )
    tolerance = state.data.get("failure_tolerance") if state.ok else None
    journal.write(NodesSeen(when=when, leader=leader, nodes=found, failure_tolerance=tolerance, vault=step.vault))


def _voters(system: VaultSystem) -> dict[str, NodeSeen]:
    """Return who is in the raft configuration, by name, and whether they vote. Raises Unreachable where nobody says."""
    said = system.vault.raft_peers().answered().data
    servers = (said.get("config") or {}).get("servers") or []
    return {str(one["node_id"]): NodeSeen(state="standby", voter=bool(one.get("voter"))) for one in servers}


def _died(system: VaultSystem, opened: str = "") -> str | None:
    """Return a sentence if the node that is being *opened* has ended by itself. Raises OtherNodeDied if another has."""
    for name, node in system.nodes.items():
        if name != opened and (sentence := node.vault_died()) is not None:
            raise OtherNodeDied(name, opened, sentence, node.vault_log(40))
    return system.nodes[opened].vault_died() if opened else None
