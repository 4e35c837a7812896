"""The processes of tiny-listener: a supervisor that owns sockets, and its workers."""

from .admin import Admin
from .init import leave_process_1
from .notify import Notifier
from .pidfile import PidFile
from .policy import Limits
from .reloading import WatchPlan, distrust_bytecode
from .settings import SupervisorSettings
from .single import Single
from .supervisor import Supervisor
from .worker import WorkerPlan

__all__ = [
    "Admin",
    "Limits",
    "Notifier",
    "PidFile",
    "Single",
    "Supervisor",
    "SupervisorSettings",
    "WatchPlan",
    "WorkerPlan",
    "distrust_bytecode",
    "leave_process_1",
]
