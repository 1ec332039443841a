"""Every valid file becomes a scenario that survives JSON, and every wrong one all its problems, each at its place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import Problem, ScenarioError
from harness.scenario import loading, schema, yaml_document

DATA = Path(__file__).parent / "data"
VALID = sorted(DATA.glob("valid-*.yaml"))
INVALID = sorted(DATA.glob("invalid-*.yaml"))
OUTAGE = (DATA / "valid-outage.yaml").read_text(encoding="utf-8")
EXPECTED = re.compile(r"# expect: (\d+):(\d+) (.+)")


def name_of(path: Path) -> str:
    return path.stem


def problems_of(text: str) -> tuple[Problem, ...]:
    with pytest.raises(ScenarioError) as caught:
        loading.loads(text)
    return caught.value.problems


def only(text: str) -> Problem:
    (problem,) = problems_of(text)
    return problem


def outage(*changes: tuple[str, str]) -> str:
    """The outage with some of its text replaced; each replaced text must be there."""
    text = OUTAGE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    return text


@pytest.fixture(params=["C", "Python"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyYAML's two parsers in turn: where there is no C library, the other one reads."""
    if request.param == "Python":
        monkeypatch.setattr(yaml_document, "_LOADER", yaml.SafeLoader)
    else:
        assert yaml_document._LOADER is yaml.CSafeLoader


class TestFiles:
    @pytest.mark.usefixtures("parser")
    @pytest.mark.parametrize("path", VALID, ids=name_of)
    def test_a_valid_file_becomes_a_scenario_named_after_it(self, path: Path) -> None:
        loaded = loading.load(path)
        assert (loaded.name, loaded.file, loaded.text) == (path.stem, str(path), path.read_text(encoding="utf-8"))

    @pytest.mark.parametrize("path", VALID, ids=name_of)
    def test_a_scenario_survives_json(self, path: Path) -> None:
        loaded = loading.load(path).scenario
        text = loaded.model_dump_json(by_alias=True)
        assert schema.Scenario.model_validate_json(text, by_alias=True, by_name=False) == loaded

    @pytest.mark.usefixtures("parser")
    @pytest.mark.parametrize("path", INVALID, ids=name_of)
    def test_a_wrong_file_has_the_problems_its_header_tells_in_that_order(self, path: Path) -> None:
        expected = [
            (int(line), int(column), words) for line, column, words in EXPECTED.findall(path.read_text("utf-8"))
        ]
        with pytest.raises(ScenarioError) as caught:
            loading.load(path)
        found = caught.value.problems
        assert [(p.line, p.column) for p in found] == [(line, column) for line, column, _ in expected]
        for problem, (_, _, words) in zip(found, expected, strict=True):
            assert words in problem.message

    @pytest.mark.parametrize("path", INVALID, ids=name_of)
    def test_every_problem_says_what_would_be_right_in_our_own_words(self, path: Path) -> None:
        with pytest.raises(ScenarioError) as caught:
            loading.load(path)
        for problem in caught.value.problems:
            assert problem.remedy
            assert problem.file == str(path)
        assert "should" not in str(caught.value)
        assert "pydantic" not in str(caught.value)

    def test_the_outage_is_read_as_it_was(self) -> None:
        read = loading.loads(OUTAGE).scenario
        assert (read.vault.source, read.vault.target, read.vault.cluster) == ("1.7.0", "1.11.0", "platform")
        assert read.auth["kubernetes"].configured == schema.Configured(by="1.4.0", with_token_file=True)
        assert read.apps["web"].reads == ("secret/web",)


class TestUnreadableFiles:
    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        assert "cannot be read: No such file" in self.message(tmp_path / "nothing.yaml")

    def test_a_directory(self, tmp_path: Path) -> None:
        assert "cannot be read: Is a directory" in self.message(tmp_path)

    def test_a_path_that_no_file_can_have(self, tmp_path: Path) -> None:
        assert "cannot be read: embedded null byte" in self.message(tmp_path / "a\0b")

    def test_a_symbolic_link_to_itself(self, tmp_path: Path) -> None:
        (tmp_path / "loop").symlink_to(tmp_path / "loop")
        assert "cannot be read: Too many levels" in self.message(tmp_path / "loop")

    def test_bytes_that_are_no_text_are_found_by_line_and_column(self, tmp_path: Path) -> None:
        path = tmp_path / "latin.yaml"
        path.write_bytes(b"schema: 1\nh\xc3\xb4te: caf\xe9\n")
        with pytest.raises(ScenarioError, match=r"latin\.yaml:2:10: the file is not UTF-8\n    found: byte 0xe9"):
            loading.load(path)

    def test_a_file_without_end_is_refused_for_its_size(self) -> None:
        assert "too large" in self.message(Path("/dev/zero"))

    def test_a_file_cut_within_a_character_is_refused_for_its_size(self, tmp_path: Path) -> None:
        path = tmp_path / "large.yaml"
        path.write_text("ü" * (yaml_document._LARGEST_FILE // 2 + 1), encoding="utf-8")
        assert "too large" in self.message(path)

    def test_a_file_name_cannot_colour_the_terminal(self, tmp_path: Path) -> None:
        assert "\x1b" not in self.message(tmp_path / "\x1b[31m.yaml")

    def message(self, path: Path) -> str:
        with pytest.raises(ScenarioError) as caught:
            loading.load(path)
        return str(caught.value)


class TestText:
    def test_windows_line_ends_and_a_byte_order_mark_are_read_past(self) -> None:
        loaded = loading.loads("\ufeff" + OUTAGE.replace("\n", "\r\n"))
        assert loaded.text == OUTAGE
        assert loaded.scenario == loading.loads(OUTAGE).scenario

    def test_lines_tell_where_each_value_is_named(self) -> None:
        rows = OUTAGE.splitlines()
        lines = loading.loads(OUTAGE).lines
        for trail, words in (
            (("vault", "target"), "  target: 1.11.0"),
            (("auth", "kubernetes"), "  kubernetes:"),
            (("auth", "kubernetes", "configured", "by"), "      by: 1.4.0"),
            (("expect", 0, "app"), "    app: web"),
        ):
            line, column = lines[trail]
            assert rows[line - 1] == words
            assert column == len(words) - len(words.lstrip()) + 1
        line, column = lines["apps", "web", "reads", 0]
        assert rows[line - 1][column - 1 :] == "secret/web]"

    def test_lines_cannot_be_changed(self) -> None:
        with pytest.raises(TypeError):
            loading.loads(OUTAGE).lines[()] = (1, 1)  # type: ignore[index]

    def test_only_true_and_false_are_truth_values(self) -> None:
        problem = only(outage(("may-review-tokens: true", "may-review-tokens: on")))
        assert (problem.offending, problem.remedy) == ("on", "true or false, without quotes")

    def test_a_number_where_a_word_belongs_is_to_be_quoted(self) -> None:
        problem = only(re.sub(r"description: \|\n(  .*\n)+", "description: 12\n", OUTAGE))
        assert problem.remedy.endswith('in quotes: "12"')

    def test_an_unquoted_version_of_two_numbers_keeps_its_last_zero(self) -> None:
        problem = only(outage(("target: 1.11.0", "target: 1.10")))
        assert problem.offending == "1.10"
        assert problem.remedy.startswith("1.10.0: a version has three numbers")

    @pytest.mark.parametrize("number", ["2", "0", "1.0", "true", '"1"', "[]", "~", "9" * 400, "1e999"])
    def test_any_other_schema_is_the_first_thing_said(self, number: str) -> None:
        message = "another schema: this release reads schema 1, and no other"
        assert only(outage(("schema: 1", f"schema: {number}"))).message == message
        first, *rest = problems_of(outage(("schema: 1", f"color: red\nschema: {number}")))
        assert (first.line, first.message) == (3, message)
        assert [problem.message for problem in rest] == ["unknown key `color` in the document"]

    def test_a_long_word_is_shown_shortened(self) -> None:
        problem = only(outage(("storage: raft", "storage: " + "x" * 5000)))
        assert len(problem.offending) < 100

    def test_a_text_too_long_is_not_read(self) -> None:
        assert "has 10001 characters" in only(outage(("storage: raft", "storage: " + "x" * 10_001))).message

    def test_a_key_too_long_is_not_read(self) -> None:
        assert "has 201 characters" in only(outage(("  storage: raft", "  " + "x" * 201 + ": raft"))).message

    @pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? ", "? [", "? - "])
    def test_depth_is_refused_before_it_costs_anything(self, opening: str) -> None:
        text = (opening * yaml_document._LARGEST_FILE)[: yaml_document._LARGEST_FILE]
        assert "levels deep" in problems_of(text)[-1].message

    def test_a_bomb_of_aliases_is_never_built(self) -> None:
        rows = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}]" for n in range(1, 60))]
        found = problems_of("\n".join(rows))
        assert sum("aliases are not read" in problem.message for problem in found) == 59 * 3

    def test_a_python_object_is_never_built(self, tmp_path: Path) -> None:
        mark = tmp_path / "mark"
        found = problems_of(outage(("storage: raft", f"storage: !!python/object/apply:os.mkdir [{mark}]")))
        assert [problem.message for problem in found] == ["tags are not read"]
        assert not mark.exists()


class TestWhatCanExist:
    """The borders of what is refused: what lies just on the right side is read."""

    @pytest.mark.parametrize(
        "changes",
        [
            pytest.param([("source: 1.7.0", "source: 1.11.0")], id="an upgrade to the same version"),
            pytest.param([("target:", "via: [1.7.0, 1.9.3]\n  target:")], id="a restart before the first hop"),
            pytest.param([("by: 1.4.0", "by: 1.7.0")], id="a config written by the source"),
            pytest.param([("storage: raft", "storage: file"), ("by: 1.4.0", "by: 1.3.0")], id="an old config on file"),
            pytest.param([("storage: raft", "shares: 3")], id="as many keys needed as there are"),
            pytest.param([("storage: raft", "shares: 1\n  threshold: 1")], id="a single key"),
            pytest.param(
                [("    roles:", "    reviewer: local\n    roles:"), ("by: 1.4.0", "by: 1.5.0")],
                id="a local reviewer elsewhere, as soon as there is one",
            ),
            pytest.param(
                [("    roles:", "    reviewer: client-jwt\n    roles:"), ("by: 1.4.0", "by: 1.5.4")],
                id="client-jwt as soon as it can be chosen",
            ),
            pytest.param(
                [("    roles:", "    config: {kubernetes_ca_cert: omit}\n    roles:"), ("by: 1.4.0", "by: 1.5.0")],
                id="no CA as soon as Vault finds one itself",
            ),
            pytest.param(
                [
                    ("    roles:", "    config: {kubernetes_ca_cert: omit, disable_local_ca_jwt: true}\n    roles:"),
                    *(("source: 1.7.0", "source: 1.17.0"), ("target: 1.11.0", "target: 1.18.0")),
                    ("by: 1.4.0", "by: 1.17.0"),
                ],
                id="neither a CA nor the pod's own as soon as the host's roots will do",
            ),
            pytest.param(
                [
                    ("service-account: apps/web", "service-account: vault-reviewer/vault-reviewer"),
                    ("    roles:", "    reviewer: long-lived\n    roles:"),
                ],
                id="an app and a reviewer with one service account that may review tokens",
            ),
            pytest.param(
                [("service-account: apps/web", "service-account: vault/vault"), ("tokens: true", "tokens: false")],
                id="accounts of one name in two clusters",
            ),
            pytest.param(
                [("[web]\n        names", "[web]\n        ttl: 1h\n        max-ttl: 60m\n        names")], id="ttl"
            ),
            pytest.param([("1.32.0", "1.22.0")], id="the oldest Kubernetes"),
            pytest.param([("policies: [web]", "policies: [nobody-wrote-it]")], id="a policy nobody wrote"),
        ],
    )
    def test_it_is_read(self, changes: list[tuple[str, str]]) -> None:
        found = outage(*changes)
        found = found.replace("    at: 1.11.0\n", "")
        assert loading.loads(found).scenario.apps

    def test_a_reviewer_without_a_stated_writer_is_held_against_the_source(self) -> None:
        configured = "    configured:\n      by: 1.4.0\n      with-token-file: true\n"
        text = outage((configured, "    reviewer: client-jwt\n"))
        assert loading.loads(text).scenario.auth["kubernetes"].reviewer == "client-jwt"
        problem = only(text.replace("source: 1.7.0", "source: 1.5.3"))
        assert problem.message == "nobody could choose client-jwt with Vault 1.5.3"

    def test_nothing_is_concluded_from_a_section_that_is_wrong(self) -> None:
        messages = [
            problem.message for problem in problems_of(re.sub(r"clusters:\n(  .*\n)+", "clusters: 3\n", OUTAGE))
        ]
        assert messages == ["clusters is a number, and must be a mapping"]

    def test_a_step_that_takes_no_keys_is_said_to_take_an_empty_mapping(self) -> None:
        text = re.sub(r"  via:.*\n|  target:.*\n|expect:\n(  .*\n)+", "", OUTAGE) + "course: [{step-down: true}]\n"
        (problem,) = [one for one in problems_of(text) if "truth value" in one.message]
        assert (problem.message, problem.remedy) == (
            "course[0].step-down is a truth value, and must be a mapping",
            "{}",
        )

    def test_nothing_is_concluded_from_versions_that_are_wrong(self) -> None:
        messages = [problem.message for problem in problems_of(outage(("target: 1.11.0", "target: soon")))]
        assert messages == ["vault.target is not a version"]

    def test_nothing_is_concluded_from_an_item_of_a_list_that_is_wrong(self) -> None:
        text = (DATA / "valid-outside.yaml").read_text(encoding="utf-8")
        messages = [problem.message for problem in problems_of(text.replace("[team, more]", "[1, {a: b}]"))]
        assert all("policies" in message and "nobody wrote" not in message for message in messages)
        assert messages


def sane(error: ScenarioError) -> None:
    """Every problem has a place, and nothing in it reaches a terminal as a command."""
    assert error.problems
    assert all(problem.line >= 1 and problem.column >= 1 for problem in error.problems)
    assert all(character.isprintable() or character == "\n" for character in str(error))
    assert "Input should" not in str(error)


def read_anything(text: str) -> None:
    try:
        loading.loads(text)
    except ScenarioError as error:
        sane(error)


YAML_PIECES = st.sampled_from(
    [
        "- ", "? ", ": ", "[", "]", "{", "}", "&a ", "*a", "!!python/none ", "<<: ", "|\n", '"', "'", "#", "---\n",
        "...\n", "\t", "\n", "  ", "%YAML 1.2\n", "~", "null", "true", "1.10", "1", "9" * 30, "root", "platform", "\\e",
        "\x1b", "\u2028", "\ud800", "schema: 1\n", "[key]", "*", "via: [1.9.0, 1.8.0]\n", "cluster: apps\n",
        "config: {}\n",
    ]
)  # fmt: skip
ANYTHING = settings(max_examples=300)


class TestAnything:
    @ANYTHING
    @given(st.text() | st.lists(YAML_PIECES, max_size=30).map("".join))
    def test_any_text_is_read_or_has_problems(self, text: str) -> None:
        read_anything(text)

    @ANYTHING
    @given(st.data())
    def test_any_change_of_a_valid_text_is_read_or_has_problems(self, data: st.DataObject) -> None:
        text = data.draw(st.sampled_from(VALID)).read_text(encoding="utf-8")
        for _ in range(data.draw(st.integers(1, 4))):
            start = data.draw(st.integers(0, len(text)))
            stop = start + data.draw(st.integers(0, 30))
            text = text[:start] + data.draw(YAML_PIECES | st.text(max_size=5)) + text[stop:]
        read_anything(text)

    @ANYTHING
    @given(st.data())
    def test_any_exchange_of_values_is_read_or_has_problems(self, data: st.DataObject) -> None:
        rows = data.draw(st.sampled_from(VALID)).read_text(encoding="utf-8").splitlines()
        values = [row.partition(": ")[2] for row in rows if ": " in row]
        for _ in range(data.draw(st.integers(1, 4))):
            number = data.draw(st.integers(0, len(rows) - 1))
            key, colon, _ = rows[number].partition(":")
            value = data.draw(st.sampled_from([*values, "", "[]", "{}", "[1, {a: b}]", "true", "0", "-1", ".5"]))
            rows[number] = f"{key}{colon} {value}"
        read_anything("\n".join(rows))

    @ANYTHING
    @given(st.binary(max_size=200))
    def test_any_file_is_read_or_has_problems(self, tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
        path = tmp_path_factory.getbasetemp() / "any.yaml"
        path.write_bytes(raw)
        with pytest.raises(ScenarioError) as caught:
            loading.load(path)
        sane(caught.value)


def test_the_scenario_in_the_readme_loads() -> None:
    """What a reader copies from the README is a scenario."""
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL)
    assert blocks
    assert all(loading.loads(block).scenario.apps for block in blocks)
