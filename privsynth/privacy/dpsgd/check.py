"""Whether each example's gradient is its own: run before every fit, on random inputs of nobody.

Clipping bounds what a subject does only if nothing of her is in another's gradient, and it clips the right vector only
if the per-example gradients are right. Both fail silently: batch normalisation mixes examples and passes every
validator; a convolution of a ``channels_last`` tensor gets wrong per-example gradients (Opacus 1.6.0, as_strided of
assumed strides). So both are tried out on a copy of the network, with random weights, for an output layer that starts
at zero would hide everything before it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Generator, Tensor, nn

from privsynth.errors import NetworkError, PrivsynthError
from privsynth.privacy.dpsgd.clip import example_gradients, per_example
from privsynth.privacy.dpsgd.plan import Loss, MakeBatch

_EXAMPLES = 4
_SAME = 1e-5  # of the largest value: other examples may not move by more
_RIGHT = 1e-3  # of a parameter's gradient: wrong strides are off by 0.3 and more, right ones by 3e-7
_FLOOR = 1e-6  # of all gradients together
_CONVOLUTIONS = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)
_Batch = Mapping[str, Tensor]


def check_network(network: nn.Module, loss: Loss, make_batch: MakeBatch) -> None:
    """Refuse a network or loss whose per-example gradients would mix examples or be wrong.

    Args:
        network: not changed; a copy is tried, on the CPU, in training mode.
        loss: (network, batch, randomness) → one loss for each example.
        make_batch: random examples of nobody.

    Raises:
        NetworkError: it names the layer and the mend.
    """
    rng = np.random.default_rng(0)
    trial = _Trial(_randomised(network), loss)
    batch, other = (make_batch(_EXAMPLES, rng) for _ in range(2))
    _known_faults(trial.network)
    with torch.random.fork_rng(devices=[]):
        trial.start = torch.get_rng_state()
        _keeps_apart(trial, batch, other)
        _has_right_gradients(trial, batch)


@dataclass
class _Trial:
    """A copy of the network, run again and again with the same randomness."""

    network: nn.Module
    loss: Loss
    start: Tensor = field(default_factory=torch.get_rng_state)

    def losses(self, batch: _Batch) -> Tensor:
        """(examples,) losses."""
        torch.set_rng_state(self.start)
        batch = {name: tensor.clone() for name, tensor in batch.items()}
        losses = self.loss(self.network, batch, Generator().manual_seed(0))
        if losses.shape != (_EXAMPLES,):
            raise NetworkError(
                f"the loss of {_EXAMPLES} examples has shape {tuple(losses.shape)}",
                mend=f"one loss for each example: shape ({_EXAMPLES},)",
            )
        if not bool(torch.isfinite(losses).all()):
            raise NetworkError("the loss of random examples is not finite", mend="examples of a usual size")
        return losses

    def traced(self, batch: _Batch) -> list[tuple[str, Tensor, Tensor]]:
        """(module, what went in, what came out) in the order in which modules ended, the loss last."""
        trace: list[tuple[str, Tensor, Tensor]] = []

        def keep(name: str) -> object:
            def hook(_: nn.Module, given: tuple[object, ...], made: object) -> None:
                tensors = [t.detach().clone() for t in (*given[:1], made) if isinstance(t, Tensor)]
                if len(tensors) == 2 and all(t.dim() and len(t) == _EXAMPLES for t in tensors):
                    trace.append((name, tensors[0], tensors[1]))

            return hook

        hooks = [m.register_forward_hook(keep(name)) for name, m in self.network.named_modules() if name]
        losses = self.losses(batch).detach()
        for hook in hooks:
            hook.remove()
        return [*trace, ("the loss", losses, losses)]


# --- what is known to be wrong -------------------------------------------------------------------


def _known_faults(network: nn.Module) -> None:
    if not any(p.requires_grad for p in network.parameters()):
        raise NetworkError("the network has no parameter to train", mend="set requires_grad")
    for name, parameter in network.named_parameters():
        if parameter.dtype != torch.float32:
            raise NetworkError(f"a parameter is {parameter.dtype}", where=name, mend="float32; autocast in the loss")
        if not parameter.is_contiguous():
            raise NetworkError("a parameter is not contiguous", where=name, mend="no channels_last network")
    for name, module in network.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            raise NetworkError("batch normalisation mixes examples", where=_named(name, module), mend="nn.GroupNorm")
        if isinstance(module, _CONVOLUTIONS) and module.padding_mode != "zeros":
            raise NetworkError(
                f"padding_mode {module.padding_mode!r} gets wrong per-example gradients",
                where=_named(name, module),
                mend="padding_mode='zeros', or F.pad before the layer",
            )


@contextmanager
def _contiguous_inputs(network: nn.Module) -> Iterator[None]:
    """While the block runs, a convolution of a tensor that is not contiguous is refused."""

    def refuse(name: str) -> object:
        def hook(module: nn.Module, given: tuple[Tensor, ...]) -> None:
            if not all(tensor.is_contiguous() for tensor in given):
                raise NetworkError(
                    "a convolution's input is not contiguous (a view, or channels_last): wrong per-example gradients",
                    where=_named(name, module),
                    mend="call .contiguous() on its input",
                )

        return hook

    hooks = [
        module.register_forward_pre_hook(refuse(name))  # type: ignore[arg-type]
        for name, module in network.named_modules()
        if isinstance(module, _CONVOLUTIONS)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


# --- examples stay apart -------------------------------------------------------------------------


def _keeps_apart(trial: _Trial, batch: _Batch, other: _Batch) -> None:
    """Replace one example after the other: nothing else may move, and nothing may be remembered."""
    buffers = {name: b.clone() for name, b in trial.network.named_buffers()}
    with _contiguous_inputs(trial.network):
        with _refusing("the loss of random examples failed", mend="try it on what make_batch gives"):
            before = trial.traced(batch)
        _forgets(trial, batch, before[-1][1])
        for j in range(_EXAMPLES):
            changed = {name: tensor.clone() for name, tensor in batch.items()}
            for name, tensor in changed.items():
                tensor[j] = other[name][j]
            others = [i for i in range(_EXAMPLES) if i != j]
            for (name, given, made), (_, given_now, made_now) in zip(before, trial.traced(changed), strict=True):
                if _moved(given[others], given_now[others]):
                    raise _mixing(f"before {_named(name, _module(trial.network, name))}")
                if _moved(made[others], made_now[others]):
                    raise _mixing(_named(name, _module(trial.network, name)))
        _forgets(trial, batch, before[-1][1])
    for name, buffer in trial.network.named_buffers():
        if not torch.equal(buffer, buffers[name]):
            raise NetworkError("a forward pass changes a buffer", where=name, mend="no running statistics")


def _forgets(trial: _Trial, batch: _Batch, losses: Tensor) -> None:
    if _moved(losses, trial.losses(batch)):
        raise NetworkError(
            "the network remembers what it saw: the same examples gave other losses",
            mend="no state that a forward pass changes",
        )


def _moved(before: Tensor, after: Tensor) -> bool:
    if before.shape != after.shape:
        return True
    if not before.is_floating_point():
        return not torch.equal(before, after)
    return bool((before - after).abs().max() > _SAME * (before.abs().max() + 1e-12)) if before.numel() else False


def _mixing(where: str) -> NetworkError:
    return NetworkError(
        "an example changes what others give: nothing may look across the first dimension",
        where=where,
        mend="normalise within an example (nn.GroupNorm), and keep sums and means off dimension 0",
    )


# --- gradients are right -------------------------------------------------------------------------


def _has_right_gradients(trial: _Trial, batch: _Batch) -> None:
    """Per-example gradients as the loop takes them, against one backward pass for each example."""
    named = {name: p for name, p in trial.network.named_parameters() if p.requires_grad}
    losses = trial.losses(batch)
    with _refusing("the loss has no gradient", mend="no detach, no in-place layers"):
        one_by_one = [
            torch.autograd.grad(one, list(named.values()), retain_graph=True, allow_unused=True) for one in losses
        ]
    for place, name in enumerate(named):
        if all(each[place] is None for each in one_by_one):
            raise NetworkError(
                "a parameter is not used by the loss", where=name, mend="requires_grad_(False), or use it"
            )
    filled = [
        [torch.zeros_like(p) if g is None else g for p, g in zip(named.values(), one, strict=True)]
        for one in one_by_one
    ]
    true = {
        name: torch.stack(each).reshape(_EXAMPLES, -1)
        for name, each in zip(named, zip(*filled, strict=True), strict=True)
    }
    with (
        _refusing(
            "a layer has no per-example gradients",
            mend="parameters in leaf layers of one tensor argument, and no in-place layer after them",
        ),
        per_example(trial.network),
    ):
        trial.losses(batch).sum().backward()  # type: ignore[no-untyped-call]
        found = {name: example_gradients(p, _EXAMPLES) for name, p in named.items()}
    whole = sum(float(t.norm()) ** 2 for t in true.values()) ** 0.5
    for name in named:
        if float((found[name] - true[name]).norm()) > _RIGHT * float(true[name].norm()) + _FLOOR * whole:
            owner = name.rpartition(".")[0]
            raise NetworkError(
                "per-example gradients are wrong",
                where=f"{name} of {_named(owner, _module(trial.network, owner))}",
                mend="contiguous inputs, zero padding, and layers that Opacus knows",
            )


# --- helpers -------------------------------------------------------------------------------------


@contextmanager
def _refusing(what: str, *, mend: str) -> Iterator[None]:
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


def _randomised(network: nn.Module) -> nn.Module:
    """A copy on the CPU, in training mode, whose every weight matters."""
    twin = copy.deepcopy(network).cpu().train()
    generator = Generator().manual_seed(0)
    with torch.no_grad():
        for p in twin.parameters():
            size = 0.3 if p.dim() < 2 else max(1, p[0].numel()) ** -0.5
            p.add_(torch.randn(p.shape, generator=generator, dtype=p.dtype), alpha=size)
    return twin


def _module(network: nn.Module, name: str) -> nn.Module | None:
    return dict(network.named_modules()).get(name)


def _named(name: str, module: nn.Module | None) -> str:
    return name if module is None else f"layer {name or 'the network'} ({type(module).__name__})"
