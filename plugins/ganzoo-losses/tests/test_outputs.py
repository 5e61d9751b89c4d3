"""Losses that ask for more than scores: AC-GAN, and a feature-matching loss as a plugin's author would write it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import ganzoo_core as gz
from ganzoo_core.engines.numpy_ops import NumpyOps
from ganzoo_core.engines.torch.ops import TorchOps

OPS = {"numpy": (NumpyOps(np.random.default_rng(0)), np.asarray), "torch": (TorchOps("cpu"), torch.as_tensor)}
CLASSES = [[2.0, -1.0, 0.5], [0.0, 1.0, 3.0]]
FAKE_CLASSES = [[-1.0, 0.0, 1.0], [0.25, 0.5, -2.0]]
LABELS = [0, 1]


class Scripted:
    """Returns what was laid down for each image batch."""

    def __init__(self, **answers):
        self.answers = answers

    def outputs(self, images):
        return self.answers[images]


def sp(x):
    return math.log1p(math.exp(x))


def cross_entropy(rows):
    total = 0.0
    for row, label in zip(rows, LABELS, strict=True):
        total -= math.log(math.exp(row[label]) / sum(math.exp(value) for value in row))
    return total / len(rows)


@pytest.mark.parametrize("engine", OPS)
def test_auxiliary_classifier(engine, make_loss, fake_step):
    ops, tensor = OPS[engine]
    D = Scripted(
        real={"scores": tensor([1.0, -0.5]), "classes": tensor(CLASSES)},
        fake={"scores": tensor([0.25, -2.0]), "classes": tensor(FAKE_CLASSES)},
    )
    step = fake_step(D=D, ops=ops, real="real", fake="fake", labels=tensor(LABELS))
    loss = make_loss("auxiliary-classifier", class_weight=0.5)
    of_D, of_G = loss.discriminator(step), loss.generator(step)
    assert {name: pytest.approx(float(value), rel=1e-6) for name, value in of_D.items()} == {
        "adversarial": (sp(-1.0) + sp(0.5)) / 2 + (sp(0.25) + sp(-2.0)) / 2,
        "class_of_real": 0.5 * cross_entropy(CLASSES),
        "class_of_fake": 0.5 * cross_entropy(FAKE_CLASSES),
    }
    assert {name: pytest.approx(float(value), rel=1e-6) for name, value in of_G.items()} == {
        "adversarial": (sp(-0.25) + sp(2.0)) / 2,
        "class_of_fake": 0.5 * cross_entropy(FAKE_CLASSES),
    }


def test_auxiliary_classifier_says_what_is_missing(make_loss, fake_step):
    ops, loss = OPS["numpy"][0], make_loss("auxiliary-classifier")
    scores = np.zeros(2)
    without = fake_step(D=Scripted(fake={"scores": scores}), ops=ops, fake="fake", labels=np.array(LABELS))
    with pytest.raises(gz.UsageError, match=r"`classes` \[N,K\].*returns scores"):
        loss.generator(without)
    outputs = {"scores": scores, "classes": np.array(CLASSES)}
    with pytest.raises(gz.UsageError, match="needs labels"):
        loss.generator(fake_step(D=Scripted(fake=outputs), ops=ops, fake="fake", labels=None))


class FeatureMatching:
    """Salimans et al. 2016 (arXiv:1606.03498), section 3.1: G minimises ‖E f(x) - E f(G(z))‖²."""

    def discriminator(self, step):
        ops = step.ops
        real, fake = step.D.outputs(step.real), step.D.outputs(step.fake)
        return {"adversarial": ops.mean(ops.softplus(-real["scores"])) + ops.mean(ops.softplus(fake["scores"]))}

    def generator(self, step):
        ops = step.ops
        real, fake = (step.D.outputs(images)["features"] for images in (step.real, step.fake))
        apart = ops.mean_over_samples(ops.stop_gradient(real)) - ops.mean_over_samples(fake)
        return {"features": ops.sum(ops.square(apart))}


class WithFeatures(torch.nn.Module):
    """Features W·x, a score from them."""

    def __init__(self):
        super().__init__()
        self.layer, self.last = torch.nn.Linear(4, 3, bias=False), torch.nn.Linear(3, 1)

    def outputs(self, images):
        features = self.layer(images.flatten(1))
        return {"scores": self.last(features).squeeze(1), "features": features}


def test_feature_matching_trains_a_generator(fake_step):
    torch.manual_seed(0)
    D, offset = WithFeatures().double(), torch.zeros(1, 1, 2, 2, dtype=torch.float64, requires_grad=True)
    real, noise = torch.randn(2, 5, 1, 2, 2, dtype=torch.float64)
    step = fake_step(D=D, ops=OPS["torch"][0], real=real, fake=noise + offset)
    assert isinstance(FeatureMatching(), gz.Loss)
    (term,) = FeatureMatching().generator(step).values()
    W = D.layer.weight.detach().numpy()
    apart = (real.numpy().reshape(5, 4).mean(0) - noise.numpy().reshape(5, 4).mean(0)) @ W.T
    assert term.item() == pytest.approx(float((apart**2).sum()))
    (by_offset,) = torch.autograd.grad(term, offset)
    np.testing.assert_allclose(by_offset.numpy().ravel(), -2 * apart @ W, rtol=1e-9)
    assert FeatureMatching().discriminator(step)["adversarial"].requires_grad
