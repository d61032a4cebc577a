"""Whether each example's gradient is its own: run before every fit, on random inputs of nobody.

Clipping bounds what a subject does only if nothing of her is in another's gradient, and it clips the right vector only
if the per-example gradients are right. Both fail silently: batch normalisation mixes examples and passes every
validator; a convolution of a ``channels_last`` tensor gets wrong per-example gradients (Opacus 1.6.0, as_strided of
assumed strides). So both are tried out on a copy of the network, with random weights, for an output layer that starts
at zero would hide everything before it; and on unusual numbers, for a mean over examples may come in only where one of
them is NaN.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import numpy as np
import torch
from torch import Tensor, nn

from privsynth.errors import NetworkError
from privsynth.privacy.dpsgd.clip import per_example
from privsynth.privacy.dpsgd.plan import Loss, MakeBatch
from privsynth.privacy.dpsgd.trial import EXAMPLES, SAME, Batch, Probe, Trial, moved, probes, randomised, refusing

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
    trial = Trial(randomised(network), loss)
    batch, other = (make_batch(EXAMPLES, rng) for _ in range(2))
    _known_faults(trial.network)
    with torch.random.fork_rng(devices=[]):
        trial.start = torch.get_rng_state()
        _keeps_apart(trial, batch, other)
        _has_right_gradients(trial, batch)
        _keeps_gradients_apart(trial, batch, other)


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
def _sound_inputs(network: nn.Module) -> Iterator[None]:
    """While the block runs, a layer that is trained sees all examples, and a convolution no strides but the usual."""

    def refuse(name: str) -> object:
        def hook(module: nn.Module, given: tuple[object, ...]) -> None:
            tensors = [t for t in given if isinstance(t, Tensor)]
            if tensors and (not tensors[0].dim() or len(tensors[0]) != EXAMPLES):
                raise NetworkError(
                    f"a layer was called on {tuple(tensors[0].shape)}, which is not one entry for each example",
                    where=_named(name, module),
                    mend="call it on all examples, and take what counts afterwards",
                )
            if isinstance(module, _CONVOLUTIONS) and not all(tensor.is_contiguous() for tensor in tensors):
                raise NetworkError(
                    "a convolution's input is not contiguous (a view, or channels_last): wrong per-example gradients",
                    where=_named(name, module),
                    mend="call .contiguous() on its input",
                )

        return hook

    hooks = [
        module.register_forward_pre_hook(refuse(name))
        for name, module in network.named_modules()
        if any(p.requires_grad for p in module.parameters(recurse=False))
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


# --- examples stay apart -------------------------------------------------------------------------


def _keeps_apart(trial: Trial, batch: Batch, other: Batch) -> None:
    """Replace one example after the other: nothing else may move, and nothing may be remembered."""
    held = {name: t.clone() for name, t in _held(trial.network)}
    used = Trial(copy.deepcopy(trial.network), trial.loss, trial.start)
    with _sound_inputs(trial.network):
        with refusing("the loss of random examples failed", mend="try it on what make_batch gives"):
            before = trial.traced(batch)
        _forgets(trial, batch, before[-1][1])
        last = before
        for probe in probes(batch, other):
            with refusing(f"the loss failed{_on(probe)}", mend="losses that come out for any numbers"):
                now = trial.traced(probe.batch, usual=not probe.unusual)
            first, last = before if probe.first else last, now
            if [name for name, _, _ in now] != [name for name, _, _ in first]:
                raise _mixing(f"the course of layers{_on(probe)}")
            for (name, given, made), (_, given_now, made_now) in zip(first, now, strict=True):
                where = _named(name, _module(trial.network, name))
                if moved(given[probe.others], given_now[probe.others]):
                    raise _mixing(f"before {where}{_on(probe)}")
                if moved(made[probe.others], made_now[probe.others]):
                    raise _mixing(f"{where}{_on(probe)}")
        _forgets(trial, batch, before[-1][1])
    for name, tensor in _held(trial.network):
        if not torch.equal(tensor, held[name]):
            raise NetworkError(
                "a forward pass changes a buffer or a parameter", where=name, mend="no running or first statistics"
            )
    used.losses(other)
    _forgets(used, batch, before[-1][1])


def _forgets(trial: Trial, batch: Batch, losses: Tensor) -> None:
    if moved(losses, trial.losses(batch)):
        raise NetworkError(
            "the network remembers what it saw: the same examples gave other losses",
            mend="no state that a forward pass changes",
        )


def _mixing(where: str) -> NetworkError:
    return NetworkError(
        "an example changes what others give: nothing may look across the first dimension",
        where=where,
        mend="normalise within an example (nn.GroupNorm), and keep sums and means off dimension 0",
    )


# --- gradients are right -------------------------------------------------------------------------


def _has_right_gradients(trial: Trial, batch: Batch) -> None:
    """Per-example gradients as the loop takes them, against one backward pass for each example."""
    named = {name: p for name, p in trial.network.named_parameters() if p.requires_grad}
    losses = trial.losses(batch)
    with refusing("the loss has no gradient", mend="no detach, no in-place layers"):
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
        name: torch.stack(each).reshape(EXAMPLES, -1)
        for name, each in zip(named, zip(*filled, strict=True), strict=True)
    }
    with (
        refusing(
            "a layer has no per-example gradients",
            mend="parameters in leaf layers of one tensor argument, and no in-place layer after them",
        ),
        per_example(trial.network),
    ):
        found = trial.gradients(batch)
    whole = sum(float(t.norm()) ** 2 for t in true.values()) ** 0.5
    for name in named:
        if not float((found[name] - true[name]).norm()) <= _RIGHT * float(true[name].norm()) + _FLOOR * whole:
            owner = name.rpartition(".")[0]
            raise NetworkError(
                "per-example gradients are wrong",
                where=f"{name} of {_named(owner, _module(trial.network, owner))}",
                mend="contiguous inputs, zero padding, and layers that Opacus knows",
            )


def _keeps_gradients_apart(trial: Trial, batch: Batch, other: Batch) -> None:
    """As :func:`_keeps_apart`, for gradients: a backward pass can mix what the forward pass leaves alone."""
    with (
        refusing("a gradient failed on unusual numbers", mend="layers that take any numbers"),
        per_example(trial.network),
    ):
        first = trial.gradients(batch)
        last = first
        for probe in probes(batch, other):
            before, last = first if probe.first else last, trial.gradients(probe.batch, usual=not probe.unusual)
            if (name := _first_moved(before, last, probe.others)) is not None:
                _forgets_gradients(trial, batch, first)
                raise _mixing(f"the gradient of {name}{_on(probe)}")
        _forgets_gradients(trial, batch, first)


def _forgets_gradients(trial: Trial, batch: Batch, first: dict[str, Tensor]) -> None:
    if (name := _first_moved(first, trial.gradients(batch), list(range(EXAMPLES)))) is not None:
        raise NetworkError(
            "the network remembers what it saw: the same examples gave other gradients",
            where=f"the gradient of {name}",
            mend="no state that a pass changes",
        )


def _first_moved(before: dict[str, Tensor], after: dict[str, Tensor], examples: list[int]) -> str | None:
    """The first parameter where one of these examples' gradients differs by more than rounding of all of it.

    A gradient that is not finite is one that the loop takes for zero.
    """
    sizes, sizes_now = (
        torch.stack([g[examples].double().norm(dim=1) for g in gradients.values()]).norm(dim=0)
        for gradients in (before, after)
    )
    zero = ~torch.isfinite(sizes) & ~torch.isfinite(sizes_now)
    for name, gradient in before.items():
        gap = (gradient - after[name])[examples].double().norm(dim=1)
        if not bool((zero | (torch.isfinite(sizes) & (gap <= SAME * (sizes + 1e-12)))).all()):
            return name
    return None


# --- helpers -------------------------------------------------------------------------------------


def _on(probe: Probe) -> str:
    return ", where an example has NaN, infinite or huge numbers" if probe.unusual else ""


def _held(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    return chain(network.named_parameters(), network.named_buffers())


def _module(network: nn.Module, name: str) -> nn.Module | None:
    return dict(network.named_modules()).get(name)


def _named(name: str, module: nn.Module | None) -> str:
    return name if module is None else f"layer {name or 'the network'} ({type(module).__name__})"
