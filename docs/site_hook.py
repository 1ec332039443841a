"""What the site has beside the pages in docs/: the README as its first page, a page for each cause, the scenarios.

A hook of mkdocs. The page of a cause is written out of its rule, of the tables of what is known, and of the record of a
real run: nothing in it is said twice.
"""

from __future__ import annotations

import gzip
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from harness.analysis import explaining, verdict
from harness.analysis.diagnosis import Finding
from harness.analysis.rules import RULES
from harness.record import journal
from harness.reports import cause_page

ROOT = Path(__file__).resolve().parent.parent
_ELSEWHERE = re.compile(r"""<(script|img|iframe|link(?=[^>]*stylesheet))[^>]*\s(src|href)=["']?(https?:)?//""")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made here."""
    for place, text in _pages():
        files.append(File.generated(config, place, content=text))
    for scenario in sorted((ROOT / "scenarios").glob("*.yaml")):
        files.append(File.generated(config, f"scenarios/{scenario.name}", abs_src_path=str(scenario)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Let links out of docs/ lead to what the site has of it."""
    text = markdown.replace("](../README.md", "](index.md")
    return re.sub(r"\]\((?:\.\./)+scenarios/", "](scenarios/", text)


def on_post_build(config: MkDocsConfig) -> None:
    """Refuse a site whose pages load a script, a style or a picture from elsewhere: it opens from disk."""
    asks = re.compile(
        r"<(?:script|img|iframe)[^>]*\ssrc=[\"']?(?:https?:)?//|<link[^>]*rel=[\"']?stylesheet[^>]*href=[\"']?(?:https?:)?//"
    )
    found = [
        page.name for page in Path(config.site_dir).rglob("*.html") if asks.search(page.read_text(encoding="utf-8"))
    ]
    if found:
        message = f"these pages load something from elsewhere: {', '.join(sorted(found))}"
        raise PluginError(message)


def _pages() -> Iterator[tuple[str, str]]:
    """Yield the place and the text of every page."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    yield "index.md", re.sub(r"\]\(docs/", "](", readme)
    seen, shown = _findings(), _scenarios()
    rows = []
    for rule in sorted(RULES, key=lambda rule: rule.name):
        found = explaining.explain(rule.name)
        if found is None:
            message = f"nothing is known of the cause {rule.name}"
            raise LookupError(message)
        yield f"causes/{rule.name}.md", cause_page.render(found, seen.get(rule.name), shown[rule.name])
        rows.append(f"| [{rule.name}]({rule.name}.md) | {rule.explanation} | {rule.versions} |")
    head = "# Causes\n\nWhat a finding may name: how to look for it by hand, what a real run saw, and what mends it.\n"
    yield "causes/index.md", "\n".join([head, "| cause | what | versions |", "| --- | --- | --- |", *rows]) + "\n"


def _findings() -> dict[str, Finding]:
    """Return what a real run found, by cause: the first, in the order of the records' names, that has a remedy."""
    found: dict[str, Finding] = {}
    with tempfile.TemporaryDirectory() as directory:
        for record in sorted((ROOT / "tests" / "records").rglob("*.jsonl*")):
            if record.suffix == ".gz":
                unpacked = Path(directory) / record.stem
                unpacked.write_bytes(gzip.decompress(record.read_bytes()))
            else:
                unpacked = record
            for finding in verdict.judge(journal.load(unpacked)).findings:
                if finding.remedies:
                    found.setdefault(finding.rule, finding)
    return found


def _scenarios() -> dict[str, list[str]]:
    """Return the names of the shipped scenarios whose `expect` names a cause, by cause."""
    found: dict[str, list[str]] = defaultdict(list)
    for file in sorted((ROOT / "scenarios").glob("*.yaml")):
        for one in yaml.safe_load(file.read_text(encoding="utf-8")).get("expect", ()):
            if one.get("cause") and file.stem not in found[one["cause"]]:
                found[one["cause"]].append(file.stem)
    return found
