"""What all pages have in common: only their own style and script count, and nothing is loaded from anywhere."""

from __future__ import annotations

import base64
import hashlib
import re

from harness.reports import matrix_html
from tests.test_matrix_html import HOSTILE, matrix


def digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def policy_of(text: str) -> dict[str, str]:
    """Return the content security policy of a page, by directive."""
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    named = (one.strip().partition(" ") for one in policy.split(";"))
    return {name: value.strip("'") for name, _, value in named}


def test_a_page_runs_its_own_script_and_no_other() -> None:
    """The policy names the one style and the one script by what they are: markup that came in could not run."""
    text = matrix_html.render(matrix(2, 2, HOSTILE))
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert policy_of(text) == {
        "default-src": "none",
        "style-src": digest(style),
        "script-src": digest(script),
        "base-uri": "none",
        "form-action": "none",
    }
    # styles and acts that stand on an element would have no effect under it
    assert not re.search(r"<[^>]+\s(style|on[a-z]+)=", text)
