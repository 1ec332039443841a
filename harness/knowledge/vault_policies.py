"""Vault policies read as Vault reads them: HCL (the first version of it) or JSON, and what they grant on a path.

P below is hashicorp/vault vault/policy.go and vault/acl.go: which keys and capabilities there are, which rule wins.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from harness.knowledge.versions import at_least

VAULTS_OWN: Final = "default"
"""The policy that every token has, and that Vault writes itself."""

CAPABILITIES: Final = ("deny", "create", "read", "update", "delete", "list", "sudo", "patch", "subscribe", "recover")
_SHORT: Final = {
    "deny": ("deny",),
    "read": ("read", "list"),
    "write": ("create", "read", "update", "delete", "list"),
    "sudo": ("create", "read", "update", "delete", "list", "sudo"),
}
"""What the old key `policy` stands for (P)."""
_TOP_KEYS: Final = ("name", "path")
_PATH_KEYS: Final = (
    "capabilities", "policy", "allowed_parameters", "denied_parameters", "required_parameters", "min_wrapping_ttl",
    "max_wrapping_ttl", "mfa_methods", "control_group", "comment", "subscribe_event_types", "expiration",
    "list_scan_response_keys_filter_path", "pagination_limit", "response_keys_filter_path",
)  # fmt: skip
_DEEPEST: Final = 50

LISTS_ITEM_BY_ITEM: Final = "1.21.0"
"""From here on allowed_parameters and denied_parameters look up the items of a list, and no longer the list as a whole,
unless VAULT_LEGACY_EXACT_MATCHING_ON_LIST is set (documented; run: 1.7.0, 1.16.3, 1.19.0 against 1.21.2)."""

OF_EVERY_TOKEN: Final = """
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }
path "sys/leases/renew" { capabilities = ["update"] }
"""
"""What Vault's own policy, `default`, grants of what a rehearsal asks (V vault/policy_store.go, defaultPolicy)."""


class PolicyError(ValueError):
    """A text that Vault would not take as a policy. *line* is the line of the text, from 1; 0 where it is no place."""

    def __init__(self, message: str, line: int = 0) -> None:
        self.line = line
        super().__init__(f"line {line}: {message}" if line else message)


class Rule(msgspec.Struct, frozen=True):
    """One path of one policy."""

    policy: str
    path: str
    """as written, without a slash at its beginning"""
    capabilities: tuple[str, ...]
    allowed: Mapping[str, tuple[Any, ...]] = {}
    """allowed_parameters: the values of each that may be written, by its name in lower case; none: any value"""
    denied: Mapping[str, tuple[Any, ...]] = {}
    """denied_parameters, likewise"""
    required: tuple[str, ...] = ()
    """required_parameters"""

    def parameters(self, key: str) -> Collection[str]:
        """Return the parameters that the rule has under a *key*, such as denied_parameters."""
        kinds: dict[str, Collection[str]] = {
            "allowed_parameters": self.allowed, "denied_parameters": self.denied, "required_parameters": self.required
        }  # fmt: skip
        return kinds[key]

    @property
    def templated(self) -> bool:
        """Does it depend on who asks?"""
        return "{{" in self.path


class Refused(msgspec.Struct, frozen=True):
    """Why what would be written is not let through."""

    by: str
    """the key of the rule: allowed_parameters, denied_parameters, required_parameters"""
    parameter: str
    value: Any = None
    """None: whatever it is"""

    def __str__(self) -> str:
        value = "" if self.value is None else f" as {json.dumps(self.value)}"
        says = {"allowed_parameters": "has no", "denied_parameters": "has", "required_parameters": "demands"}[self.by]
        return f"{self.by} {says} {self.parameter}{value}"


class Ruling(msgspec.Struct, frozen=True):
    """What policies together say of one capability on one path."""

    granted: bool
    denied: bool = False
    """does a rule say deny?"""
    rules: tuple[Rule, ...] = ()
    """the rules that decide: all of one path; none where no rule covers the path"""


def read(name: str, text: str) -> list[Rule]:
    """Return the rules of policy *name*. Raises PolicyError where Vault would refuse its *text*."""
    in_json = text.lstrip().startswith("{")
    rules = []
    for keys, value, line in _json_items(text) if in_json else _Parser(text).items():
        if keys[0] not in _TOP_KEYS:
            raise PolicyError(f"there is no key {keys[0]!r} in a policy, only path", line)
        if keys[0] == "path" and len(keys) == 1 and not in_json:
            raise PolicyError("path has no name", line)
        if keys[0] == "path":
            rules += [_rule(name, path, body, at) for path, body, at in _paths(keys[1:], value, line)]
    return rules


def without_deny(name: str, text: str, path: str) -> str:
    """Return policy *name* as HCL, with all that it grants and without what it denies on *path*.

    Only paths and capabilities are kept. Raises PolicyError where *text* is no policy.
    """
    kept = [rule for rule in read(name, text) if not (rule.path == path and "deny" in rule.capabilities)]
    return "\n".join(
        f'path "{rule.path}" {{ capabilities = [{", ".join(json.dumps(one) for one in rule.capabilities)}] }}'
        for rule in kept
    )


def without_parameter(name: str, text: str, path: str, refused: Refused) -> str:
    """Return policy *name* as JSON, in which what *refused* a value on *path* lets it through: that parameter is free.

    Only paths, capabilities and parameters are kept. Raises PolicyError where *text* is no policy.
    """
    paths: dict[str, dict[str, Any]] = {}
    for rule in read(name, text):
        allowed, denied, required = dict(rule.allowed), dict(rule.denied), list(rule.required)
        if rule.path == path:
            denied.pop(refused.parameter, None)
            required = [one for one in required if one != refused.parameter]
            if refused.by == "allowed_parameters":
                allowed[refused.parameter] = ()
        body = {"allowed_parameters": allowed, "denied_parameters": denied, "required_parameters": required}
        kept = {key: value for key, value in body.items() if value}
        paths[rule.path] = {"capabilities": list(rule.capabilities), **kept}
    return json.dumps({"path": paths}, default=lambda number: json.loads(number.text))


def ruling(rules: Iterable[Rule], path: str, capability: str) -> Ruling:
    """Return what *rules*, those of all the policies of a token, say of *capability* on *path* (P: acl.go).

    A rule for the very path wins over any with wildcards, and of these the most specific wins; rules with one and the
    same path add up, and deny wins among them. Rules with templates in their path are passed over.
    """
    matching = [rule for rule in rules if not rule.templated and _matches(rule.path, path)]
    exact = [rule for rule in matching if rule.path == path]
    best = exact or _best(matching)
    denied = any("deny" in rule.capabilities for rule in best)
    granted = not denied and any(capability in rule.capabilities for rule in best)
    return Ruling(granted, denied, tuple(best))


def refused_parameter(rules: Sequence[Rule], fields: Mapping[str, Any], version: str) -> Refused | None:
    """Return what *rules*, those that decide on a path, hold in Vault *version* against writing *fields* there.

    Run: where items are looked up one by one, a text with commas is a list, too, and a list that is listed as a whole
    fits still.
    """
    item_by_item = at_least(version, LISTS_ITEM_BY_ITEM)
    given = {name.lower(): value for name, value in fields.items()}
    for name in (name for rule in rules for name in rule.required):
        if name not in given:
            return Refused("required_parameters", name)
    denied, allowed = _listed(rule.denied for rule in rules), _listed(rule.allowed for rule in rules)
    for name, value in given.items():
        if "*" in denied or (name in denied and _is_among(value, denied[name], one_by_one=item_by_item, of=any)):
            items = [one for one in _items(value) if _is_among(one, denied.get(name, ()), one_by_one=False, of=any)]
            return Refused("denied_parameters", "*" if "*" in denied else name, items[0] if items else value)
        if name not in allowed and allowed and "*" not in allowed:
            return Refused("allowed_parameters", name)
        if name in allowed and not _is_among(value, allowed[name], one_by_one=item_by_item, of=all):
            items = [one for one in _items(value) if not _is_among(one, allowed[name], one_by_one=False, of=all)]
            return Refused("allowed_parameters", name, items[0] if items and item_by_item else value)
    return None


def _listed(said: Iterable[Mapping[str, tuple[Any, ...]]]) -> dict[str, tuple[Any, ...]]:
    """Return the values of each parameter in several rules of one path: where one of them takes any, any (P)."""
    found: dict[str, tuple[Any, ...]] = {}
    for one in said:
        for name, values in one.items():
            found[name] = (*found[name], *values) if found.get(name) and values else () if name in found else values
    return found


def _is_among(value: Any, values: tuple[Any, ...], *, one_by_one: bool, of: Callable[[Iterable[bool]], bool]) -> bool:
    if not values or any(_fits(value, one) for one in values):
        return True
    if not one_by_one or not isinstance(value, str | list):
        return False
    return of(any(_fits(item, one) for one in values) for item in _items(value))


def _items(value: Any) -> list[Any]:
    return value.split(",") if isinstance(value, str) else value if isinstance(value, list) else []


def _fits(value: Any, listed: Any) -> bool:
    """Is *value* what is *listed*, where a text may begin or end with any? A number never is: Vault compares kinds."""
    if isinstance(value, str) and isinstance(listed, str) and (listed.startswith("*") or listed.endswith("*")):
        return re.fullmatch(re.escape(listed).replace(r"\*", ".*"), value, re.DOTALL) is not None
    if isinstance(value, list) and isinstance(listed, list):
        return len(value) == len(listed) and all(map(_same, value, listed))
    return _same(value, listed)


def _same(value: Any, listed: Any) -> bool:
    return type(value) is type(listed) and isinstance(value, str | bool) and value == listed


def _best(matching: list[Rule]) -> list[Rule]:
    if not matching:
        return []
    winner = max((rule.path for rule in matching), key=_priority)
    return [rule for rule in matching if rule.path == winner]


def _priority(pattern: str) -> tuple[int, bool, int, int, str]:
    """Return how specific a pattern is: where its first wildcard stands, whether it ends in *, how many + it has."""
    wild = re.search(r"\+|\*$", pattern)
    first = wild.start() if wild else len(pattern)
    return (first, not pattern.endswith("*"), -pattern.split("/").count("+"), len(pattern), pattern)


def _matches(pattern: str, path: str) -> bool:
    prefix = pattern.endswith("*")
    if "+" not in pattern.split("/") and "+" not in pattern.removesuffix("*").split("/"):
        return path.startswith(pattern[:-1]) if prefix else path == pattern
    wanted, there = pattern.removesuffix("*").split("/"), path.split("/")
    if len(there) < len(wanted) or (not prefix and len(there) != len(wanted)):
        return False
    *head, last = wanted
    fits = all(one in ("+", other) for one, other in zip(head, there, strict=False))
    other = there[len(head)]
    return fits and (last in ("+", other) or (prefix and other.startswith(last)))


def _paths(labels: list[str], value: Any, line: int) -> Iterator[tuple[str, Mapping[str, Any], int]]:
    """Yield every path with its body: `path "x" {}`, or a mapping of paths in JSON, or a list of such."""
    if labels:
        if len(labels) > 1 or not isinstance(value, Mapping):
            raise PolicyError('a path is written path "..." { ... }', line)
        yield labels[0], value, line
        return
    for one in value if isinstance(value, list) else [value]:
        if not isinstance(one, Mapping):
            raise PolicyError("path has no name", line)
        for path, body in one.items():
            for part in body if isinstance(body, list) else [body]:
                if not isinstance(part, Mapping):
                    raise PolicyError(f"path {path!r} has no body", line)
                yield path, part, line


def _rule(policy: str, path: str, body: Mapping[str, Any], line: int) -> Rule:
    path = path.removeprefix("/")
    if "+*" in path:
        raise PolicyError(f"path {path!r}: '+*' is forbidden", line)
    for key in body:
        if key not in _PATH_KEYS:
            raise PolicyError(
                f"path {path!r}: there is no key {key!r}, only {', '.join(_PATH_KEYS[:2])} and the like", line
            )
    capabilities: list[str] = []
    short = body.get("policy", "")
    if short:
        if short not in _SHORT:
            raise PolicyError(f"path {path!r}: policy is one of {', '.join(_SHORT)}", line)
        capabilities += _SHORT[short]
    said = body.get("capabilities", [])
    if not isinstance(said, list):
        raise PolicyError(f'path {path!r}: capabilities is a list, such as ["read"]', line)
    for one in said:
        if one not in CAPABILITIES:
            raise PolicyError(f"path {path!r}: there is no capability {one!r}, only {', '.join(CAPABILITIES)}", line)
        capabilities.append(one)
    kept = ("deny",) if "deny" in capabilities else tuple(dict.fromkeys(capabilities))
    required = body.get("required_parameters")
    names = tuple(str(one).lower() for one in required) if isinstance(required, list) else ()
    return Rule(policy, path, kept, _parameters(body, "allowed"), _parameters(body, "denied"), names)


def _parameters(body: Mapping[str, Any], which: str) -> dict[str, tuple[Any, ...]]:
    said = body.get(f"{which}_parameters")
    if not isinstance(said, Mapping):
        return {}
    return {name.lower(): tuple(values) if isinstance(values, list) else (values,) for name, values in said.items()}


def _json_items(text: str) -> list[tuple[list[str], Any, int]]:
    try:
        document = json.loads(text)
    except ValueError as error:
        at = getattr(error, "lineno", 0)
        raise PolicyError(f"this is no JSON ({getattr(error, 'msg', error)})", at) from None
    except RecursionError:
        raise PolicyError("this is nested too deeply") from None
    return [([str(key)], value, 0) for key, value in document.items()]


_TOKEN: Final = re.compile(
    r"""(?P<blank>[ \t\r\n]+|\#[^\n]*|//[^\n]*|/\*.*?\*/)
    |(?P<heredoc><<-?(?P<tag>[A-Za-z0-9_]+)\r?\n(?P<lines>.*?)(?:^|\n)[ \t]*(?P=tag)(?=\r?\n|\Z))
    |(?P<string>"(?:[^"\\\n]|\\.)*")
    |(?P<number>-?[0-9][0-9a-fA-FxX.eE+-]*)
    |(?P<word>[A-Za-z_][A-Za-z0-9_.-]*)
    |(?P<sign>[{}\[\]=,])""",
    re.VERBOSE | re.DOTALL,
)


class _Number(msgspec.Struct, frozen=True):
    """A number as it is written."""

    text: str


class _Parser:
    """The first HCL: keys, labels, and values that are strings, numbers, truth values, lists or objects."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._next = 0

    def items(self, end: str = "", depth: int = 0) -> list[tuple[list[str], Any, int]]:
        """Return what stands up to the sign *end*: keys, value, line."""
        found: list[tuple[list[str], Any, int]] = []
        while True:
            kind, text, line = self._take()
            if kind == "sign" and text == end:
                return found
            if kind == "end":
                if end:
                    raise PolicyError(f"a {end!r} is missing at the end", line)
                return found
            if kind == "sign" and text == "," and found:
                continue
            if kind not in ("word", "string"):
                raise PolicyError(f"a key was expected, and {text!r} stands there", line)
            found.append(self._item(text, line, depth))

    def _item(self, key: str, line: int, depth: int) -> tuple[list[str], Any, int]:
        keys = [key]
        while True:
            kind, text, at = self._take()
            if kind in ("word", "string"):
                keys.append(text)
            elif kind == "sign" and text == "=" and len(keys) == 1:
                return keys, self._value(depth), line
            elif kind == "sign" and text == "{":
                return keys, self._object(depth), line
            else:
                raise PolicyError(
                    f"after {' '.join(keys)} a = or a {{ was expected, and {text or 'nothing'} follows", at
                )

    def _object(self, depth: int) -> dict[str, Any]:
        if depth > _DEEPEST:
            raise PolicyError("this is nested too deeply", self._tokens[self._next - 1][2])
        return {keys[0]: value for keys, value, _ in self.items("}", depth + 1)}

    def _value(self, depth: int) -> Any:
        kind, text, line = self._take()
        if kind == "sign" and text == "{":
            return self._object(depth)
        if kind == "sign" and text == "[":
            return self._list(depth)
        if kind == "word" and text in ("true", "false"):
            return text == "true"
        if kind in ("string", "number"):
            return text if kind == "string" else _Number(text)
        raise PolicyError(f"a value was expected, and {text or 'nothing'} stands there", line)

    def _list(self, depth: int) -> list[Any]:
        if depth > _DEEPEST:
            raise PolicyError("this is nested too deeply", self._tokens[self._next - 1][2])
        found: list[Any] = []
        while True:
            kind, text, line = self._tokens[self._next]
            if kind == "sign" and text == "]":
                self._next += 1
                return found
            found.append(self._value(depth + 1))
            kind, text, line = self._take()
            if kind == "sign" and text == "]":
                return found
            if (kind, text) != ("sign", ","):
                raise PolicyError(f"in a list a comma or a ] was expected, and {text or 'nothing'} stands there", line)

    def _take(self) -> tuple[str, str, int]:
        token = self._tokens[self._next]
        self._next = min(self._next + 1, len(self._tokens) - 1)
        return token


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    at, line = 0, 1
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            what = "a string does not end" if text[at] == '"' else f"{text[at]!r} cannot stand here"
            raise PolicyError(what, line)
        kind = match.lastgroup or ""
        if match["heredoc"] is not None:
            yield "string", match["lines"], line
        elif match["string"] is not None:
            yield "string", re.sub(r"\\(.)", r"\1", match["string"][1:-1]), line
        elif kind != "blank":
            yield kind, match[0], line
        line += match[0].count("\n")
        at = match.end()
    yield "end", "", line
