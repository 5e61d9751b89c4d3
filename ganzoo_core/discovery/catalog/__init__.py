"""Read entry points and manifests of installed plugins into cards and problems, without importing a plugin."""

from ganzoo_core.discovery.catalog.distributions import list_requirements
from ganzoo_core.discovery.catalog.lookup import Catalog
from ganzoo_core.discovery.catalog.scanning import ENTRY_POINT_GROUP, clear_cache, find_broken_metadata, leave_out, scan

__all__ = [
    "ENTRY_POINT_GROUP",
    "Catalog",
    "clear_cache",
    "find_broken_metadata",
    "leave_out",
    "list_requirements",
    "scan",
]
