"""Both networks: sizes and counts, what labels do, spectral norm, and the numbers against plain functions."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import ganzoo_core as gz
from ganzoo_cgan_projection_torch.networks import Discriminator, Generator

SIZES = (16, 32, 64)


def generator(size: int = 16, channels: int = 1, classes: int = 5, latent_dim: int = 7, width: int = 3) -> Generator:
    torch.manual_seed(0)
    return Generator(size=size, channels=channels, classes=classes, latent_dim=latent_dim, width=width)


def discriminator(size: int = 16, channels: int = 1, classes: int = 5, width: int = 4, **more: Any) -> Discriminator:
    torch.manual_seed(0)
    return Discriminator(size=size, channels=channels, classes=classes, width=width, **more)


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def test_parameters_at_32_pixels_and_width_128_are_those_of_the_paper_s_table() -> None:
    conv_g = 256 * 256 * 3 * 3 + 256
    norm_g = 10 * 256 + 10 * 256  # a scale and a shift of each class
    block_g = norm_g + conv_g + norm_g + conv_g + (256 * 256 + 256)
    expected_g = (128 * 4 * 4 * 256 + 4 * 4 * 256) + 3 * block_g + (256 + 256) + (256 * 3 * 3 * 3 + 3)

    conv_d = 128 * 128 * 3 * 3 + 128
    first = (3 * 128 * 3 * 3 + 128) + conv_d + (3 * 128 + 128)
    second = conv_d + conv_d + (128 * 128 + 128)
    third = fourth = conv_d + conv_d
    score_and_embedding = (128 + 1) + 10 * 128
    expected_d = first + second + third + fourth + score_and_embedding

    assert (expected_g, expected_d) == (4_304_387, 1_055_105)
    with torch.device("meta"):
        G = Generator(size=32, channels=3, classes=10, latent_dim=128, width=128)
        D = Discriminator(size=32, channels=3, classes=10, width=128, spectral_norm=False)
        D_classes = Discriminator(size=32, channels=3, classes=10, width=128, head="classes", spectral_norm=False)
    assert count(G) == expected_g
    assert count(D) == expected_d
    assert count(D_classes) == expected_d + 10  # its last layer has biases
    normalised = Discriminator(size=32, channels=3, classes=10, width=128)
    assert count(normalised) == expected_d  # the vectors of spectral norm are no parameters


@settings(max_examples=40)
@given(
    size=st.sampled_from(SIZES),
    channels=st.sampled_from([1, 3]),
    classes=st.integers(1, 12),
    width=st.integers(1, 20),
    latent=st.integers(1, 40),
)
def test_parameters_follow_size_width_and_classes(
    size: int, channels: int, classes: int, width: int, latent: int
) -> None:
    ups = {16: 2, 32: 3, 64: 4}[size]
    g = 2 * width
    expected_g = 16 * g * (latent + 1) + ups * (4 * classes * g + 19 * g * g + 3 * g) + 2 * g + channels * (9 * g + 1)
    first = 10 * channels * width + 9 * width * width + 3 * width
    expected_d = first + (ups - 2) * (19 * width * width + 3 * width) + 2 * (18 * width * width + 2 * width)
    with torch.device("meta"):
        G = Generator(size=size, channels=channels, classes=classes, latent_dim=latent, width=width)
        D = Discriminator(size=size, channels=channels, classes=classes, width=width, spectral_norm=False)
    assert count(G) == expected_g
    assert count(D) == expected_d + width + 1 + classes * width


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes_and_ranges(size: int, channels: int) -> None:
    labels = torch.tensor([0, 4, 4])
    images = generator(size, channels, width=2)(50 * torch.randn(3, 7), labels)
    assert images.shape == (3, channels, size, size)
    assert images.dtype == torch.float32
    assert images.abs().max() <= 1
    assert discriminator(size, channels, width=2)(images, labels).shape == (3,)
    outputs = discriminator(size, channels, width=2, head="classes")(images[:1], labels[:1])
    assert {name: output.shape for name, output in outputs.items()} == {"scores": (1,), "classes": (1, 5)}


def test_intermediate_shapes_are_those_of_the_table() -> None:
    shapes: list[tuple[int, ...]] = []
    with torch.device("meta"):
        G = Generator(size=32, channels=3, classes=10, latent_dim=128, width=128)
        D = Discriminator(size=32, channels=3, classes=10, width=128, spectral_norm=False)
        z, labels = torch.randn(2, 128), torch.zeros(2, dtype=torch.int64)
    for block in (*G.blocks, *D.blocks):
        block.register_forward_hook(lambda _block, _x, y: shapes.append(tuple(y.shape[1:])))
    D(G(z, labels), labels)
    drawn = [(256, 8, 8), (256, 16, 16), (256, 32, 32)]
    judged = [(128, 16, 16), (128, 8, 8), (128, 8, 8), (128, 8, 8)]
    assert shapes == drawn + judged


@pytest.mark.parametrize("size", [0, 8, 28, 48, 128])
def test_other_sizes_are_refused(size: int) -> None:
    with pytest.raises(gz.UsageError, match=rf"images of {size} pixels; set data\.size to 16, 32 or 64"):
        generator(size)
    with pytest.raises(gz.UsageError, match=rf"images of {size} pixels"):
        discriminator(size)


def test_a_width_of_zero_and_an_unknown_head_are_refused() -> None:
    with pytest.raises(gz.UsageError, match=r"model\.width is 0"):
        generator(width=0)
    with pytest.raises(gz.UsageError, match=r"model\.head is 'concat'; set it to projection or classes"):
        discriminator(head="concat")


def test_other_labels_give_other_images_and_other_scores() -> None:
    """Weights as after some training: at the start all classes have one scale and one shift."""
    G, D = generator(), discriminator().eval()
    for name, p in G.named_parameters():
        if name.endswith(("scale", "shift")):
            nn.init.normal_(p, 1.0, 0.3)
    z, labels = torch.randn(10, 7), torch.arange(10) % 5
    shuffled = labels.roll(1)
    images = G(z, labels)
    assert ((G(z, shuffled) - images).abs().amax((1, 2, 3)) > 1e-3).all()
    assert ((D(images, shuffled) - D(images, labels)).abs() > 1e-4).all()


def test_with_classes_the_score_knows_no_labels_and_the_logits_tell_images_apart() -> None:
    D = discriminator(head="classes").eval()
    images, labels = torch.randn(10, 1, 16, 16), torch.arange(10) % 5
    outputs, others = D(images, labels), D(images, labels.roll(1))
    assert torch.equal(outputs["scores"], others["scores"])
    assert torch.equal(outputs["classes"], others["classes"])
    assert outputs["classes"].std(0).min() > 1e-3


@pytest.mark.parametrize("head", ["projection", "classes"])
@pytest.mark.parametrize("spectral_norm", [True, False])
def test_gradients_reach_every_parameter_of_the_network_that_learns(head: str, spectral_norm: bool) -> None:
    G, D = generator(32), discriminator(32, head=head, spectral_norm=spectral_norm)
    z, labels = torch.randn(10, 7), torch.arange(10) % 5

    def goal() -> torch.Tensor:
        out = D(G(z, labels), labels)
        return out.mean() if head == "projection" else out["scores"].mean() + F.cross_entropy(out["classes"], labels)

    for learns, rests in ((G, D), (D, G)):
        goal().backward(inputs=list(learns.parameters()))
        for name, p in learns.named_parameters():
            assert p.grad is not None, name
            # Batch norm takes away again what the bias before it adds.
            assert p.grad.abs().max() > 0 or name.endswith("conv1.bias"), name
            p.grad = None
        assert all(p.grad is None for p in rests.parameters())
    scale = dict(G.named_parameters())["blocks.0.norm1.scale"]
    goal().backward()
    assert scale.grad is not None
    assert (scale.grad.abs().amax(1) > 0).all()  # the row of every class


def test_conditional_batch_norm_is_batch_norm_with_the_scale_and_shift_of_the_class() -> None:
    norm = generator().blocks[0].norm1
    nn.init.normal_(norm.scale)
    nn.init.normal_(norm.shift)
    x, labels = 3 + 2 * torch.randn(6, 6, 4, 4), torch.tensor([0, 1, 2, 3, 4, 0])
    got = norm(x, labels)
    for c in range(6):
        mean, variance = x[:, c].mean(), x[:, c].var(unbiased=False)  # over all classes together
        for n, label in enumerate(labels.tolist()):
            expected = (x[n, c] - mean) / math.sqrt(variance + 1e-5) * norm.scale[label, c] + norm.shift[label, c]
            torch.testing.assert_close(got[n, c], expected, rtol=1e-4, atol=1e-5)


def test_an_image_is_what_plain_functions_give() -> None:
    """With the shortcut as in the papers' figures: first doubled, then convolved."""
    G = generator(channels=3).eval()
    for p in G.parameters():
        nn.init.normal_(p, 0.1, 0.3)
    for name, buffer in G.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            nn.init.uniform_(buffer, 0.5, 1.5)
    w = {**dict(G.named_parameters()), **dict(G.named_buffers())}
    z, labels = torch.randn(3, 7), torch.tensor([1, 4, 1])

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        mean, variance = w[f"{name}.running_mean"], w[f"{name}.running_var"]
        return (x - mean[:, None, None]) / (variance[:, None, None] + 1e-5).sqrt()

    def of_class(x: torch.Tensor, name: str) -> torch.Tensor:
        return (
            norm(x, name) * w[f"{name}.scale"][labels][:, :, None, None] + w[f"{name}.shift"][labels][..., None, None]
        )

    def large(x: torch.Tensor) -> torch.Tensor:
        return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)

    h = (z @ w["project.weight"].T + w["project.bias"]).reshape(3, 16, 6).transpose(1, 2).reshape(3, 6, 4, 4)
    for block in ("blocks.0", "blocks.1"):
        inner = large(of_class(h, f"{block}.norm1").clamp(min=0))
        inner = F.conv2d(inner, w[f"{block}.conv1.weight"], w[f"{block}.conv1.bias"], padding=1)
        inner = of_class(inner, f"{block}.norm2").clamp(min=0)
        inner = F.conv2d(inner, w[f"{block}.conv2.weight"], w[f"{block}.conv2.bias"], padding=1)
        h = inner + F.conv2d(large(h), w[f"{block}.shortcut.weight"], w[f"{block}.shortcut.bias"])
    h = norm(h, "norm") * w["norm.weight"][:, None, None] + w["norm.bias"][:, None, None]
    expected = F.conv2d(h.clamp(min=0), w["image.weight"], w["image.bias"], padding=1).tanh()
    torch.testing.assert_close(G(z, labels), expected, rtol=1e-4, atol=1e-4)


def judged(w: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """The features φ(x) of a D for 32 pixels, by plain functions."""

    def conv(x: torch.Tensor, name: str) -> torch.Tensor:
        weight = w[f"blocks.{name}.weight"]
        return F.conv2d(x, weight, w[f"blocks.{name}.bias"], padding=weight.shape[-1] // 2)

    def half(x: torch.Tensor) -> torch.Tensor:
        return (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4

    h = half(conv(conv(x, "0.conv1").clamp(min=0), "0.conv2")) + conv(half(x), "0.shortcut")
    h = half(conv(conv(h.clamp(min=0), "1.conv1").clamp(min=0), "1.conv2")) + half(conv(h, "1.shortcut"))
    for block in ("2", "3"):
        h = h + conv(conv(h.clamp(min=0), f"{block}.conv1").clamp(min=0), f"{block}.conv2")
    return h.clamp(min=0).sum((2, 3))


def test_a_score_is_what_plain_functions_give() -> None:
    x, labels = torch.randn(4, 3, 32, 32), torch.tensor([3, 0, 0, 1])
    D = discriminator(32, channels=3, spectral_norm=False)
    for name, p in D.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(p)
    w = dict(D.named_parameters())
    features = judged(w, x)
    free = features @ w["score.weight"][0] + w["score.bias"]
    expected = free + torch.stack([w["embedding.weight"][k] @ f for k, f in zip(labels, features, strict=True)])
    torch.testing.assert_close(D(x, labels), expected, rtol=1e-4, atol=1e-4)

    D = discriminator(32, channels=3, head="classes", spectral_norm=False)
    w = dict(D.named_parameters())
    features = judged(w, x)
    outputs = D(x, labels)
    torch.testing.assert_close(outputs["scores"], features @ w["score.weight"][0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(outputs["classes"], features @ w["classifier.weight"].T, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("head", ["projection", "classes"])
def test_spectral_norm_divides_every_weight_by_its_largest_singular_value(head: str) -> None:
    D = discriminator(32, channels=3, head=head)
    x, labels = torch.randn(2, 3, 32, 32), torch.tensor([0, 1])
    with torch.no_grad():
        for _ in range(200):  # each moves the estimates by one step
            D(x, labels)
    D.eval()
    layers = [layer for layer in D.modules() if isinstance(layer, nn.Conv2d | nn.Linear | nn.Embedding)]
    assert len(layers) == 2 * 4 + 2 + 1 + 1  # two convolutions a block, two shortcuts, the score, the labels
    for layer in layers:
        original = layer.parametrizations.weight.original
        largest = torch.linalg.svdvals(original.flatten(1))[0]
        torch.testing.assert_close(layer.weight, original / largest, rtol=1e-3, atol=1e-5)


def test_one_training_forward_moves_the_vectors_once_and_evaluation_does_not() -> None:
    """The vectors are saved, so that a run can go on where it stopped."""
    D = discriminator()
    x, labels = torch.randn(2, 1, 16, 16), torch.tensor([0, 1])
    before = {name: value.clone() for name, value in D.state_dict().items()}
    vectors = [name for name in before if name.endswith(("._u", "._v"))]
    assert len(vectors) == 2 * (3 * 2 + 1 + 2)
    D.eval()(x, labels)
    assert all(torch.equal(D.state_dict()[name], before[name]) for name in vectors)
    D.train()(x, labels)
    for name in vectors:
        weight = before[name.rsplit(".", 2)[0] + ".original"].flatten(1)
        u = F.normalize(weight @ before[name[:-1] + "v"], dim=0)
        expected = u if name.endswith("u") else F.normalize(weight.T @ u, dim=0)
        torch.testing.assert_close(D.state_dict()[name], expected, rtol=1e-4, atol=1e-5)


def test_without_spectral_norm_there_is_none() -> None:
    assert not any("parametrizations" in name for name in discriminator(spectral_norm=False).state_dict())


def test_a_score_depends_on_its_own_image_and_label_only() -> None:
    D = discriminator().eval()
    x, labels = torch.randn(4, 1, 16, 16), torch.arange(4)
    torch.testing.assert_close(D(x, labels)[:1], D(x[:1], labels[:1]), rtol=1e-4, atol=1e-6)


def test_weights_begin_as_the_authors_have_them() -> None:
    G, D = generator(width=16), discriminator(width=32, spectral_norm=False)
    for network in (G, D):
        for name, layer in network.named_modules():
            if isinstance(layer, nn.Conv2d | nn.Linear | nn.Embedding):
                weight = layer.weight.detach()
                area = weight[0, 0].numel() if weight.dim() == 4 else 1
                bound = math.sqrt(6 / (area * (weight.shape[0] + weight.shape[1])))
                bound *= math.sqrt(2) if "conv" in name else 1
                assert 0.8 * bound < weight.abs().max() <= bound * 1.000001, name
                assert getattr(layer, "bias", None) is None or layer.bias.count_nonzero() == 0, name
    assert all((p == 1).all() for name, p in G.named_parameters() if name.endswith("scale"))
    assert all((p == 0).all() for name, p in G.named_parameters() if name.endswith("shift"))


def test_a_gradient_penalty_has_the_right_gradient() -> None:
    """Second derivatives against central differences of the penalty, in double precision."""
    D = discriminator(width=2, spectral_norm=False).double()
    x, labels = torch.randn(3, 1, 16, 16, dtype=torch.float64), torch.tensor([0, 1, 2])

    def penalty() -> torch.Tensor:
        point = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(D(point, labels).sum(), point, create_graph=True)
        return gradient.square().sum()

    weights = [p for name, p in D.named_parameters() if not name.endswith("bias")]
    gradients = torch.autograd.grad(penalty(), weights)
    for weight, gradient in zip(weights, gradients, strict=True):
        at = int(gradient.abs().argmax())
        entry = weight.data.view(-1)[at : at + 1]
        kept, h = entry.clone(), 1e-6
        entry.copy_(kept + h)
        above = penalty().item()
        entry.copy_(kept - h)
        below = penalty().item()
        entry.copy_(kept)
        assert gradient.reshape(-1)[at].item() == pytest.approx((above - below) / (2 * h), rel=1e-3)


def test_channels_last_goes_through_both_networks_and_changes_no_value() -> None:
    z, labels = torch.randn(4, 7), torch.arange(4)
    G, D = generator(channels=3).eval(), discriminator(channels=3).eval()
    images = G(z, labels)
    scores = D(images, labels)
    G, D = (network.to(memory_format=torch.channels_last) for network in (G, D))
    images_last = G(z, labels)
    assert images_last.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(images_last, images, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(D(images_last, labels), scores, rtol=1e-4, atol=1e-4)
