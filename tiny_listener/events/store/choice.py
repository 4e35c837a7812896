"""Which store the settings ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..settings import EventSettings
from .ops import Store

if TYPE_CHECKING:
    from .folder import Folder

__all__ = ["open_store"]


def open_store(settings: EventSettings) -> tuple[Store, Folder | None]:
    """Open a store, and lock its folder if it has one.

    :raises CarrierError: it cannot be opened
    """
    if settings.folder is None:
        from .memory import MemoryStore  # noqa: PLC0415 - only one of the two is needed

        return MemoryStore(), None
    from .folder import open_folder  # noqa: PLC0415
    from .sqlite import SQLiteStore  # noqa: PLC0415

    folder = open_folder(settings.folder)
    try:
        store = SQLiteStore(settings.folder, sync=settings.sync, partitions=settings.limits.partitions)
    except BaseException:
        folder.close()
        raise
    return store, folder
