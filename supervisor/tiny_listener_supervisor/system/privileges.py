"""The user that workers run as when the supervisor is root: `--user` and `--group`.

The supervisor stays root, as those of nginx and gunicorn do. It binds the sockets, including ports below 1024 and those
that new code asks for at a reload, and reopens the log file. A worker becomes the user before it imports the
application, and cannot go back.
"""

from __future__ import annotations

import ctypes
import grp
import os
import pwd
import sys
from dataclasses import dataclass

from tiny_listener.errors import CannotLoad, WrongOptions

__all__ = ["Identity", "find_identity"]

PR_SET_DUMPABLE = 4


@dataclass(frozen=True, slots=True)
class Identity:
    """A user to become.

    :ivar name: for messages
    :ivar groups: all groups, as initgroups(3) determines them
    :ivar environment: HOME, LOGNAME and USER if the user is known; root's HOME would lead to a folder of root
    """

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    environment: tuple[tuple[str, str], ...] = ()

    @property
    def is_own(self) -> bool:
        """Whether this process has this user and group already."""
        return (os.geteuid(), os.getegid()) == (self.uid, self.gid)

    @property
    def owner(self) -> tuple[int, int]:
        """User and group for files that are to belong to them."""
        return self.uid, self.gid

    def assume(self) -> None:
        """Become the user, for good.

        The kernel clears PR_SET_PDEATHSIG at this (prctl(2)): set it again if you need it.

        :raises CannotLoad: the system refuses
        """
        if self.is_own and os.geteuid() != 0:
            return
        self.give_up_rights()
        os.environ.update(self.environment)
        if sys.platform == "linux":
            # Otherwise /proc/self would belong to root, and the application could not read it; nginx does this too.
            ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)

    def give_up_rights(self) -> None:
        """Take the rights of the user and no others, for good. Other processes of the user still cannot inspect this
        one.

        :raises CannotLoad: the system refuses
        """
        try:
            os.setgroups(self.groups)
            os.setresgid(self.gid, self.gid, self.gid)
            os.setresuid(self.uid, self.uid, self.uid)
        except OSError as exc:  # such as EAGAIN, for the user's limit of processes
            raise CannotLoad(f"cannot become {self.name}: {exc.strerror}") from None


def find_identity(user: str | None, group: str | None) -> Identity:
    """Look up a user and a group; each may be a name or a number.

    :param user: None: the current user, with another group
    :param group: None: the user's group
    :raises WrongOptions: the user or the group does not exist
    :raises CannotLoad: only root could become this user
    """
    entry = _find_user(user) if user is not None else None
    uid = entry.pw_uid if entry is not None else int(user) if user is not None else os.geteuid()
    if group is not None:
        gid = _find_group(group)
    elif entry is not None:
        gid = entry.pw_gid
    else:
        raise WrongOptions(f"user {user} has no passwd entry that names its group: add --group")
    groups = (gid,) if entry is None else tuple(os.getgrouplist(entry.pw_name, gid))
    environment: tuple[tuple[str, str], ...] = ()
    if entry is not None:
        environment = (("HOME", entry.pw_dir), ("LOGNAME", entry.pw_name), ("USER", entry.pw_name))
    name = f"user {user}" if user is not None else f"group {group}"
    identity = Identity(name, uid, gid, groups, environment)
    if os.geteuid() != 0 and not identity.is_own:
        raise CannotLoad(f"only root can become {name}: start as root, or omit --user and --group")
    return identity


def _find_user(user: str) -> pwd.struct_passwd | None:
    try:
        if user.isascii() and user.isdecimal():
            return pwd.getpwuid(int(user))
        return pwd.getpwnam(user)
    except (KeyError, OverflowError):
        if user.isascii() and user.isdecimal() and int(user) < 2**32 - 1:
            return None
        raise WrongOptions(f"there is no user {user!r} (--user)") from None


def _find_group(group: str) -> int:
    try:
        if group.isascii() and group.isdecimal() and int(group) < 2**32 - 1:
            return int(group)
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise WrongOptions(f"there is no group {group!r} (--group)") from None
