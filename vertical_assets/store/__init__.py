"""The store: where results live, as immutable versions named by a digest of their content."""

from vertical_assets.store.versions import Directory, Staged, Table, store_root

__all__ = ["Directory", "Staged", "Table", "store_root"]
