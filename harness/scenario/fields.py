"""What the models of a scenario declare, found by the path of a value."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Final, get_args, get_origin, get_type_hints

from pydantic import BaseModel

from harness.scenario import values
from harness.scenario.schema import Scenario
from harness.scenario.yaml_document import LONGEST_TEXT, Trail

WORDS: Final[Mapping[Any, tuple[str, str]]] = {
    values.VersionText: ("a version", "three numbers, such as 1.11.0"),
    values.Name: ("a name", "lower-case letters, digits and dashes, such as apps"),
    values.Binding: ("a name or *", 'a name such as web, or "*" for all'),
    values.RoleName: ("the name of a role", "letters, digits, '_', '-' and '.', such as web"),
    values.PolicyName: ("the name of a policy", "letters, digits, '_', '-', '.' and '/', such as web"),
    values.CaText: ("a CA", "cluster, omit, base64, the name of another cluster, or PEM text"),
    values.KeyText: ("a public key", "cluster, the name of another cluster, or PEM text"),
    values.KeysAt: ("a cluster to ask for keys", "cluster, or the name of another one"),
    values.WrittenValue: ("what is written", "a text, a whole number, true or false, or a list of such"),
    values.ClaimValue: ("the value of a claim", "a text, a whole number, true or false, or a list of such"),
    values.LabelKey: ("the name of a label", "such as team, or example.com/team"),
    values.LabelValue: ("the value of a label", "such as web"),
    values.Cidr: ("an address or a network", "such as 10.0.0.0/8"),
    values.ServiceAccount: ("a service account", "namespace/name, such as apps/web"),
    values.MountPath: ("a mount path", "such as kubernetes"),
    values.SecretPath: ("a secret", "such as secret/web"),
    values.Issuer: ("an issuer", "such as https://kubernetes.default.svc.cluster.local"),
    values.Text: ("text", f"one to {LONGEST_TEXT} characters"),
    values.TextOrNone: ("text", f"up to {LONGEST_TEXT} characters; empty: it is taken away"),
    values.Duration: ("a span of time", "a whole number with s, m or h, such as 90s, 10m or 1h"),
    values.Many: ("so many, or all", "a whole number without quotes, such as 500, or all"),
    values.ShortSpan: ("a span of time", "a whole number with ms, s or m, such as 500ms or 2s"),
    values.Mode: ("mode bits", 'four octal digits in quotes, of which the first is 0, such as "0640"'),
    values.Host: ("an address at which no server of anybody is", "cluster, or such as https://127.0.0.1:1"),
    values.TokenLife: ("a life that a token can have", "a whole number with s, m or h, such as 10m or 1h"),
    int: ("a whole number", "a whole number without quotes, such as 5"),
    bool: ("true or false", "true or false, without quotes"),
}
"""What a value of a type is called, and an example of it or the way to one."""


def is_model(shape: Any) -> bool:
    """Is a declared type one with fields?"""
    return inspect.isclass(shape) and issubclass(shape, BaseModel)


@cache
def fields(model: type[BaseModel]) -> dict[str, tuple[Any, str]]:
    """Return, by written key, the type and the description of each field."""
    hints = get_type_hints(model, include_extras=True)
    found = {}
    for name, field in model.model_fields.items():
        shape = _bare(hints[name])
        described = field.description or (inspect.getdoc(shape) if is_model(shape) else "") or ""
        found[field.alias or name] = (shape, described)
    return found


def _bare(hint: Any) -> Any:
    """Return *hint* without None, and without its constraints unless we have words for them."""
    options = [option for option in get_args(hint) if option is not type(None)]
    hint = options[0] if type(None) in get_args(hint) else hint
    return get_args(hint)[0] if get_origin(hint) is Annotated and hint not in WORDS else hint


def below(shape: Any, step: str | int) -> Any:
    """Return the declared type of what is named *step* in a value of the type *shape*, a mapping or a list."""
    if is_model(shape):
        return fields(shape)[str(step)][0]
    return _bare(get_args(shape)[1 if get_origin(shape) is dict else 0])


def shape_at(trail: Trail) -> Any:
    """Return the declared type of the value at *trail*."""
    shape: Any = Scenario
    for step in trail:
        shape = below(shape, step)
    return shape
