"""The processes of tiny-listener: a supervisor that owns the sockets, and its workers."""

from .admin.endpoint import Admin
from .control.server import Control
from .policy import Limits
from .reload.reloader import WatchPlan, distrust_bytecode
from .settings import CarrierStart, SupervisorSettings
from .single import Single
from .supervisor import Supervisor
from .system.logfile import LogFile
from .system.pid1 import leave_process_1
from .system.pidfile import PidFile
from .system.privileges import Identity, find_identity
from .system.rights import Rights
from .system.sd_notify import Notifier
from .worker.process import WorkerPlan

__all__ = [
    "Admin",
    "CarrierStart",
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
