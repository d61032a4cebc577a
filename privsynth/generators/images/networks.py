"""The networks that take noise off: a small U-Net over pictures, and one of full layers over short vectors.

Both are made for gradients of single examples (privacy/dpsgd.py checks them before every fit): parameters only in leaf
modules of one tensor, contiguous inputs, no operation across examples, no batch statistics, nothing in place, no
padding but zeros. Attributes come in by one embedding for each column, added up, so that combinations that were never
seen can be drawn; the last entry of each embedding says "not told".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

_FREQUENCIES = 32


@dataclass(frozen=True)
class Layout:
    """What a network is, in public numbers.

    Attributes:
        shape: (channels, height, width) of pictures, height and width divisible by 4, or (length,) of vectors.
        sizes: how many values each attribute has.
        channels: of the U-Net's first level, or a quarter of the width of full layers.
    """

    shape: tuple[int, ...]
    sizes: tuple[int, ...]
    channels: int

    def made(self) -> nn.Module:
        """The network, its parameters on no device yet: :func:`drawn` or :func:`filled` gives them numbers."""
        with torch.device("meta"):
            return UNet(self) if len(self.shape) == 3 else Full(self)

    @property
    def parameters(self) -> int:
        """How many numbers it has."""
        return sum(p.numel() for p in self.made().parameters())


def drawn(layout: Layout, generator: torch.Generator) -> nn.Module:
    """The network as training begins: He's scale for weights, the last layer of each branch 0, by ``generator``."""
    net = layout.made().to_empty(device="cpu")
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.GroupNorm | nn.LayerNorm):
                module.weight.fill_(1.0)
                module.bias.zero_()
            elif isinstance(module, nn.Linear | nn.Conv2d):
                bound = 0.0 if getattr(module, "starts_at_zero", False) else math.sqrt(3 / module.weight[0].numel())
                module.weight.uniform_(-bound, bound, generator=generator)
                if module.bias is not None:
                    module.bias.zero_()
            elif isinstance(module, nn.Embedding):
                module.weight.normal_(0.0, 1.0, generator=generator)
    return net


def filled(layout: Layout, weights: dict[str, Tensor]) -> nn.Module:
    """The network with these weights, for drawing."""
    net = layout.made()
    net.load_state_dict({name: value.clone() for name, value in weights.items()}, assign=True)
    return net.eval().requires_grad_(False)


class Told(nn.Module):
    """(n, width) of (n,) noise levels and (n, columns) labels."""

    def __init__(self, sizes: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.level = nn.Linear(2 * _FREQUENCIES, width)
        self.attributes = nn.ModuleList(nn.Embedding(size + 1, width) for size in sizes)
        self.mixed = nn.Linear(width, width)

    def forward(self, level: Tensor, labels: Tensor) -> Tensor:
        """See the class."""
        steps = torch.arange(_FREQUENCIES, device=level.device, dtype=level.dtype)
        angles = level[:, None] * torch.exp(steps * (math.log(100.0) / _FREQUENCIES))
        out: Tensor = self.level(torch.cat([angles.sin(), angles.cos()], dim=1))
        for c, attribute in enumerate(self.attributes):
            out = out + attribute(labels[:, c].contiguous())
        told: Tensor = functional.silu(self.mixed(functional.silu(out)))
        return told


class UNet(nn.Module):
    """(n, channels, height, width) → the same, over three levels of half the size each; attention at the smallest."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        narrow, wide = layout.channels, 2 * layout.channels
        width = 4 * layout.channels
        self.told = Told(layout.sizes, width)
        self.first = nn.Conv2d(layout.shape[0], narrow, 3, padding=1)
        self.down = nn.ModuleList([_Block(narrow, narrow, width), _Block(narrow, wide, width)])
        self.middle = nn.ModuleList([_Block(wide, wide, width), _Block(wide, wide, width)])
        self.looks = _Attention(wide)
        self.up = nn.ModuleList([_Block(2 * wide, wide, width), _Block(wide + narrow, narrow, width)])
        self.norm = _norm(narrow)
        self.last = _zero(nn.Conv2d(narrow, layout.shape[0], 3, padding=1))

    def forward(self, x: Tensor, level: Tensor, labels: Tensor) -> Tensor:
        """See the class."""
        told = self.told(level, labels)
        h = self.first(x.contiguous())
        kept = []
        for block in self.down:
            h = block(h, told)
            kept.append(h)
            h = functional.avg_pool2d(h, 2)
        h = self.middle[1](self.looks(self.middle[0](h, told)), told)
        for block in self.up:
            h = functional.interpolate(h, scale_factor=2.0, mode="nearest")
            h = block(torch.cat([h, kept.pop()], dim=1), told)
        out: Tensor = self.last(functional.silu(self.norm(h)).contiguous())
        return out


class Full(nn.Module):
    """(n, length) → the same, by full layers with shortcuts."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        width = 4 * layout.channels
        self.told = Told(layout.sizes, width)
        self.first = nn.Linear(layout.shape[0], width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.inner = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.outer = nn.ModuleList(_zero(nn.Linear(width, width)) for _ in range(2))
        self.last = _zero(nn.Linear(width, layout.shape[0]))

    def forward(self, x: Tensor, level: Tensor, labels: Tensor) -> Tensor:
        """See the class."""
        h = self.first(x) + self.told(level, labels)
        for norm, inner, outer in zip(self.norms, self.inner, self.outer, strict=True):
            h = h + outer(functional.silu(inner(norm(h))))
        out: Tensor = self.last(functional.silu(h))
        return out


class _Block(nn.Module):
    """Two convolutions with a shortcut; what is told scales and shifts between them."""

    def __init__(self, within: int, out: int, told: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([_norm(within), _norm(out)])
        self.first = nn.Conv2d(within, out, 3, padding=1)
        self.told = nn.Linear(told, 2 * out)
        self.last = _zero(nn.Conv2d(out, out, 3, padding=1))
        self.short = nn.Conv2d(within, out, 1) if within != out else None

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        """See the class."""
        scale, shift = self.told(told)[:, :, None, None].chunk(2, dim=1)
        h = self.first(functional.silu(self.norms[0](x)).contiguous())
        h = self.last(functional.silu(self.norms[1](h) * (1 + scale) + shift).contiguous())
        out: Tensor = h + (x if self.short is None else self.short(x.contiguous()))
        return out


class _Attention(nn.Module):
    """Each place looks at all others, in full layers over (n, places, channels)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = _norm(channels)
        self.asks = nn.Linear(channels, 3 * channels)
        self.last = _zero(nn.Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        n, channels, height, width = x.shape
        places = self.norm(x).flatten(2).transpose(1, 2).contiguous()
        query, key, value = self.asks(places).chunk(3, dim=2)
        seen = torch.softmax(query @ key.transpose(1, 2) / math.sqrt(channels), dim=2) @ value
        h: Tensor = self.last(seen.contiguous())
        return x + h.transpose(1, 2).reshape(n, channels, height, width).contiguous()


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(8, channels), channels)


def _zero(module: nn.Module) -> nn.Module:
    module.starts_at_zero = True  # type: ignore[assignment]
    return module
