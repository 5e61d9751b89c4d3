"""Write a plugin's whole distribution, as `ganzoo new` does, from the files in `templates/`.

`templates/` has a folder for each kind of part, with `about.toml` and files whose names end in `.txt`, so that tools do
not take them for Python or TOML. The files of `common/` are written for every kind, one of `licences/` becomes
`LICENSE`. A folder `package` gets the package's name, and each `$word` is replaced, as in `string.Template`.
"""

from ganzoo_core.scaffold.licences import LICENCES, find_default_author
from ganzoo_core.scaffold.names import check_name, to_package_name
from ganzoo_core.scaffold.writing import KINDS, LIKES, PluginPlan, list_frameworks, make_files, write_plugin

__all__ = [
    "KINDS",
    "LICENCES",
    "LIKES",
    "PluginPlan",
    "check_name",
    "find_default_author",
    "list_frameworks",
    "make_files",
    "to_package_name",
    "write_plugin",
]
