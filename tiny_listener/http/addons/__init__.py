"""What stands around the responses of an application: its hooks, and the addons that are built on them."""
