"""What is known to be secret, or looks like it, gets into no text; and everything else stays readable."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import pickle
import pprint
import threading
import traceback
import urllib.parse
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from unittest import mock

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import example, given
from hypothesis import strategies as st

from harness import secret
from harness.rig.rig import IssuedToken, Reply
from harness.secret import Secret, Secrets, carried, fingerprint, redact

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ3ZWIifQ.c2lnbmF0dXJlLW9mLW5vLXZhbHVl"

surroundings = st.text(max_size=30)
random_values = st.binary(min_size=16, max_size=32).map(lambda raw: hashlib.sha512(raw).hexdigest()[: 2 * len(raw)])
"""Values as random as real tokens are, so that no piece of one occurs in its surroundings by chance."""
any_values = st.text(min_size=6, max_size=60).filter(lambda value: "secret" not in value)
"""All but those that can form again beside a stand-in, which begins with that word."""


@contextmanager
def nothing_known() -> Iterator[None]:
    """Forget all secrets inside, so that one example's values do not stand in another's text."""
    with mock.patch.object(secret, "_of_no_run", Secrets()), Secrets().open():
        yield


def private_key() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key.private_bytes(*form).decode()


def in_json(value: str) -> str:
    return json.dumps(value)[1:-1]


def in_utf8_json(value: str) -> str:
    return msgspec.json.encode(value).decode()[1:-1]


def in_query(value: str) -> str:
    return urllib.parse.urlencode({"": value})[1:]


DISGUISES = [str, in_json, in_utf8_json, urllib.parse.quote, urllib.parse.quote_plus, in_query]


@pytest.mark.parametrize("disguise", DISGUISES)
@given(value=any_values, before=surroundings, after=surroundings)
@example(value='an unseal/key+="ü"\x01', before="", after="")
def test_a_known_secret_is_found_whatever_surrounds_it(
    disguise: Callable[[str], str], value: str, before: str, after: str
) -> None:
    """Plain, in JSON with or without escapes beyond ASCII, in a URL's path and in its query."""
    with nothing_known():
        Secret(value)
        assert disguise(value) not in redact(before + disguise(value) + after)


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@given(value=random_values, before=st.binary(max_size=7), after=st.binary(max_size=7))
def test_base64_hides_no_secret_at_any_alignment(
    encode: Callable[[bytes], bytes], value: str, before: bytes, after: bytes
) -> None:
    """Of the characters that depend on the secret alone, no eight in a row survive."""
    with nothing_known():
        Secret(value)
        text = encode(before + value.encode() + after).decode()
        first, last = -(-len(before) * 8 // 6), (len(before) + len(value)) * 8 // 6
        shown = redact(text)
        assert not [at for at in range(first, last - 7) if text[at : at + 8] in shown]


@given(values=st.lists(random_values, min_size=2, max_size=5, unique=True), data=st.data())
def test_of_several_secrets_in_one_text_none_survives(values: list[str], data: st.DataObject) -> None:
    """Nor any piece of one: also where a secret is a part of another, or two stand side by side."""
    with nothing_known():
        values.append(values[0][:10])
        for value in data.draw(st.permutations(values)):
            Secret(value)
        shown = redact("".join(data.draw(st.permutations(values))))
        pieces = {value[at : at + 8] for value in values for at in range(len(value) - 7)}
        assert not [piece for piece in pieces if piece in shown]


@given(value=random_values, before=surroundings, after=surroundings)
def test_redacting_twice_changes_nothing_more(value: str, before: str, after: str) -> None:
    with nothing_known():
        Secret(value)
        once = redact(f"{before}{value} {JWT}{after}")
        assert redact(once) == once


def test_a_private_key_is_found_line_by_line() -> None:
    """A log that breaks a key into lines, or drops its first, shows nothing of it."""
    pem = private_key()
    Secret(pem)
    body = [line for line in pem.splitlines() if "-----" not in line]
    assert len(body) == 3
    for line in body:
        assert redact(f'msg="{line}" level=debug') == f'msg="{fingerprint(pem)}" level=debug'


def test_the_same_secret_is_recognised_and_two_are_told_apart() -> None:
    """A stand-in joins lines of one run: that is what it is for."""
    one, other = "t0ken-of-one-a8f3", "t0ken-of-another-77c1"
    Secret(one)
    Secret(other)
    assert redact(f"{one} {other} {one}") == f"{fingerprint(one)} {fingerprint(other)} {fingerprint(one)}"
    assert fingerprint(one) != fingerprint(other)


def test_a_value_too_short_to_be_a_secret_blanks_out_no_words() -> None:
    with nothing_known():
        Secret("apps")
        Secret("")
        assert redact("the apps cluster") == "the apps cluster"


SHAPES = [
    JWT,
    "hvs.CAESIJlWh1F2uQ4fFh3mHn0",
    "hvb.AAAAAQJ0_p-1x3Zk2uYb9fGhTq",
    "hvr.CAESIJlWh1F2uQ4fFh3mHn0",
    "s.Ga5jyNq6kNfRMVQk2LY1j9iu",
    "b.Ga5jyNq6kNfRMVQk2LY1j9iu",
    "-----BEGIN PRIVATE KEY-----\nMIGHAgEA\n-----END PRIVATE KEY-----",
    "-----BEGIN RSA PRIVATE KEY-----\\nMIIEow\\n-----END RSA PRIVATE KEY-----",
    "-----BEGIN EC PRIVATE KEY-----MHcCAQEE-----END EC PRIVATE KEY-----",
]


@pytest.mark.parametrize("shaped", SHAPES)
@pytest.mark.parametrize("around", ["{}", '{{"jwt":"{}"}}', "Bearer {}, refused", "token={}&x=1", "({})\n"])
def test_what_has_the_shape_of_a_secret_is_replaced_though_nobody_named_it(shaped: str, around: str) -> None:
    """Nothing of it is left, and nothing of what surrounds it is lost."""
    with nothing_known():
        assert redact(around.format(shaped)) == around.format(fingerprint(shaped))


def test_a_private_key_that_was_cut_off_is_replaced_to_the_end() -> None:
    with nothing_known():
        shown = redact("key: -----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEG\nCCqGSM49AwEH")
    assert shown.startswith("key: secret:")
    assert "MIG" not in shown
    assert "CCq" not in shown


ORDINARY = [
    "",
    "permission denied",
    "system:serviceaccount:apps:web",
    "https://kubernetes.default.svc.cluster.local",
    "sha256:9f86d081884c7d65 (1123 characters)",
    "4c0b5c1c-8f3e-4a55-9d5f-7a1c2b3d4e5f",
    "auth_kubernetes_1a2b3c4d",
    "hvs. and 91 characters",
    "services.apps.svc",
    "pods.abcdefghijklmnopqrstuvwx is no token, and neither is s.abc",
    "eyJ is how a JWT begins, with eyJhbGciOiJSUzI1NiJ9 alone nobody logs in",
    "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUPZ\n-----END CERTIFICATE-----",
    "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----",
]


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_is_left_alone(text: str) -> None:
    with nothing_known():
        Secret("a-secret-that-stands-nowhere-else")
        assert redact(text) == text


@given(text=st.text(alphabet=st.characters(exclude_characters=".-"), max_size=200))
def test_text_without_a_secret_is_left_alone(text: str) -> None:
    """Every shape needs a dot or a dash: without one there is nothing to take away."""
    with nothing_known():
        Secret("a-secret-that-stands-nowhere-else")
        assert redact(text) == text


VALUE = "kept-to-itself-5f2e81"
OTHER = "of-another-run-c07d44"

WAYS_OUT: list[Callable[[Secret], object]] = [
    repr,
    str,
    lambda s: f"{s}",
    lambda s: f"{s!r:>60}",
    lambda s: f"{s:*^60}",
    lambda s: "{0} {0!s} {1[0]}".format(s, [s]),  # noqa: UP032 - str.format has a path of its own
    lambda s: "%s and %r" % (s, s),  # noqa: UP031 - and so has the old operator
    lambda s: repr({"a": [s], "b": (s,)}),
    lambda s: pprint.pformat({s: s}),
    lambda s: str(RuntimeError("no login with", s)),
    lambda s: "".join(traceback.format_exception(RuntimeError(s))),
    lambda s: repr(Reply(200, token=s)),
    lambda s: repr(IssuedToken(jwt=s, cluster="apps", subject="web", purpose="app:web")),
]


@pytest.mark.parametrize("way_out", WAYS_OUT)
def test_a_secret_prints_its_stand_in_and_never_itself(way_out: Callable[[Secret], object]) -> None:
    shown = str(way_out(Secret(VALUE)))
    assert VALUE not in shown
    assert fingerprint(VALUE) in shown


@pytest.mark.parametrize(
    "way_out",
    [
        json.dumps,
        msgspec.json.encode,
        lambda s: msgspec.json.encode(Reply(200, token=s)),
        copy.copy,
        copy.deepcopy,
        vars,
        *(lambda s, p=protocol: pickle.dumps(s, p) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)),
    ],
)
def test_a_secret_is_neither_encoded_nor_pickled_nor_copied(way_out: Callable[[Secret], object]) -> None:
    """Whoever tries finds out at once, and the error does not give the value away."""
    with pytest.raises(TypeError) as refused:
        way_out(Secret(VALUE))
    assert VALUE not in str(refused.value)


def test_secrets_are_equal_by_value_and_equal_to_nothing_else() -> None:
    """They can be looked up, and comparing one with a string gives nothing away."""
    assert Secret(VALUE) == Secret(VALUE) != Secret(VALUE + "x")
    assert len({Secret(VALUE), Secret(VALUE)}) == 1
    assert Secret(VALUE) != VALUE
    assert Secret(VALUE).reveal() == VALUE


@pytest.mark.parametrize("prefix", ["hvs.", "s."])
def test_a_token_right_behind_an_escape_is_found_by_its_shape(prefix: str) -> None:
    """Vault 1.11 quotes the inside of a token whose seal it does not know, as it does after a snapshot was restored."""
    inside = f"{prefix}bxrwmleMF8ZDClTWjvnv9L2x"
    said = rf'token mac for token_version:1 hmac:"\x9a" token:"\n\x1c{inside}" is incorrect'
    assert inside not in secret.redact(said)
    assert inside not in secret.redact(json.dumps({"error": said}))


# --- whose it is ---


@pytest.fixture(name="alone")
def without_those_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what was met outside of any run."""
    monkeypatch.setattr(secret, "_of_no_run", Secrets())


@pytest.mark.usefixtures("alone")
def test_runs_side_by_side_do_not_share_their_secrets() -> None:
    """Each knows its own; a thread that works for neither knows both, so that nobody prints one by mistake."""
    one, other = Secrets(), Secrets()
    with one.open():
        Secret(VALUE)
    with other.open():
        Secret(OTHER)
        assert redact(f"{VALUE} {OTHER}") == f"{VALUE} {fingerprint(OTHER)}"
    assert redact(f"{VALUE} {OTHER}") == f"{fingerprint(VALUE)} {fingerprint(OTHER)}"


@pytest.mark.usefixtures("alone")
def test_a_run_within_another_keeps_the_secrets_of_both_out_of_its_texts() -> None:
    """As one does that rehearses on clusters which were brought up before it; the other knows nothing of it."""
    outer, inner = Secrets(), Secrets()
    with outer.open():
        Secret(VALUE)
        with inner.open():
            Secret(OTHER)
            assert redact(f"{VALUE} {OTHER}") == f"{fingerprint(VALUE)} {fingerprint(OTHER)}"
        assert redact(f"{VALUE} {OTHER}") == f"{fingerprint(VALUE)} {OTHER}"


@pytest.mark.usefixtures("alone")
def test_a_part_of_another_runs_secret_leaves_no_piece_of_the_whole() -> None:
    """The longest goes first, whoever knows it."""
    outer, inner = Secrets(), Secrets()
    with outer.open():
        Secret(VALUE)
        with inner.open():
            Secret(VALUE[:10])
            assert redact(VALUE) == fingerprint(VALUE)


@pytest.mark.usefixtures("alone")
def test_whoever_reveals_a_secret_of_another_run_knows_it_from_then_on() -> None:
    """Two rehearsals may share a cluster, and with it the token of its administrator."""
    with Secrets().open():
        shared = Secret(VALUE)
    with Secrets().open():
        assert redact(VALUE) == VALUE
        shared.reveal()
        assert redact(VALUE) == fingerprint(VALUE)


@pytest.mark.usefixtures("alone")
def test_nothing_is_left_of_a_run_that_has_ended() -> None:
    run = Secrets()
    with run.open():
        Secret(VALUE)
        run.forget()
        assert (run.forms, redact(VALUE)) == ((), VALUE)


@pytest.mark.usefixtures("alone")
def test_of_runs_that_are_looked_for_together_each_that_ends_or_learns_more_counts_at_once() -> None:
    """What several runs know together is put together once, and again as soon as one of them has changed."""
    outer, inner = Secrets(), Secrets()
    with outer.open():
        Secret(VALUE)
        with inner.open():
            Secret(OTHER)
            assert redact(f"{VALUE} {OTHER}") == f"{fingerprint(VALUE)} {fingerprint(OTHER)}"
            Secret(OTHER + "-longer")
            assert redact(f"{VALUE} {OTHER}-longer") == f"{fingerprint(VALUE)} {fingerprint(OTHER + '-longer')}"
            inner.forget()
            assert (outer._merged, inner._merged) == (None, None), "nothing of it is left with the other one"
            assert redact(f"{VALUE} {OTHER}") == f"{fingerprint(VALUE)} {OTHER}"


@pytest.mark.usefixtures("alone")
def test_a_thread_of_a_run_works_for_it() -> None:
    """What it meets and what it writes is the run's; one that was never told whose it is belongs to no run."""
    run, met = Secrets(), list[str]()

    def meet(value: str) -> None:
        Secret(value)
        met.append(redact(f"{value} {VALUE}"))

    with run.open():
        Secret(VALUE)
        for act in (carried(meet), meet):
            thread = threading.Thread(target=act, args=(OTHER + str(len(met)),))
            thread.start()
            thread.join()
        assert met == [f"{fingerprint(OTHER + str(number))} {fingerprint(VALUE)}" for number in range(2)]
        assert OTHER + "0" in dict(run.forms)
        assert OTHER + "1" not in dict(run.forms)
        assert redact(OTHER + "1") == fingerprint(OTHER + "1"), "and so everybody keeps it out of texts"


@pytest.mark.usefixtures("alone")
def test_threads_may_share_a_run() -> None:
    """Nothing that one of them adds is lost, whatever the others look for meanwhile."""
    run = Secrets()
    values = [f"{OTHER}-{number:04d}" for number in range(200)]

    def meet(value: str) -> str:
        return redact(Secret(value).reveal())

    with run.open(), ThreadPoolExecutor(max_workers=8) as pool:
        list(pool.map(carried(meet), values))
    assert {value for value in values if value not in dict(run.forms)} == set()
    assert [len(form) for form, _ in run.forms] == sorted((len(form) for form, _ in run.forms), reverse=True)


@pytest.mark.usefixtures("alone")
def test_the_secrets_of_a_run_stay_in_this_process() -> None:
    """An exception may carry them along; what arrives knows nothing."""
    run = Secrets()
    with run.open():
        Secret(VALUE)
    assert VALUE.encode() not in pickle.dumps(run)
    assert pickle.loads(pickle.dumps(run)).forms == ()
