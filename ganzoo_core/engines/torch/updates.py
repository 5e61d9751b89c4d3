"""One update of a network in PyTorch, from the gradients of its parameters."""

from __future__ import annotations

import torch

from ganzoo_core.engines.torch.optimizers import check_strides


def step_optimizer(
    optimizer: torch.optim.Optimizer, params: list[torch.Tensor], *, clip_norm: float = 0.0, check: bool = False
) -> None:
    """Clip the gradients, step the optimizer, and drop the gradients.

    Args:
        optimizer: of the parameters.
        params: parameters of one network; those without a gradient stay as they are.
        clip_norm: see `clip_gradients`.
        check: assert that gradients and moments have their parameter's strides.
    """
    if check:
        check_strides(params, {param: {"gradient": param.grad} for param in params})
    if clip_norm:
        clip_gradients(params, clip_norm)
    optimizer.step()
    if check:
        check_strides(params, optimizer.state)
    optimizer.zero_grad(set_to_none=True)


def clip_gradients(params: list[torch.Tensor], max_norm: float) -> None:
    """Multiply all gradients by min(1, max_norm / norm), where norm is that of all of them together.

    `torch.nn.utils.clip_grad_norm_` adds 1e-6 to the norm, which TensorFlow's `clip_by_global_norm` does not.
    """
    gradients = [param.grad for param in params if param.grad is not None]
    if not gradients:  # where the only term is lazy, and rests
        return
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    torch._foreach_mul_(gradients, (max_norm / norm).clamp(max=1.0))  # a norm of 0 gives infinity, so 1


def clip_weights(params: list[torch.Tensor], limit: float) -> None:
    """Clip weights to [-limit, limit]."""
    with torch.no_grad():
        torch._foreach_clamp_min_(params, -limit)
        torch._foreach_clamp_max_(params, limit)
