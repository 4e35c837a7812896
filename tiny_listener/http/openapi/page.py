"""A page that shows an OpenAPI document and sends requests. It loads nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from html import escape
from typing import Any

import msgspec

__all__ = ["HEADERS", "render"]

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
details { border: 1px solid #ccc; border-radius: 6px; margin: .5rem 0; padding: .3rem .8rem }
summary { cursor: pointer } code, pre, textarea { font: 13px/1.4 ui-monospace, monospace }
pre { background: #f4f4f4; padding: .6rem; overflow: auto; white-space: pre-wrap; border-radius: 4px }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; padding: .2rem .6rem .2rem 0 }
textarea { width: 100%; height: 7rem } .method { display: inline-block; min-width: 4.5rem; font-weight: 600 }
.deprecated { text-decoration: line-through } input { font: inherit }
"""

SCRIPT = """
for (const form of document.forms) form.addEventListener("submit", async event => {
  event.preventDefault();
  const output = form.querySelector("output");
  let path = form.dataset.path;
  const query = new URLSearchParams(), headers = {};
  for (const input of form.querySelectorAll("input")) {
    if (input.dataset.in === "path")
      path = path.replace("{" + input.name + "}", encodeURIComponent(input.value));
    else if (input.value !== "" && input.dataset.in === "query") query.append(input.name, input.value);
    else if (input.value !== "" && input.dataset.in === "header") headers[input.name] = input.value;
  }
  const area = form.querySelector("textarea");
  const options = { method: form.dataset.method, headers };
  if (area && area.value !== "") { options.body = area.value; headers["content-type"] = "application/json"; }
  const text = query.toString();
  try {
    const response = await fetch(path + (text ? "?" + text : ""), options);
    output.textContent = response.status + " " + response.statusText + "\\n" + await response.text();
  } catch (error) { output.textContent = String(error); }
});
"""


def _source(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


HEADERS = {
    "content-security-policy": (
        f"default-src 'none'; style-src {_source(STYLE)}; script-src {_source(SCRIPT)}; connect-src 'self'; "
        "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
}
"""The browser runs nothing but the script of this module, whatever the document says."""


def render(document: dict[str, Any]) -> str:
    """Return the page of a document, as HTML."""
    info = document["info"]
    title = escape(info["title"])
    about = f"<p>{escape(info['description'])}</p>" if "description" in info else ""
    operations = "".join(_operations(document))
    schemas = _json(document["components"]["schemas"])
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>'
        f"<h1>{title} <small>{escape(info['version'])}</small></h1>{about}{operations}"
        f"<details><summary>Schemas</summary><pre>{schemas}</pre></details><script>{SCRIPT}</script></body></html>"
    )


def _json(value: Any) -> str:
    return escape(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def _operations(document: dict[str, Any]) -> Iterator[str]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield _operation(path, method.upper(), operation)


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    kind = ' class="deprecated"' if operation.get("deprecated") else ""
    rows = "".join(map(_row, operation.get("parameters", ())))
    table = f"<table><tr><th>parameter</th><th>in</th><th>schema</th><th>value</th></tr>{rows}</table>" if rows else ""
    body = operation.get("requestBody")
    area = f"<p>Body</p><pre>{_json(body)}</pre><textarea></textarea>" if body else ""
    responses = _json(operation["responses"])
    return (
        f'<details><summary{kind}><span class="method">{method}</span> <code>{escape(path)}</code> '
        f"{escape(operation.get('summary', ''))}</summary><p>{escape(operation.get('description', ''))}</p>"
        f'<form data-method="{method}" data-path="{escape(path)}">{table}{area}<button>Send</button>'
        f"<pre><output></output></pre></form><p>Responses</p><pre>{responses}</pre></details>"
    )


def _row(parameter: dict[str, Any]) -> str:
    name, place = escape(parameter["name"]), escape(parameter["in"])
    needed = " required" if parameter["required"] else ""
    field = f'<input name="{name}" data-in="{place}"{needed}>' if place != "cookie" else ""
    schema = _json(parameter["schema"])
    return f"<tr><td><code>{name}</code></td><td>{place}</td><td><code>{schema}</code></td><td>{field}</td></tr>"
