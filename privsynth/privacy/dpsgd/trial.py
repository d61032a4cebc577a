"""A copy of a network that is run again and again with the same randomness, and examples to run it on."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor, nn

from privsynth.errors import NetworkError, PrivsynthError
from privsynth.privacy.dpsgd.clip import example_gradients
from privsynth.privacy.dpsgd.plan import Loss

EXAMPLES = 4
SAME = 1e-5  # of the largest value: other examples may not move by more
_UNUSUAL = ((math.nan, math.nan), (math.inf, -math.inf), (1e9, -1e9))  # for the first example, and for the last
Batch = Mapping[str, Tensor]


@dataclass
class Trial:
    """A copy of the network, run again and again with the same randomness."""

    network: nn.Module
    loss: Loss
    start: Tensor = field(default_factory=torch.get_rng_state)

    def losses(self, batch: Batch, *, usual: bool = True) -> Tensor:
        """(examples,) losses, which must be finite for usual examples."""
        torch.set_rng_state(self.start)
        batch = {name: tensor.clone() for name, tensor in batch.items()}
        losses = self.loss(self.network, batch, Generator().manual_seed(0))
        if losses.shape != (EXAMPLES,):
            raise NetworkError(
                f"the loss of {EXAMPLES} examples has shape {tuple(losses.shape)}",
                mend=f"one loss for each example: shape ({EXAMPLES},)",
            )
        if usual and not bool(torch.isfinite(losses).all()):
            raise NetworkError("the loss of random examples is not finite", mend="examples of a usual size")
        return losses

    def traced(self, batch: Batch, *, usual: bool = True) -> list[tuple[str, Tensor, Tensor]]:
        """(module, what went in, what came out) in the order in which modules ended, the loss last."""
        trace: list[tuple[str, Tensor, Tensor]] = []

        def keep(name: str) -> object:
            def hook(_: nn.Module, given: tuple[object, ...], made: object) -> None:
                tensors = [t.detach().clone() for t in (*given[:1], made) if isinstance(t, Tensor)]
                if len(tensors) == 2 and all(t.dim() and len(t) == EXAMPLES for t in tensors):
                    trace.append((name, tensors[0], tensors[1]))

            return hook

        hooks = [m.register_forward_hook(keep(name)) for name, m in self.network.named_modules() if name]
        losses = self.losses(batch, usual=usual).detach()
        for hook in hooks:
            hook.remove()
        return [*trace, ("the loss", losses, losses)]

    def gradients(self, batch: Batch, *, usual: bool = True) -> dict[str, Tensor]:
        """(examples, size) gradients by parameter, and the losses; within ``per_example`` of the network."""
        losses = self.losses(batch, usual=usual)
        losses.sum().backward()  # type: ignore[no-untyped-call]
        named = {name: p for name, p in self.network.named_parameters() if p.requires_grad}
        return {name: example_gradients(p, EXAMPLES).detach() for name, p in named.items()}


@dataclass(frozen=True)
class Probe:
    """Two batches that differ in one example.

    Attributes:
        batch: the second one.
        others: the places of the examples that are the same in both.
        unusual: whether it has numbers that are NaN, infinite or huge.
        first: whether the first batch is the one that all probes start from, or the probe's before this one.
    """

    batch: Batch
    others: list[int]
    unusual: bool
    first: bool


def probes(batch: Batch, other: Batch) -> Iterator[Probe]:
    """Every example is replaced by one of ``other``; then the first and, beside it, the last get unusual numbers.

    So what reaches only examples before or after an unusual one is seen, and what reaches only the unusual one.
    """
    for j in range(EXAMPLES):
        changed = _with(batch, j, {name: tensor[j] for name, tensor in other.items()})
        yield Probe(changed, [i for i in range(EXAMPLES) if i != j], unusual=False, first=True)
    floating = {name: tensor for name, tensor in batch.items() if tensor.is_floating_point()}
    for values in _UNUSUAL if floating else ():
        changed = batch
        for j, value in zip((0, EXAMPLES - 1), values, strict=True):
            changed = _with(changed, j, {name: _times(t[j], value) for name, t in floating.items()})
            yield Probe(changed, [i for i in range(EXAMPLES) if i != j], unusual=True, first=j == 0)


def moved(before: Tensor, after: Tensor) -> bool:
    """Whether an example's numbers differ by more than rounding of its largest; NaN is equal to NaN only."""
    if before.shape != after.shape:
        return True
    if not before.is_floating_point():
        return not torch.equal(before, after)
    before, after = (t.double().reshape(len(t), -1) for t in (before, after))
    same = (before == after) | (before.isnan() & after.isnan())
    sizes = torch.nan_to_num(before, 0.0, 0.0, 0.0).abs().amax(dim=1, keepdim=True)
    return not bool((same | ((before - after).abs() <= SAME * (sizes + 1e-12))).all())


def _times(example: Tensor, value: float) -> Tensor:
    return torch.where(example == 0, 1.0, example) * value if abs(value) < math.inf else torch.full_like(example, value)


def _with(batch: Batch, place: int, example: Batch) -> Batch:
    changed = {name: tensor.clone() for name, tensor in batch.items()}
    for name, tensor in example.items():
        changed[name][place] = tensor
    return changed


@contextmanager
def refusing(what: str, *, mend: str) -> Iterator[None]:
    """A fault of torch or Opacus in the block, on random examples, as a refusal."""
    try:
        yield
    except NetworkError:
        raise
    except (
        NotImplementedError,
        TypeError,
        ValueError,
        RuntimeError,
        AttributeError,
        LookupError,
        PrivsynthError,
    ) as fault:
        raise NetworkError(f"{what}: {fault}", mend=mend) from fault


def randomised(network: nn.Module) -> nn.Module:
    """A copy on the CPU, in training mode, whose every weight matters."""
    twin = copy.deepcopy(network).cpu().train()
    generator = Generator().manual_seed(0)
    with torch.no_grad():
        for p in twin.parameters():
            size = 0.3 if p.dim() < 2 else max(1, p[0].numel()) ** -0.5
            p.add_(torch.randn(p.shape, generator=generator, dtype=p.dtype), alpha=size)
    return twin
