"""What the values of a scenario may be: versions, names, paths, spans of time, each with the rule it must keep."""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from annotated_types import Len
from pydantic import AfterValidator, BeforeValidator, StringConstraints, WithJsonSchema

from harness.knowledge import versions
from harness.scenario import endpoints

ADDRESS: Final = "address"
"""Among the issuers of a cluster: where its API server answers, which only the running system knows."""


def _version(text: str) -> str:
    versions.parse(text)
    return text


def _name(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", text):
        raise ValueError("a name has lower-case letters, digits and dashes, at most 63, and no dash at its ends")
    return text


def _service_account(text: str) -> str:
    parts = text.split("/")
    if len(parts) != 2:
        raise ValueError("a service account is written namespace/name")
    for part in parts:
        _name(part)
    return text


def _path(text: str) -> str:
    """A mount or secret path: plain segments, so that no path can climb out of anywhere."""
    if len(text) > 200 or not re.fullmatch(r"[A-Za-z0-9_][-A-Za-z0-9_.]*(/[A-Za-z0-9_][-A-Za-z0-9_.]*)*", text):
        raise ValueError("a path has segments of letters, digits, '-', '_' and '.', parted by '/'")
    return text


def _role_name(text: str) -> str:
    if len(text) > 128 or not re.fullmatch(r"[A-Za-z0-9_]([-A-Za-z0-9_.]*[A-Za-z0-9_])?", text):
        raise ValueError(
            "letters, digits, '_', '-' and '.', at most 128, beginning and ending with none of the last two"
        )
    return text


def _policy_name(text: str) -> str:
    if len(text) > 128 or not re.fullmatch(r"[A-Za-z0-9_][-A-Za-z0-9_./]*", text):
        raise ValueError("letters, digits, '_', '-', '.' and '/', at most 128, beginning with a letter, a digit or '_'")
    return text


def _host(text: str) -> str:
    """Where Vault is to look for the API server: a word for a server of the rehearsal's, or an address of nobody's."""
    if text in endpoints.WORDS or endpoints.inside(text):
        return text
    found = re.fullmatch(r"https?://(127(?:\.[0-9]{1,3}){3}|localhost|(?:[a-z0-9-]+\.)+invalid)(?::[0-9]{1,5})?", text)
    if not found:
        raise ValueError(
            f"{', '.join(endpoints.WORDS)}, or an address at which no server of anybody is, such as "
            "https://127.0.0.1:1 (nobody listens) or https://gone.invalid (no such name), or one that Pods alone know, "
            "https://kubernetes.default.svc: a rehearsal sends its tokens to no server but its own"
        )
    return text


def _listed(given: object) -> object:
    return (given,) if isinstance(given, str) else tuple(given) if isinstance(given, list) else given


def _different(given: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(given)) < len(given):
        raise ValueError("audiences that differ")
    return given


def _binding(text: str) -> str:
    """A name, or a pattern with a * for any characters, which Vault takes in both bindings."""
    _name(re.sub(r"\*+", "x", text) if text.replace("*", "") else "x")
    return text


_PEM = re.compile(r"\s*(-----BEGIN ([A-Z ]+)-----\s[A-Za-z0-9+/=\s]+-----END \2-----\s*)+")


_BLOCK = re.compile(r"-----BEGIN [A-Z ]+-----([^-]+)-----END")
_SEQUENCE: Final = 0x30
"""With which a sequence begins in DER (ITU-T X.690, 8.9)."""


def _ca(text: str) -> str:
    """A word for a CA that only the running system knows, or the text that is sent as it stands."""
    if text in ("cluster", "omit", "base64") or text.startswith("LS0tLS1CRUdJTi"):
        return text
    return _pem_of_cluster(text, ("CERTIFICATE",), "cluster, omit, base64 (the cluster's, which nobody decoded)")


def _key(text: str) -> str:
    found = _pem_of_cluster(text, ("PUBLIC KEY", "RSA PUBLIC KEY", "CERTIFICATE"), "cluster")
    if kind_of_pem(found) == "PEM" and not is_whole_pem(found):
        raise ValueError(
            "cluster, the name of another cluster, or a PEM text with a whole key in it: Vault refuses a config with "
            "this one (x509: malformed certificate)"
        )
    return found


def is_whole_pem(text: str) -> bool:
    """Is what each block of a PEM text holds one whole ASN.1 sequence, as every key and every certificate is?"""
    blocks = _BLOCK.findall(text)
    return bool(blocks) and all(_is_sequence("".join(block.split())) for block in blocks)


def _is_sequence(coded: str) -> bool:
    try:
        held = base64.b64decode(coded, validate=True)
    except ValueError:
        return False
    if len(held) < 2 or held[0] != _SEQUENCE:
        return False
    # up to 127 bytes their number is one byte; else that one says how many bytes have the number
    more = held[1] - 128 if held[1] > 128 else 0
    length = int.from_bytes(held[2 : 2 + more]) if more else held[1]
    return len(held) == 2 + more + length


def _keys_at(text: str) -> str:
    """Whom Vault is to ask for keys: a cluster by its name, or the mount's own."""
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", text):
        raise ValueError(
            "cluster, or the name of another one: the URL is made of where its API server answers, and a rehearsal "
            "asks no server but its own"
        )
    return text


def _claim(given: object) -> object:
    """A claim's value, or several, one of which is meant: texts, whole numbers, truth values."""
    listed = isinstance(given, (list, tuple))
    several = tuple(given) if isinstance(given, (list, tuple)) else (given,)
    if not several or not all(isinstance(one, str | int) and one != "" for one in several):
        raise ValueError("a text, a whole number, true or false, or a list of such")
    return several if listed else given


def _pem_of_cluster(text: str, kinds: tuple[str, ...], words: str) -> str:
    found = _PEM.fullmatch(text)
    if found is not None and found[2] in kinds:
        return text
    if "\n" in text or "BEGIN" in text or not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", text):
        raise ValueError(f"{words}, the name of another cluster, or a PEM text that begins -----BEGIN {kinds[0]}-----")
    return text


def kind_of_pem(text: str) -> Literal["word", "name", "PEM", "undecoded"]:
    """Return what a sound CaText or KeyText is: a word of ours, the name of a cluster, PEM, or base64 of PEM."""
    if text in ("cluster", "omit"):
        return "word"
    if "-----BEGIN" in text:
        return "PEM"
    return "undecoded" if text == "base64" or text != text.lower() else "name"


def _cidr(text: str) -> str:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError("an address, or a network such as 10.0.0.0/8") from None
    return text


def _label_key(text: str) -> str:
    if not re.fullmatch(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", text):
        raise ValueError("a name such as team, or one with a domain before it such as example.com/team")
    return text


def _label_value(text: str) -> str:
    if not re.fullmatch(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?", text):
        raise ValueError("at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or a digit")
    return text


def _bindings(names: tuple[str, ...]) -> tuple[str, ...]:
    if "*" in names and len(names) > 1:
        raise ValueError("* stands alone: Vault refuses to mix it with names")
    return names


def _span(duration: str) -> str:
    if seconds(duration) > _LONGEST_SPAN:
        raise ValueError("less than 2562048h: Vault, like all that counts nanoseconds in 64 bits, refuses a longer one")
    return duration


def _token_life(duration: str) -> str:
    if not 600 <= seconds(duration) <= 2**32:
        raise ValueError("10m or more, and at most 2^32 seconds: Kubernetes issues no service account token for less")
    return duration


def _secret_path(text: str) -> str:
    _path(text)
    if "/" not in text:
        raise ValueError("a secret is written with the path of its secrets engine before it, such as secret/web")
    return text


def _issuer(text: str) -> str:
    """A service account issuer as an API server takes it: with any other it does not even start."""
    if any(ord(one) < 32 for one in text) or text != text.strip():
        raise ValueError("a text of one line, with no blanks around it")
    if ":" in text and not _is_url(text):
        raise ValueError(
            "an issuer with a colon in it has to be a URL, such as https://kubernetes.default.svc.cluster.local: with "
            "any other an API server does not start"
        )
    return text


def _is_url(text: str) -> bool:
    try:
        said = urlsplit(text)
        said.port  # noqa: B018  # reading it is what checks it
    except ValueError:
        return False
    shaped = re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*:\S*", text)
    return shaped is not None and not re.search(r"%(?![0-9A-Fa-f]{2})", text)


def _issuers(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ValueError("issuers that differ: an API server does not start with one that is given twice")
    return names


def _many(value: Any) -> Any:
    if value != "all" and type(value) is not int:
        raise ValueError("a whole number without quotes, such as 500, or all")
    return value


VersionText = Annotated[str, AfterValidator(_version)]
Name = Annotated[str, AfterValidator(_name)]
ServiceAccount = Annotated[str, AfterValidator(_service_account)]
MountPath = Annotated[str, AfterValidator(_path)]
SecretPath = Annotated[str, AfterValidator(_secret_path)]
Binding = Annotated[str, AfterValidator(_binding)]
RoleName = Annotated[str, AfterValidator(_role_name)]
PolicyName = Annotated[str, AfterValidator(_policy_name)]
CaText = Annotated[str, StringConstraints(max_length=10_000, min_length=1), AfterValidator(_ca)]
KeyText = Annotated[str, StringConstraints(max_length=10_000, min_length=1), AfterValidator(_key)]
KeysAt = Annotated[str, AfterValidator(_keys_at)]
_ONE_CLAIM: list[dict[str, Any]] = [{"type": "string"}, {"type": "integer"}, {"type": "boolean"}]
_CLAIMS: dict[str, Any] = {"anyOf": [*_ONE_CLAIM, {"type": "array", "items": {"anyOf": _ONE_CLAIM}, "minItems": 1}]}
ClaimValue = Annotated[Any, AfterValidator(_claim), WithJsonSchema(_CLAIMS)]
"""What a claim of a token says, or may say."""
WrittenValue = Annotated[ClaimValue, "written"]
"""What an app writes into one field of a secret."""
Many = Annotated[Any, AfterValidator(_many), WithJsonSchema({"anyOf": [{"type": "integer"}, {"const": "all"}]})]
LabelKey = Annotated[str, AfterValidator(_label_key)]
LabelValue = Annotated[str, AfterValidator(_label_value)]
Readable = Literal["namespaces", "service-accounts"]
"""What Vault may want to read of a cluster, beside reviewing tokens."""
Cidr = Annotated[str, AfterValidator(_cidr)]
Text = Annotated[str, StringConstraints(max_length=10_000, min_length=1)]
TextOrNone = Annotated[str, StringConstraints(max_length=10_000)]
"""As Text, and an empty one takes away what is there."""
Issuer = Annotated[str, StringConstraints(max_length=1_000, min_length=1), AfterValidator(_issuer)]
Issuers = Annotated[tuple[Issuer, ...], Len(1, 10), AfterValidator(_issuers)]
"""Of a cluster's service account tokens: the first signs, the others are accepted."""
_LONGEST_SPAN: Final = 9_223_372_036
"""In seconds: what Go's time.Duration holds. A second more is answered 400 (run: 1.4.0, 1.9.2 and 1.16.3)."""
MOST: Final = 2**63 - 1
"""The largest whole number that Vault reads where it wants one (run: as above)."""
Duration = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,8}[smh]$"), AfterValidator(_span)]
"""A whole number with its unit: 90s, 10m, 1h."""
ShortSpan = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,5}(ms|s|m)$")]
Mode = Annotated[str, StringConstraints(pattern=r"^0[0-7]{3}$")]
Host = Annotated[str, AfterValidator(_host)]
Audiences = Annotated[
    tuple[Text, ...],
    BeforeValidator(_listed),
    Len(1),
    AfterValidator(_different),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1, "maxLength": 10_000},
                {"type": "array", "items": {"type": "string", "minLength": 1, "maxLength": 10_000}, "minItems": 1},
            ]
        }
    ),
]
"""One audience, or a list of several."""
TokenLife = Annotated[Duration, AfterValidator(_token_life)]
AliasSource = Literal["serviceaccount_uid", "serviceaccount_name"]
ReviewerKind = Literal["local", "client-jwt", "secret", "long-lived", "pod-token", "requested"]
MountType = Literal["kubernetes", "approle", "userpass", "jwt", "cert", "token"]
"""The kinds of auth mounts: see `mount_kinds`."""
Bindings = Annotated[tuple[Binding, ...], AfterValidator(_bindings)]


def seconds(duration: str) -> int:
    """Return a Duration in seconds."""
    return int(duration[:-1]) * {"s": 1, "m": 60, "h": 3600}[duration[-1]]


def addressed(issuers: Iterable[str], address: str) -> tuple[str, ...]:
    """Return *issuers* as they are once it is known at which *address* their API server answers."""
    return tuple(address if one == ADDRESS else one for one in issuers)
