"""A hooks module whose hook has an argument that nobody fills."""

import ganzoo_core as gz


@gz.hookimpl
def loss(margin: float = 1.0) -> object:
    return margin
