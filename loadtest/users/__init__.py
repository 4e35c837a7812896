"""The users of the load tests, a module for each scenario. What they ask for is checked, not only counted."""

from .api import Browser, Program
from .churn import Newcomer
from .files import Uploader
from .misses import Lost
from .slow import Slow
from .streams import Reader
from .tcp import Talker
from .webhooks import Sender

__all__ = [
    "Browser",
    "Lost",
    "Newcomer",
    "Program",
    "Reader",
    "Sender",
    "Slow",
    "Talker",
    "Uploader",
]
