"""Write a plugin's whole distribution, as `ganzoo new` does, from the files in `templates/`.

A folder in `templates/` holds what is particular to one kind of part: `about.toml`, and files whose names end in
`.txt`, so that no tool takes them for what they are to become. `common/` is written for every kind, a file of
`licences/` as `LICENSE`. A folder called `package` gets the package's name, and `$word` is replaced as
`string.Template` does it.
"""

from ganzoo_core.scaffold.licences import LICENCES, find_default_author
from ganzoo_core.scaffold.names import check_name, to_package_name
from ganzoo_core.scaffold.writing import KINDS, PluginPlan, make_files, write_plugin

__all__ = [
    "KINDS",
    "LICENCES",
    "PluginPlan",
    "check_name",
    "find_default_author",
    "make_files",
    "to_package_name",
    "write_plugin",
]
