"""Find what is installed: entry points and manifests become cards and problems, and no plugin is imported."""

from ganzoo_core.discovery.catalog.lookup import Catalog
from ganzoo_core.discovery.catalog.scanning import GROUP, forget, leave_out, scan

__all__ = ["GROUP", "Catalog", "forget", "leave_out", "scan"]
