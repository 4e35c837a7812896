"""The processes of tiny-listener: a supervisor that owns sockets, and its workers."""

from .admin import Admin
from .control import Control
from .identity import Identity, find_identity
from .init import leave_process_1
from .logfile import LogFile
from .notify import Notifier
from .pidfile import PidFile
from .policy import Limits
from .reloading import WatchPlan, distrust_bytecode
from .rights import Rights
from .settings import SupervisorSettings
from .single import Single
from .supervisor import Supervisor
from .worker import WorkerPlan

__all__ = [
    "Admin",
    "Control",
    "Identity",
    "Limits",
    "LogFile",
    "Notifier",
    "PidFile",
    "Rights",
    "Single",
    "Supervisor",
    "SupervisorSettings",
    "WatchPlan",
    "WorkerPlan",
    "distrust_bytecode",
    "find_identity",
    "leave_process_1",
]
