"""A page that opens from disk: one style, one way to escape what servers said, and nothing that is loaded.

Only the page's own style and its own script count, each known by its digest: markup that came in all the same could
neither run nor call out.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from importlib import resources
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from harness import secret
from harness.reports import printable

_HERE: Final = "harness.reports"


def fill(name: str, **values: Any) -> str:
    """Return the page of the template *name*, with the style and the script that all pages have and those of its own.

    Whatever is a `str` among *values*, or in them, is shown as it is: escaped, without secrets, and with what could
    steer a reader's eyes or terminal written out.
    """
    style, script = _own("page.css", f"{name}.css"), _own("page.js", f"{name}.js")
    made = {
        "style": style,
        "script": script,
        "style_digest": _digest(style),
        "script_digest": _digest(script),
    }
    return secret.redact(_environment().get_template(f"{name}.html.j2").render(page=made, **values))


def part(name: str, **values: Any) -> Markup:
    """Return a part of a page, which `fill` then takes as it is."""
    return Markup(_environment().get_template(f"{name}.html.j2").render(**values))  # noqa: S704


def data(value: dict[str, Any]) -> Markup:
    """Return *value* as JSON for a script element, which no text in it can end."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))  # noqa: S704


@functools.cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader(_HERE, "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # before it is escaped: a secret with a quote in it is another text afterwards
        finalize=lambda value: printable(secret.redact(value)) if type(value) is str else value,
    )


@functools.cache
def _own(*names: str) -> Markup:
    """Return the text of files of ours, one after the other; one that is not there is none."""
    files = (resources.files(_HERE) / name for name in names)
    return Markup("".join(file.read_text(encoding="utf-8") for file in files if file.is_file()))  # noqa: S704


def _digest(text: str) -> str:
    """Return by what a browser knows the text of a style or a script, as a content security policy has it."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
