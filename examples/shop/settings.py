"""What the environment says."""

import os
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Settings:
    origin: str = field(default_factory=lambda: os.environ.get("SHOP_ORIGIN", "https://shop.example"))
    webhook_secret: str = field(default_factory=lambda: os.environ.get("SHOP_WEBHOOK_SECRET", "for development"))
