"""Networks that mix examples or hide gradients are refused by layer; those that do not, pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from torch import Generator, Tensor, nn

from privsynth.errors import NetworkError
from privsynth.privacy.dpsgd import Loss, MakeBatch, check_network
from tests.privacy.dpsgd.toy import cross_entropy, random_pictures, random_rows, small, squares


class Calls(nn.Module):
    """A module around a function of tensors."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Attends(nn.Module):
    """Self-attention over pixels, with or without contiguous views after it."""

    def __init__(self, *, contiguous: bool) -> None:
        super().__init__()
        self.contiguous = contiguous
        self.norm = nn.GroupNorm(2, 4)
        self.qkv = nn.Conv1d(4, 12, 1)
        self.out = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        q, k, v = self.qkv(self.norm(x).reshape(n, c, h * w)).transpose(1, 2).chunk(3, dim=2)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, c, h, w)
        made: Tensor = self.out(mixed.contiguous() if self.contiguous else mixed)
        return x + made


class Remembers(nn.Module):
    """Gives the batch before this one."""

    def __init__(self) -> None:
        super().__init__()
        self.before: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        before, self.before = self.before, x.detach()
        return x if before is None else x + before.mean()


class Counts(nn.Module):
    """A buffer that each forward pass changes."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        assert isinstance(self.seen, Tensor)
        self.seen += 1
        return x


class Unused(nn.Module):
    """A layer that the forward pass leaves out."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.left = nn.Linear(6, 2), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.used(x)
        return made


class Starts(nn.Module):
    """A shift by the mean of the first batch, in a parameter or beside it."""

    def __init__(self, *, parameter: bool) -> None:
        super().__init__()
        self.layer, self.parameter = nn.Linear(8, 8), parameter
        self.shift: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.shift is None:
            self.shift = torch.zeros(8) if self.parameter else x.detach().mean(0)
            if self.parameter:
                self.layer.bias.data.copy_(x.detach().mean(0))
        made: Tensor = self.layer(x - self.shift)
        return made


class LastScale(nn.Module):
    """Gradients are scaled by the batch before this one."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = 1.0

    def forward(self, x: Tensor) -> Tensor:
        scaled = x * self.scale
        self.scale = float(torch.nan_to_num(x.detach().abs().mean()).clamp(0.1, 10.0))
        return scaled + (x - scaled).detach()


class Picks(nn.Module):
    """A layer that only usual examples go through."""

    def __init__(self) -> None:
        super().__init__()
        self.all, self.usual = nn.Linear(6, 2), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        usual = (x.abs() < 50).all(dim=1).nonzero()[:, 0]
        made: Tensor = self.all(x)
        return made + torch.zeros_like(made).index_put((usual,), self.usual(x[usual]))


def scaled_gradient(scale: Callable[[Tensor], Tensor]) -> nn.Module:
    """The input, with a gradient times ``scale`` of the batch."""

    def straight_through(x: Tensor) -> Tensor:
        scaled = x * torch.nan_to_num(scale(x.detach()), 1.0, 1.0, 1.0)
        return torch.where(torch.isfinite(x), scaled + (x - scaled).detach(), x)

    return Calls(straight_through)


def hooked(x: Tensor) -> Tensor:
    made, size = x * 1.0, x.detach().square().mean()
    if made.requires_grad:
        made.register_hook(lambda g: g / size)  # type: ignore[no-untyped-call]
    return made


def on(change: Callable[[Tensor], Tensor]) -> Loss:
    """The loss on changed rows."""
    return lambda n, b, g: nn.functional.cross_entropy(n(change(b["x"])), b["y"], reduction="none")


def imputed(x: Tensor) -> Tensor:
    return torch.where(torch.isfinite(x), x, x[torch.isfinite(x)].mean())


def strict(x: Tensor) -> Tensor:
    if not bool(torch.isfinite(x).all()):
        raise ValueError("not finite")
    return x


def all_or_nothing(network: nn.Module, batch: Mapping[str, Tensor], generator: Generator) -> Tensor:
    losses = cross_entropy(network, batch, generator)
    return torch.where(torch.isfinite(losses).all(), losses, torch.zeros_like(losses))


def conv(*layers: nn.Module, **options: object) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), *layers, nn.Conv2d(4, 3, 3, padding=1, **options))  # type: ignore[arg-type]


def rows(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 8), *layers, nn.Linear(8, 2))


def as_channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def in_channels_last(network: nn.Module) -> nn.Module:
    """What ``network.to(memory_format=torch.channels_last)`` does, a usual speed-up."""
    for p in network.parameters():
        if p.dim() == 4:
            p.data = as_channels_last(p.data)
    return network


PICTURES: tuple[Loss, MakeBatch] = (squares, random_pictures)
TABLES: tuple[Loss, MakeBatch] = (cross_entropy, random_rows)
FAULTS = {
    "batch norm": (rows(nn.BatchNorm1d(8)), TABLES, "layer 1 (BatchNorm1d)", "GroupNorm"),
    "batch norm without affine": (
        conv(nn.BatchNorm2d(4, affine=False, track_running_stats=False)),
        PICTURES,
        "layer 1 (BatchNorm2d)",
        "GroupNorm",
    ),
    "own batch norm": (rows(Calls(lambda x: x - x.mean(0))), TABLES, "layer 1 (Calls)", "dimension 0"),
    "one sees the one before": (rows(Calls(lambda x: x + x.roll(1, 0))), TABLES, "layer 1 (Calls)", "dimension 0"),
    "attention over the batch": (
        rows(Calls(lambda x: torch.softmax(x @ x.T, dim=1) @ x)),
        TABLES,
        "layer 1 (Calls)",
        "dimension 0",
    ),
    "memory": (rows(Remembers()), TABLES, "remembers", "no state"),
    "counter": (rows(Counts()), TABLES, "1.seen", "running"),
    "first batch in a parameter": (rows(Starts(parameter=True)), TABLES, "1.layer.bias", "first statistics"),
    "first batch in an attribute": (rows(Starts(parameter=False)), TABLES, "remembers", "no state"),
    "gradients scaled by the batch before": (rows(LastScale()), TABLES, "remembers", "no state"),
    "gradients scaled by the batch": (
        rows(scaled_gradient(lambda x: 1 / x.abs().max())),
        TABLES,
        "the gradient of 0.weight",
        "dimension 0",
    ),
    "gradients turned by a huge number": (
        rows(scaled_gradient(lambda x: torch.where(x.amax() > 50, -1.0, 1.0))),
        TABLES,
        "the gradient of 0.weight, where",
        "dimension 0",
    ),
    "a hook divides by the batch": (rows(Calls(hooked)), TABLES, "the gradient of 0.weight", "dimension 0"),
    "one NaN and all is zero": (rows(), (all_or_nothing, random_rows), "the loss, where an example has NaN", "mean"),
    "a huge number shrinks all": (
        rows(),
        (on(lambda x: x / torch.clamp(x.abs().max() / 50, min=1)), random_rows),
        "layer 0 (Linear), where an example",
        "dimension 0",
    ),
    "a millionth of the mean": (rows(), (on(lambda x: x + 1e-6 * x.mean(0)), random_rows), "layer 0", "dimension 0"),
    "a millionth of those before": (
        rows(),
        (on(lambda x: x + 1e-6 * (x.cumsum(0) - x)), random_rows),
        "layer 0",
        "dimension 0",
    ),
    "NaN becomes the mean of the others": (rows(), (on(imputed), random_rows), "layer 0 (Linear), where", "mean"),
    "a layer for some": (Picks(), TABLES, "layer usual (Linear)", "all examples"),
    "a loss that stops at NaN": (
        rows(),
        (on(strict), random_rows),
        "where an example has NaN",
        "any numbers",
    ),
    "channels_last input": (conv(Calls(as_channels_last)), PICTURES, "layer 2 (Conv2d)", ".contiguous()"),
    "channels_last network": (
        in_channels_last(conv()),
        PICTURES,
        "0.weight",
        "channels_last",
    ),
    "a view": (conv(Attends(contiguous=False)), PICTURES, "layer 1.out (Conv2d)", ".contiguous()"),
    "circular": (conv(padding_mode="circular"), PICTURES, "layer 1 (Conv2d)", "zeros"),
    "reflect": (conv(padding_mode="reflect"), PICTURES, "layer 1 (Conv2d)", "zeros"),
    "unused": (Unused(), TABLES, "left.weight", "requires_grad_"),
    "in-place": (rows(nn.ReLU(inplace=True)), TABLES, "in-place", "in-place"),
    "multihead attention": (
        nn.Sequential(
            nn.Linear(6, 8), Calls(lambda x: x[:, None]), nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        ),
        (lambda n, b, g: n(b["x"]).flatten(1).sum(1), random_rows),
        "per-example",
        "leaf layers",
    ),
    "double precision": (rows().double(), TABLES, "0.weight", "float32"),
    "nothing to train": (rows().requires_grad_(False), TABLES, "no parameter", "requires_grad"),
    "one loss for all": (rows(), (lambda n, b, g: n(b["x"]).sum(), random_rows), "shape ()", "(4,)"),
    "losses that see each other": (
        rows(),
        (lambda n, b, g: n(b["x"]).sum(1) / n(b["x"]).sum(), random_rows),
        "the loss",
        "dimension 0",
    ),
    "infinite loss": (rows(), (lambda n, b, g: n(b["x"]).sum(1) / 0, random_rows), "not finite", "usual size"),
    "wrong batch": (rows(), (lambda n, b, g: n(b["z"]), random_rows), "failed", "make_batch"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_network_that_cannot_be_trained_privately_is_refused(fault: str) -> None:
    network, (loss, make_batch), where, mend = FAULTS[fault]
    with pytest.raises(NetworkError) as caught:
        check_network(network, loss, make_batch)
    assert where in str(caught.value)
    assert mend in caught.value.mend


class Conditioned(nn.Module):
    """Pictures, a class, and a layer that is used twice: what a denoiser is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.classes = nn.Embedding(5, 4)
        self.first, self.twice, self.last = (
            nn.Conv2d(3, 4, 3, padding=1),
            nn.Conv2d(4, 4, 3, padding=1),
            nn.Conv2d(4, 3, 1),
        )
        self.mix, self.up = Attends(contiguous=True), nn.ConvTranspose2d(4, 4, 2, stride=2)
        self.down, self.norm = nn.Conv2d(4, 4, 3, stride=2, padding=1), nn.GroupNorm(2, 4)
        nn.init.zeros_(self.last.weight)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        h = self.first(x) + self.classes(y)[:, :, None, None]
        h = self.twice(nn.functional.silu(self.twice(self.norm(h))))
        made: Tensor = self.last(self.up(self.mix(self.down(h))))
        return made


def denoise(network: nn.Module, batch: Mapping[str, Tensor], generator: Generator) -> Tensor:
    noise = torch.randn(batch["x"].shape, generator=generator)
    dropped = torch.rand(batch["y"].shape, generator=generator) < 0.1
    made = network(batch["x"] + noise, torch.where(dropped, 4, batch["y"]))
    losses: Tensor = ((made - batch["x"]) ** 2).flatten(1).mean(1)
    return losses


@pytest.mark.parametrize(
    ("network", "loss", "make_batch"),
    [
        pytest.param(small(), cross_entropy, random_rows, id="rows"),
        pytest.param(conv(nn.GroupNorm(2, 4), nn.SiLU()), squares, random_pictures, id="pictures"),
        pytest.param(Conditioned(), denoise, random_pictures, id="denoiser"),
        pytest.param(rows(nn.Dropout(0.5)), cross_entropy, random_rows, id="dropout"),
        pytest.param(rows(nn.LayerNorm(8)), cross_entropy, random_rows, id="layer norm"),
    ],
)
def test_a_sound_network_passes_and_is_left_alone(network: nn.Module, loss: Loss, make_batch: MakeBatch) -> None:
    before = {name: t.clone() for name, t in network.state_dict().items()}
    state = torch.get_rng_state()
    check_network(network.eval(), loss, make_batch)
    assert all(torch.equal(before[name], t) for name, t in network.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert not network.training
    assert not any(hasattr(p, "grad_sample") for p in network.parameters())


def test_ghost_norms_of_channels_last_are_too_small_which_is_why_hooks_and_refusal() -> None:
    """Opacus 1.6.0 computes the norm from assumed strides: a clip by it would let more than C through."""
    from opacus.grad_sample import GradSampleModuleFastGradientClipping

    batch = random_pictures(4, np.random.default_rng(0))["x"]
    network = conv(Calls(as_channels_last))

    def losses() -> Tensor:
        return squares(network, {"x": batch}, Generator().manual_seed(0))

    true = []
    for one in losses():
        gradients = torch.autograd.grad(one, list(network.parameters()), retain_graph=True)
        true.append(torch.cat([g.flatten() for g in gradients]).norm())
    ghost = GradSampleModuleFastGradientClipping(
        network, loss_reduction="sum", max_grad_norm=1.0, use_ghost_clipping=True
    )
    try:
        with pytest.warns(UserWarning, match="Full backward hook"):
            losses().sum().backward()  # type: ignore[no-untyped-call]
        found = ghost.get_norm_sample()
    finally:
        ghost.remove_hooks()
    assert torch.all(found < 0.99 * torch.stack(true))
    with pytest.raises(NetworkError, match="contiguous"):
        check_network(network, squares, random_pictures)
