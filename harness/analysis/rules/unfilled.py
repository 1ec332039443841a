"""Templates in policies that nothing fills: why that is so, and which one would be filled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from harness.knowledge import policy_templates
from harness.scenario.mount_kinds import JWT, TOKEN

_OF_ENTITY: Final = "identity.entity.metadata."
_OF_GROUP: Final = "identity.groups."
_MADE_UP: Final = ("identity.entity.id", "identity.entity.name")


def said(names: Sequence[str], mount: str, kind: str, alias: policy_templates.Alias) -> str:
    """Return why nothing fills these templates, *names* as `policy_templates.unfilled` has them, for who has this
    *alias* at a *mount* of a *kind*: sentences, without the full stop of the last one.
    """
    return "".join(f". {one}" for one in dict.fromkeys(_why(name, mount, kind, alias) for name in names) if one)


def _why(name: str, mount: str, kind: str, alias: policy_templates.Alias) -> str:
    if not (because := _because(name, mount, kind, alias)):
        return ""
    return f"Nothing fills the template {{{{{name}}}}} here, and a rule with it grants nothing: {because}"


def _because(name: str, mount: str, kind: str, alias: policy_templates.Alias) -> str:
    own = f"identity.entity.aliases.{mount}."
    key = name.removeprefix(own)
    found = ""  # of another mount: the rule says that of all of them at once
    if kind == TOKEN:
        found = "a token that was made by auth/token/create is nobody's, and has no entity"
    elif name.startswith(_OF_ENTITY):
        found = (
            "it is metadata of the entity itself, which no login writes. Where somebody wrote it in production "
            f"(identity/entity), no scenario can say so{_known(mount, alias)}"
        )
    elif name in _MADE_UP:
        found = "Vault makes that up as it makes an entity at a first login, and it is another one in each rehearsal"
    elif name.startswith(_OF_GROUP):
        found = "it is of a group, and a rehearsal makes none"
    elif name.startswith(own) and key in policy_templates.MADE_ANEW:
        found = "that is made up by Vault or the cluster, and is another one in each rehearsal"
    elif name.startswith(own):
        since = policy_templates.ROLE_IN_ALIAS if (kind, key) == (JWT, "metadata.role") else ""
        before = f" before {since}, where it is the name of the role in lower case" if since else ""
        found = f"the alias that {mount} gives has no {key}{before}{_known(mount, alias)}"
    return found


def _known(mount: str, alias: policy_templates.Alias) -> str:
    """Return what the alias has instead."""
    has = [f"{key} ({value})" for key, value in sorted(alias.items()) if value]
    return f"; what the alias of {mount} has is {', '.join(has)}" if has else ""


def mended(
    text: str, names: Sequence[str], mount: str, alias: policy_templates.Alias, grants: Callable[[str], bool]
) -> tuple[str, str, str] | None:
    """Return the first template of *names*, the one to have in its place, and the policy's *text* with that, by which
    it *grants* what is asked; None where none does.
    """
    for wrong in names:
        for key, value in sorted(alias.items()):
            changed = policy_templates.instead(text, wrong, mount, key) if value else text
            if changed != text and grants(changed):
                return wrong, f"identity.entity.aliases.{mount}.{key}", changed
    return None
