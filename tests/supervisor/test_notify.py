"""Which notifier an environment asks for."""

from __future__ import annotations

import pytest
from tiny_listener_supervisor.system.sd_notify import Notifier

from tiny_listener.errors import CannotLoad


@pytest.mark.parametrize(
    ("variables", "address", "watchdog"),
    [
        ({}, None, None),
        ({"WATCHDOG_USEC": "5000000"}, None, None),
        ({"NOTIFY_SOCKET": "/run/notify"}, "/run/notify", None),
        ({"NOTIFY_SOCKET": "@notify"}, "\0notify", None),
        ({"NOTIFY_SOCKET": "@notify", "WATCHDOG_USEC": "5000000"}, "\0notify", 5.0),
        ({"NOTIFY_SOCKET": "@notify", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "7"}, "\0notify", 1e-6),
        ({"NOTIFY_SOCKET": "@notify", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "8"}, "\0notify", None),
    ],
)
def test_variables_are_taken(variables: dict[str, str], address: str | None, watchdog: float | None) -> None:
    environ = {"HOME": "/", **variables}
    notifier = Notifier.take(environ, 7, 6)
    assert (notifier._address, notifier._watchdog) == (address, watchdog)
    assert environ == {"HOME": "/"}


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"NOTIFY_SOCKET": "notify"}, "NOTIFY_SOCKET=notify is neither a path nor an abstract name"),
        ({"NOTIFY_SOCKET": "@"}, "NOTIFY_SOCKET=@ is neither"),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "0"}, "WATCHDOG_USEC=0 is not a number of microseconds; unset it"),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "5s"}, "WATCHDOG_USEC=5s is not a number"),
    ],
)
def test_variables_that_make_no_sense_are_refused(variables: dict[str, str], words: str) -> None:
    with pytest.raises(CannotLoad, match=words):
        Notifier.take(variables, 7, 6)


def test_a_process_that_process_1_started_does_not_say_its_number() -> None:
    assert Notifier.take({"NOTIFY_SOCKET": "@notify"}, 7, 6)._main == ("MAINPID=7",)
    assert Notifier.take({"NOTIFY_SOCKET": "@notify"}, 7, 1)._main == ()
