"""Optional extensions. Nothing else depends on them."""
