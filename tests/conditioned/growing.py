"""The smallest networks that grow and take a picture: a layer for each resolution, of pixels alone."""

from __future__ import annotations

from typing import Any

import ganzoo_core as gz


@gz.hookimpl
def build_generator(spec: gz.Spec) -> Any:
    return (_make_torch if spec.framework == "torch" else _make_keras)(spec, spec.channels, draws=True)


@gz.hookimpl
def build_discriminator(spec: gz.Spec) -> Any:
    return (_make_torch if spec.framework == "torch" else _make_keras)(spec, 1, draws=False)


def _make_torch(spec: gz.Spec, outputs: int, *, draws: bool) -> Any:
    import torch
    from torch import nn

    planes = spec.conditions["source"][2] + (0 if draws else spec.channels)

    class Growing(nn.Module):
        """G: z [N,0] and a source -> images. D: images and a source -> scores of pixels."""

        def __init__(self) -> None:
            super().__init__()
            self.layers, self.resolution = nn.ModuleList([nn.Conv2d(planes, outputs, 3, padding=1)]), 4

        def grow(self, resolution: int) -> None:
            while self.resolution < resolution:
                self.resolution *= 2
                self.layers.append(nn.Conv2d(planes, outputs, 3, padding=1))

        def forward(self, x: Any, *, source: Any, resolution: int, fade: Any) -> Any:
            assert resolution == source.shape[2] <= self.resolution  # a grown network is asked at earlier ones too
            assert draws or x.shape[2:] == source.shape[2:]
            seen = source if draws else torch.cat([x, source], dim=1)
            *settled, newest = self.layers[: resolution.bit_length() - 2]
            total = fade * newest(seen) + sum(layer(seen) for layer in settled)
            return torch.tanh(total) if draws else total

    return Growing()


def _make_keras(spec: gz.Spec, outputs: int, *, draws: bool) -> Any:
    import keras
    import tensorflow as tf

    class Growing(keras.Model):
        """The same."""

        def __init__(self) -> None:
            super().__init__()
            self.stages, self.resolution = [keras.layers.Conv2D(outputs, 3, padding="same")], 4
            self.built = True

        def grow(self, resolution: int) -> None:
            while self.resolution < resolution:
                self.resolution *= 2
                self.stages.append(keras.layers.Conv2D(outputs, 3, padding="same"))

        def call(self, x: Any, source: Any, resolution: int, fade: Any) -> Any:
            assert resolution == source.shape[1] <= self.resolution
            assert draws or tuple(x.shape[1:3]) == tuple(source.shape[1:3])
            seen = source if draws else tf.concat([x, source], axis=3)
            *settled, newest = self.stages[: resolution.bit_length() - 2]
            total = fade * newest(seen)
            for stage in settled:
                total = total + stage(seen)
            return tf.tanh(total) if draws else total

    return Growing()
