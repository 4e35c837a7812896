"""A folder of files: index pages, compressed forms, and no way out."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import brotli
import pytest
import zstandard

from tests.http.walls import Counting
from tiny_listener.core.runtime import Host
from tiny_listener.http import Compress, HTTPListener
from tiny_listener.http.testing import TestClient

SCRIPT = b"let a = 1; " * 50


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "public"
    (folder / "docs" / "a b").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "index.html").write_text("<p>home")
    (folder / "docs" / "index.html").write_text("<p>docs")
    (folder / "docs" / "a b" / "index.html").write_text("<p>a b")
    (folder / "app.js").write_bytes(SCRIPT)
    (folder / "app.js.gz").write_bytes(gzip.compress(SCRIPT))
    (folder / "app.js.br").write_bytes(brotli.compress(SCRIPT))
    (folder / "app.js.zst").write_bytes(zstandard.compress(SCRIPT))
    (folder / "some.css").write_bytes(b"p {}" * 200)
    (folder / "some.css.gz").write_bytes(gzip.compress(b"p {}" * 200))
    (folder / "unknown.ext1").write_text("x")
    (folder / "only.js.gz").write_bytes(gzip.compress(SCRIPT))
    (folder / "f\xfc%.txt").write_text("umlaut")
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "out").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe")
    return folder


def client(folder: Path, prefix: str = "/assets", **options: Any) -> TestClient:
    app = HTTPListener()
    app.static(prefix, folder, **options)
    return TestClient(app)


@pytest.mark.parametrize("prefix", ["/assets", "/assets/", "/", "/a/b c"])
def test_files_below_a_prefix(folder: Path, prefix: str) -> None:
    ours, base = client(folder, prefix), prefix.rstrip("/")
    for path, kind, text in (
        ("", "text/html; charset=utf-8", "<p>home"),
        ("index.html", "text/html; charset=utf-8", "<p>home"),
        ("docs/", "text/html; charset=utf-8", "<p>docs"),
        ("docs/a%20b/", "text/html; charset=utf-8", "<p>a b"),
        ("docs%2Findex.html", "text/html; charset=utf-8", "<p>docs"),
        ("app.js", "text/javascript; charset=utf-8", SCRIPT.decode()),
        ("unknown.ext1", "application/octet-stream", "x"),
        ("f%C3%BC%25.txt", "text/plain; charset=utf-8", "umlaut"),
    ):
        response = ours.get(f"{base}/{path}")
        assert (response.status_code, response.headers["content-type"], response.text) == (200, kind, text)
        head = ours.head(f"{base}/{path}")
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == response.headers["content-length"]
        assert head.headers["etag"] == response.headers["etag"]


@pytest.mark.parametrize(
    "path",
    [
        "nothing", "nothing/", "empty", "empty/", "app.js/", "index.html/", "../secret.txt", "..%2Fsecret.txt",
        "%2e%2e/secret.txt", "docs/../../secret.txt", "link.txt", "out/secret.txt", "out", "/etc/passwd",
        "%2Fetc%2Fpasswd", "pipe", "app.js%00", "only.js", "docs/..", "..", "x" * 300, "docs//index.html/x", "%F0%9F",
    ],
)  # fmt: skip
@pytest.mark.parametrize("accept", ["", "gzip, br"])
def test_what_is_not_in_the_folder(folder: Path, path: str, accept: str) -> None:
    response = client(folder).get(f"/assets/{path}", headers={"accept-encoding": accept})
    assert response.status_code in (400, 404)
    assert "secret" not in response.text
    assert response.status_code == 404 or path == "%F0%9F"


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("/assets/docs", "./docs/"),
        ("/assets/docs?a=b&c", "./docs/?a=b&c"),
        ("/assets/docs/a%20b", "./a%20b/"),
    ],
)
def test_a_folder_without_its_slash(folder: Path, target: str, location: str) -> None:
    response = client(folder).get(target)
    assert (response.status_code, response.headers["location"]) == (308, location)


def test_a_redirect_keeps_a_slash_within_a_name(folder: Path) -> None:
    (folder / "x" / "y").mkdir(parents=True)
    (folder / "x" / "y" / "index.html").write_text("x")
    ours = client(folder, "/")
    assert ours.get("/x%2fy").headers["location"] == "./x%2fy/"
    assert ours.get("/x%2fy/").text == "x"


def test_a_redirect_leads_to_no_other_host(folder: Path) -> None:
    (folder / "x:y").mkdir()
    (folder / "x:y" / "index.html").write_text("x")
    ours = client(folder, "/")
    assert ours.get("/x:y").headers["location"] == "./x%3Ay/"
    for target in ("//docs", "/%2Fdocs", "/%5Cdocs"):
        assert ours.get(target).status_code == 404


def test_folders_without_an_index(folder: Path) -> None:
    ours = client(folder, index=None)
    assert [ours.get(f"/assets/{path}").status_code for path in ("", "docs", "docs/", "docs/index.html")] == [
        404,
        404,
        404,
        200,
    ]
    assert client(folder, index="app.js").get("/assets/").content == SCRIPT


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        ("", None),
        ("identity", None),
        ("gzip", "gzip"),
        ("br", "br"),
        ("zstd", "zstd"),
        ("gzip, zstd, br", "br"),
        ("gzip;q=1, br;q=0.5", "gzip"),
        ("br;q=0, *", "zstd"),
        ("deflate", None),
    ],
)
def test_compressed_forms(folder: Path, accept: str, coding: str | None) -> None:
    decode: dict[str | None, Any] = {
        None: bytes,
        "gzip": gzip.decompress,
        "br": brotli.decompress,
        "zstd": zstandard.decompress,
    }
    ours = client(folder)
    fields = {"accept-encoding": accept}
    response = ours.get("/assets/app.js", headers=fields)
    headers = response.headers
    assert (headers.get("content-encoding"), headers["vary"]) == (coding, "Accept-Encoding")
    assert headers["content-type"] == "text/javascript; charset=utf-8"
    assert decode[coding](response.content) == SCRIPT
    assert int(headers["content-length"]) == len(response.content)
    plain = ours.get("/assets/app.js").headers["etag"]
    assert (headers["etag"] == plain) == (coding is None)
    again = ours.get("/assets/app.js", headers={**fields, "if-none-match": headers["etag"]})
    assert (again.status_code, again.headers["etag"], again.headers["vary"]) == (
        304,
        headers["etag"],
        "Accept-Encoding",
    )
    part = ours.get("/assets/app.js", headers={**fields, "range": "bytes=2-5", "if-range": headers["etag"]})
    assert (part.status_code, part.content) == (206, response.content[2:6])


def test_a_form_that_is_missing_is_passed_over_and_one_may_be_asked_for_itself(folder: Path) -> None:
    ours = client(folder)
    response = ours.get("/assets/some.css", headers={"accept-encoding": "br, gzip;q=0.1"})
    assert response.headers["content-encoding"] == "gzip"
    itself = ours.get("/assets/app.js.gz", headers={"accept-encoding": "br"})
    assert (itself.headers["content-type"], itself.headers.get("content-encoding")) == ("application/gzip", None)
    response = client(folder, precompressed=False).get("/assets/app.js", headers={"accept-encoding": "br"})
    assert ("content-encoding" in response.headers, "vary" in response.headers) == (False, False)


def test_compress_leaves_compressed_forms_as_they_are(folder: Path) -> None:
    app = HTTPListener()
    app.use(Compress())
    app.static("/", folder)
    ours = TestClient(app)
    response = ours.get("/some.css", headers={"accept-encoding": "gzip"})
    assert gzip.decompress(response.content) == b"p {}" * 200
    response = ours.get("/some.css", headers={"accept-encoding": "br"})
    assert brotli.decompress(response.content) == b"p {}" * 200
    assert response.headers["vary"] == "Accept-Encoding"


def test_cache_control_is_that_of_files_only(folder: Path) -> None:
    ours = client(folder, cache_control="public, max-age=60")
    for fields in ({}, {"range": "bytes=0-1"}, {"if-none-match": "*"}):
        assert ours.get("/assets/app.js", headers=fields).headers["cache-control"] == "public, max-age=60"
    assert "cache-control" not in ours.get("/assets/nothing").headers


def test_it_is_one_route_and_counted_as_such(folder: Path) -> None:
    observer: Any = Counting()
    app = HTTPListener()
    app.attach(Host(observer=observer))
    app.static("/assets", folder)
    app.static("/other", folder)
    assert [(route.name, route.path) for route in app.routes.values()] == [
        ("static /assets", "GET:/assets/{path:path}"),
        ("static /other", "GET:/other/{path:path}"),
    ]

    @app.get("/assets/own")
    async def own() -> str:
        return "own"

    ours = TestClient(app)
    assert ours.get("/assets/own").text == "own"
    assert [ours.request(method, "/assets/app.js").status_code for method in ("POST", "OPTIONS")] == [405, 204]
    assert ours.get("/assets").status_code == 404


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("assets", "."), {}, "the prefix 'assets' must begin with a slash: /assets"),
        (("/{a}", "."), {}, r"the prefix '/\{a\}' of static files cannot have parameters"),
        (("/", "missing"), {}, r"static\('/'\): .*missing is not a folder"),
        (("/", __file__), {}, "is not a folder"),
        (("/", "."), {"index": ""}, "index is the name of a file, such as \"index.html\", not ''"),
        (("/", "."), {"index": "a/b"}, "index is the name of a file"),
        (("/", "."), {"cache_control": "a\nb"}, "the value of the header 'cache-control' has a control character"),
    ],
)
def test_mistakes_at_registration(arguments: tuple[str, str], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HTTPListener().static(*arguments, **options)
