"""What the head of a response says of a file: exactly the fields that are meant, whatever the file's name is."""

from __future__ import annotations

import asyncio
import mimetypes
import os
from email.utils import formatdate
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.http.helpers import serving
from tiny_listener.http import FileResponse, HTTPListener
from tiny_listener.http.body.file_fields import MEDIA_TYPE, content_disposition, guess_content_type
from tiny_listener.http.testing import TestClient

TEXT = b"0123456789"
WHEN = 1_700_000_000
DATE = formatdate(WHEN, usegmt=True)
OTHER_DATE = formatdate(WHEN - 1, usegmt=True)

PIECES = [
    b".",
    b"..",
    b"data:",
    b"http:",
    b"//"[:0],
    b"text",
    b"html",
    b",",
    b";",
    b";base64,",
    b"?",
    b"#",
    b"\r\n",
    b"\n",
    b"X: yes",
    b"%0d%0a",
    b"\xff",
    b"\xc3\xbc",
    b".html",
    b".HTML",
    b".png",
    b".gz",
    b".tgz",
    b".tar.bz2",
    b".js",
    b" ",
    b'"',
    b"\\",
    b"\x7f",
    b"\x01",
]
names = (
    st.lists(st.sampled_from(PIECES) | st.binary(max_size=3), min_size=1, max_size=8)
    .map(lambda pieces: b"".join(pieces).replace(b"\0", b"").replace(b"/", b"")[:255])
    .filter(lambda name: name not in (b"", b".", b".."))
)


@given(names)
@example(b"data:text/html,x.png".replace(b"/", b""))
@example(b"data:a\r\nX-Injected: yes,z.png")
def test_a_name_makes_no_field(tmp_path: Path, name: bytes) -> None:
    path = tmp_path / os.fsdecode(name)
    path.write_bytes(TEXT)
    app = HTTPListener()

    @app.get("/")
    async def home() -> FileResponse:
        return FileResponse(os.fsdecode(name), root=tmp_path, filename=os.fsdecode(name))

    async def main() -> bytes:
        async with serving(app) as server:
            client = await server.connect()
            await client.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return await client.reader.read()

    head, _, body = asyncio.run(main()).partition(b"\r\n\r\n")
    status, *lines = head.decode("ascii").split("\r\n")
    fields = [line.partition(": ")[0] for line in lines]
    expected = {"date", "content-type", "content-length", "etag", "last-modified", "accept-ranges", "connection"}
    assert (status, sorted(fields), body) == (
        "HTTP/1.1 200 OK",
        sorted(expected | {"content-disposition"}),
        TEXT,
    )
    assert MEDIA_TYPE.match(dict(zip(fields, (line.partition(": ")[2] for line in lines), strict=True))["content-type"])
    path.unlink()


@given(names.map(os.fsdecode), st.sampled_from(["", "/", "data:text/html,/", "http://x/data:,/", "../", "x.html/"]))
def test_the_type_is_that_of_the_extension(name: str, folder: str) -> None:
    kind = guess_content_type(folder + name)
    assert kind is None or MEDIA_TYPE.match(kind)
    assert kind == guess_content_type("/somewhere/" + name)
    stem, _, extension = name.rpartition(".")
    plain = extension.isalnum() and extension.isascii() and stem.strip(".") != ""
    if plain and "." not in stem:
        kind_of_plain, encoding = mimetypes.guess_type(f"x.{extension}")
        assert encoding is not None or (kind or "").partition(";")[0] == (kind_of_plain or "")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("data:text/html,x.png", "image/png"),
        ("data:text/html;charset=x,y", None),
        ("data:,", None),
        ("http://host/a.html?b.png", "image/png"),
        ("a.html#b.png", "image/png"),
        ("a.HTML", "text/html; charset=utf-8"),
        (".html", None),
        ("..html", None),
        ("a.html/b", None),
        ("a.html.", None),
        ("a.tar.gz", "application/gzip"),
        ("a.tgz", "application/gzip"),
        ("a.svgz", "application/gzip"),
        ("a.html.bz2", None),
        ("a.html\n", None),
        ("a", None),
        ("", None),
    ],
)
def test_types_of_names(path: str, kind: str | None) -> None:
    assert guess_content_type(path) == kind


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        ("text/markdown", "text/markdown; charset=utf-8"),
        ("text/x; charset=latin-1", "text/x; charset=latin-1"),
        ('a/b; c="d;\\""', 'a/b; c="d;\\""'),
        ("text", None),
        ("text/", None),
        ("text/x y", None),
        ("text/x\r\nSet-Cookie: a=b", None),
        ("text/x; charset", None),
        ("text/ü", None),
        ("text/x\n", None),
        ("", None),
    ],
)
def test_tables_of_others_are_not_trusted(monkeypatch: pytest.MonkeyPatch, kind: str, sent: str | None) -> None:
    guess_content_type("a.txt")
    monkeypatch.setitem(mimetypes.types_map, ".mine", kind)
    assert guess_content_type("a.mine") == sent


surrogates = st.text(st.characters(min_codepoint=0xD800, max_codepoint=0xDFFF))


@given(st.text(max_size=20) | names.map(os.fsdecode) | surrogates)
def test_names_to_save_by_are_texts(name: str) -> None:
    value = content_disposition(name).decode("ascii")
    assert value.isprintable()
    quoted, _, encoded = value.removeprefix('attachment; filename="').partition('"')
    assert "\\" not in quoted
    if encoded:
        readable = "".join(c if not 0xD800 <= ord(c) < 0xE000 else "\ufffd" for c in name)
        found = unquote(encoded.removeprefix("; filename*=UTF-8''"), errors="strict")
        assert found == readable or "\ufffd" in readable
    else:
        assert quoted == name


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("ETag", '"mine"'),
        ("etag", 'W/"mine"'),
        ("ETag", "mine"),
        ("Content-Type", "text/x-mine"),
        ("CONTENT-TYPE", "text/x-mine"),
        ("Last-Modified", OTHER_DATE),
        ("last-modified", "once"),
        ("Accept-Ranges", "none"),
        ("Content-Disposition", "inline"),
        ("Cache-Control", "no-cache"),
    ],
)
@pytest.mark.parametrize("late", [False, True])
def test_fields_of_the_application_replace_the_servers(tmp_path: Path, field: str, value: str, late: bool) -> None:
    (tmp_path / "a.html").write_bytes(TEXT)
    app = HTTPListener()

    @app.get("/")
    async def home() -> FileResponse:
        if not late:
            return FileResponse(
                "a.html", root=tmp_path, content_type="text/x-other", filename="x", headers=[(field, value)]
            )
        response = FileResponse("a.html", root=tmp_path)
        response.headers.append((field.encode(), value.encode()))
        return response

    client = TestClient(app)
    for fields, status in (({}, 200), ({"if-none-match": "*"}, 304), ({"range": "bytes=0-1"}, 206)):
        response = client.get("/", headers=fields)
        assert response.status_code == (200 if value == "none" and status == 206 else status)
        if status != 304 or field.lower() != "content-type":
            assert response.headers.getlist(field) == [value]
        names = [name.lower() for name, _ in response.headers.raw]
        assert len(names) == len(set(names))


def test_conditions_are_about_the_validators_of_the_application(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(TEXT)
    os.utime(tmp_path / "a", (WHEN, WHEN))
    app = HTTPListener()
    own: dict[str, str] = {}

    @app.get("/")
    async def home() -> FileResponse:
        return FileResponse("a", root=tmp_path, headers=own)

    def status(**fields: str) -> int:
        return TestClient(app).get("/", headers={k.replace("_", "-"): v for k, v in fields.items()}).status_code

    own = {"ETag": '"mine"'}
    assert [status(if_none_match='"mine"'), status(if_none_match='W/"mine"')] == [304, 304]
    assert status(if_none_match='"x"') == 200
    assert [status(if_match='"mine"'), status(if_match='W/"mine"'), status(if_match='"x"')] == [200, 412, 412]
    assert [status(range="bytes=0-1", if_range='"mine"'), status(range="bytes=0-1", if_range='"x"')] == [206, 200]
    own = {"ETag": 'W/"mine"'}
    assert [status(if_none_match='"mine"'), status(if_none_match='W/"mine"')] == [304, 304]
    assert status(if_none_match='"x"') == 200
    assert [status(if_match='"mine"'), status(if_match='W/"mine"'), status(if_match="*")] == [412, 412, 200]
    assert status(range="bytes=0-1", if_range='W/"mine"') == 200
    own = {"ETag": "no tag"}
    assert [status(if_none_match='"no tag"'), status(if_match='"no tag"'), status()] == [200, 412, 200]
    own = {"Last-Modified": OTHER_DATE}
    assert [status(if_modified_since=OTHER_DATE), status(if_unmodified_since=OTHER_DATE)] == [304, 200]
    assert [status(range="bytes=0-1", if_range=OTHER_DATE), status(range="bytes=0-1", if_range=DATE)] == [206, 200]
    own = {"Last-Modified": "once"}
    assert [status(if_modified_since=DATE), status(if_unmodified_since=OTHER_DATE)] == [200, 200]
    assert status(range="bytes=0-1", if_range=DATE) == 200


def test_what_the_server_writes_itself() -> None:
    for name in ("Content-Range", "content-range", "Content-Length"):
        with pytest.raises(ValueError, match="the server writes the header"):
            FileResponse("a", headers={name: "bytes 0-1/2"})


def test_paths_of_bytes(tmp_path: Path) -> None:
    name = b"\xff.txt"
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(TEXT)
    app = HTTPListener()

    @app.get("/")
    async def home() -> FileResponse:
        return FileResponse(os.fsdecode(name), root=tmp_path, filename=os.fsdecode(name))

    response = TestClient(app).get("/")
    assert (response.content, response.headers["content-type"]) == (TEXT, "text/plain; charset=utf-8")
    assert response.headers["content-disposition"] == "attachment; filename=\"_.txt\"; filename*=UTF-8''%EF%BF%BD.txt"
