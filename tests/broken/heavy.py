"""A hooks module that imports a framework at its top."""

import torch

import ganzoo_core as gz


@gz.hookimpl
def loss() -> object:
    return torch
