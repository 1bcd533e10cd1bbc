"""Label Studio and its kin: the standard as their configuration, their exports, their server."""
