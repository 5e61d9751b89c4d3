"""The same as in models.py for TensorFlow: functional models, whose inputs are named after what they take."""

from __future__ import annotations

from typing import Any

import ganzoo_core as gz


@gz.hookimpl
def build_generator(name: str, spec: gz.Spec, options: gz.Options) -> Any:
    import keras
    from keras import layers

    z = keras.Input((spec.latent_dim,), name="z")
    inputs, joined = _join(spec, options["width"], [z])
    x = layers.Conv2D(2 * options["width"], 3, padding="same")(joined)
    x = layers.Dropout(0.5 if name.startswith("painter") else 0.0)(layers.BatchNormalization()(x))
    x = layers.Conv2D(spec.channels, 3, padding="same", activation="tanh")(layers.ReLU()(x))
    return keras.Model([z, *inputs], x)


@gz.hookimpl
def build_discriminator(spec: gz.Spec, options: gz.Options) -> Any:
    import keras
    from keras import layers

    images = keras.Input((spec.height, spec.width, spec.channels), name="images")
    inputs, joined = _join(spec, options["width"], [])
    x = layers.Concatenate()([images, joined])
    x = layers.LeakyReLU(0.2)(layers.Conv2D(options["width"], 4, strides=4)(x))
    return keras.Model([*inputs, images], layers.Dense(1)(layers.Flatten()(x))[:, 0])


def _join(spec: gz.Spec, width: int, flat: list[Any]) -> tuple[list[Any], Any]:
    """Inputs for labels and conditions, and all of them as planes [N,H,W,planes]."""
    import keras
    from keras import layers, ops

    inputs, planes, numbers = [], [], [tensor for tensor in flat if tensor.shape[1]]
    if spec.classes:
        inputs.append(keras.Input((), dtype="int64", name="labels"))
        numbers.append(ops.cast(inputs[-1], "float32")[:, None])
    for name, shape in spec.conditions.items():
        inputs.append(keras.Input(shape, dtype="float32" if shape else "int64", name=name))
        if len(shape) == 3:
            planes.append(inputs[-1])
        else:
            numbers.append(ops.reshape(ops.cast(inputs[-1], "float32"), (-1, shape[0] if shape else 1)))
    if numbers:
        beside = layers.Dense(width)(layers.Concatenate()(numbers) if len(numbers) > 1 else numbers[0])
        beside = ops.tile(beside[:, None, None, :], (1, spec.height, spec.width, 1))
        planes.append(beside)
    return inputs, layers.Concatenate()(planes) if len(planes) > 1 else planes[0]
