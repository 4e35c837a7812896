"""Who may become whom."""

from __future__ import annotations

import os
import pwd

import pytest
from tiny_listener_supervisor.system.privileges import find_identity

from tiny_listener.errors import CannotLoad

NOBODY = pwd.getpwnam("nobody")


def test_root_may_become_anybody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for user in ("nobody", str(NOBODY.pw_uid)):
        found = find_identity(user, None)
        assert found.owner == (NOBODY.pw_uid, NOBODY.pw_gid)
        assert found.groups == tuple(os.getgrouplist("nobody", NOBODY.pw_gid))
        assert ("HOME", NOBODY.pw_dir) in found.environment
    assert find_identity("54321", "54322").owner == (54321, 54322)
    assert find_identity(None, "54322").owner == (0, 54322)
    assert find_identity(None, "54322").groups == (54322,)


@pytest.mark.parametrize(
    ("user", "group", "words"),
    [
        ("nosuchuser", None, "there is no user 'nosuchuser' \\(--user\\)"),
        (str(2**32 - 1), "1", "there is no user '4294967295' \\(--user\\)"),
        (str(2**80), "1", "there is no user"),
        ("54321", None, "user 54321 has no passwd entry that names its group: add --group"),
        ("nobody", "nosuchgroup", "there is no group 'nosuchgroup' \\(--group\\)"),
        ("nobody", str(2**32 - 1), "there is no group '4294967295'"),
        ("", None, "there is no user ''"),
    ],
)
def test_who_is_not_there(user: str, group: str | None, words: str) -> None:
    with pytest.raises(CannotLoad, match=words):
        find_identity(user, group)


def test_who_is_not_root_can_only_stay_who_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY.pw_uid)
    monkeypatch.setattr(os, "getegid", lambda: NOBODY.pw_gid)
    own = find_identity("nobody", None)
    assert own.is_own
    before = os.getresuid()
    own.assume()
    assert os.getresuid() == before
    with pytest.raises(CannotLoad, match="only root can become user daemon: start as root, or omit --user and"):
        find_identity("daemon", None)
    with pytest.raises(CannotLoad, match="only root can become group 54322"):
        find_identity(None, "54322")
