"""Convolutions that also do what follows them: a batch normalisation, an activation, or both.

A pass over a few rows is watched (`watched`). In later passes (`Fused`), a convolution does all its steps at once, and
the calls of these steps hand their input on. The module itself stays as it is, so other threads may use it.
"""

from __future__ import annotations

import weakref
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from modelselect.candidates.backbone import Outputs

Keywords = Mapping[str, Any]


class DepartedError(Exception):
    """The module does something else with the output of a convolution than it did when it was watched."""


class _Call:
    """What a call was given; equal to another one with the same tensors, unchanged, and the same numbers."""

    def __post_init__(self) -> None:
        self._key = tuple(_identity(each) if isinstance(each, torch.Tensor) else each for each in vars(self).values())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Call) and type(self) is type(other) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


def _identity(tensor: torch.Tensor) -> tuple[int, ...]:
    """Of a tensor with its present numbers."""
    if tensor.is_inference():  # has no version
        return id(tensor), tensor.data_ptr()
    return id(tensor), tensor.data_ptr(), tensor._version  # noqa: SLF001 (how torch counts changes)


@dataclass(eq=False)
class Activation(_Call):
    """As oneDNN names it, with its numbers."""

    name: str
    numbers: tuple[float, ...] = ()
    algorithm: str = ""


@dataclass(eq=False)
class Normalisation(_Call):
    """A batch normalisation by stored statistics."""

    mean: torch.Tensor
    variance: torch.Tensor
    weight: torch.Tensor | None
    bias: torch.Tensor | None
    eps: float

    def into(self, weight: torch.Tensor, bias: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Weights and biases of a convolution that does both; computed in float64."""
        scale = (self.variance.double() + self.eps).rsqrt()
        if self.weight is not None:
            scale = scale * self.weight.double()
        shift = -self.mean.double() * scale
        if self.bias is not None:
            shift = shift + self.bias.double()
        if bias is not None:
            shift = shift + bias.double() * scale
        scaled = weight.double() * scale.reshape(-1, *[1] * (weight.dim() - 1))
        return scaled.to(weight.dtype), shift.to(weight.dtype)


Step = Normalisation | Activation


@dataclass(eq=False)
class Convolution(_Call):
    function: Any
    weight: torch.Tensor
    bias: torch.Tensor | None
    stride: tuple[int, ...]
    padding: tuple[int, ...] | str
    dilation: tuple[int, ...]
    groups: int

    @property
    def is_of_onednn(self) -> bool:
        """Whether oneDNN's own kernel can be called, which also does activations."""
        return (
            self.function is torch.conv2d
            and not isinstance(self.padding, str)
            and self.weight.dtype == torch.float32
            and not torch.is_autocast_enabled("cpu")
            and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        )

    def with_steps(self, steps: Sequence[Step], rows: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
        """The function that does this convolution and the steps; fastest for inputs of the shape of these rows."""
        weight, bias = self.weight, self.bias
        if steps and isinstance(steps[0], Normalisation):
            weight, bias = steps[0].into(weight, bias)
        numbers = self.padding, self.stride, self.dilation, self.groups
        if not self.is_of_onednn:
            return lambda rows: self.function(rows, weight, bias, self.stride, self.padding, self.dilation, self.groups)
        kernel = torch.ops.mkldnn._convolution_pointwise  # noqa: SLF001 (what torch's compiler calls)
        reorder = torch.ops.mkldnn._reorder_convolution_weight  # noqa: SLF001
        packed = reorder(weight.detach(), *numbers, list(rows.shape))
        last = steps[-1] if steps else None
        does = (last.name, last.numbers, last.algorithm) if isinstance(last, Activation) else ("none", (), "")
        return lambda rows: kernel(rows, packed, bias, *numbers, *does)


def watched(read: Callable[[], Outputs]) -> tuple[Outputs, Fused | None]:
    """What `read` returns, and the mode in which it takes less time; None if no convolution can do more."""
    with _Watch() as watch:
        outputs = read()
    fusions = [fusion for met in watch.met.values() if (fusion := _fusion(met))]
    return outputs, Fused(fusions) if fusions else None


class Fused(TorchFunctionMode):
    """Within it, convolutions do the steps after them.

    Raises:
        DepartedError: if something else happens to the output of such a convolution.
    """

    def __init__(self, fusions: Sequence[_Fusion]) -> None:
        super().__init__()
        self._fusions = {id(fusion.convolution.weight): fusion for fusion in fusions}
        self._open: dict[int, tuple[torch.Tensor, Sequence[Step]]] = {}  # outputs, and steps that are not called yet
        self._passed: dict[int, weakref.ref[torch.Tensor]] = {}  # inputs of steps, which hold the steps' output
        self._has_departed = False

    def __torch_function__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Keywords | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._open and args and id(args[0]) in self._open:
            tensor, steps = self._open[id(args[0])]
            if _step(function, args, kwargs) == steps[0]:
                del self._open[id(tensor)]
                self._passed[id(tensor)] = weakref.ref(tensor)
                return self._with_open(tensor.detach(), steps[1:])
        rows, convolution = _convolution(function, args, kwargs) or (None, None)
        fusion = self._fusions.get(id(convolution.weight)) if convolution else None
        if rows is None or fusion is None:
            if not _describes(function):
                self._check_closed(args, kwargs)
            return function(*args, **kwargs)
        self._check_closed(args, kwargs)
        if convolution != fusion.convolution:
            self._depart()
        return self._with_open(fusion(rows), fusion.steps)

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        departed = self._has_departed or bool(self._open)
        self._has_departed = False
        self._open.clear()
        self._passed.clear()
        super().__exit__(kind, error, trace)  # type: ignore[no-untyped-call]
        if departed and kind is None:
            raise DepartedError

    def _with_open(self, tensor: torch.Tensor, steps: Sequence[Step]) -> torch.Tensor:
        if steps:
            self._open[id(tensor)] = tensor, steps
        return tensor

    def _check_closed(self, args: Sequence[Any], kwargs: Keywords) -> None:
        for tensor in _tensors((args, *kwargs.values())):
            passed = self._passed.get(id(tensor))
            if id(tensor) in self._open or (passed and passed() is tensor):
                self._depart()

    def _depart(self) -> NoReturn:
        self._has_departed = True  # also if the module goes on after an error in its layers
        raise DepartedError


@dataclass
class _Fusion:
    """A convolution and the steps that it does, too."""

    convolution: Convolution
    steps: Sequence[Step]
    _made: Callable[[torch.Tensor], torch.Tensor] | None = None

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        if self._made is None:
            self._made = self.convolution.with_steps(self.steps, rows)
        return self._made(rows)


@dataclass
class _Met:
    """A call of a convolution, and what became of its output."""

    convolution: Convolution
    steps: list[Step] = field(default_factory=list)
    readers: list[int] = field(default_factory=lambda: [0])  # of the output after each number of steps

    def takes(self, step: Step, done: int) -> bool:
        """Whether the convolution can do this step, too, after so many others."""
        if done < len(self.steps):
            return False
        if isinstance(step, Normalisation):
            return done == 0
        return self.convolution.is_of_onednn and not any(isinstance(each, Activation) for each in self.steps)

    def possible(self) -> list[Step]:
        """The first steps, as long as nothing else read the output before them."""
        shared = (done for done, count in enumerate(self.readers) if count > 1)
        return self.steps[: next(shared, len(self.steps))]


class _Watch(TorchFunctionMode):
    """Writes down the calls of each convolution whose weight is a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.met: dict[int, list[_Met]] = defaultdict(list)  # by id of the weight
        self._made: dict[int, tuple[torch.Tensor, _Met, int]] = {}  # a tensor is kept, so that its id stays its own

    def __torch_function__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Keywords | None = None
    ) -> Any:
        kwargs = kwargs or {}
        output = function(*args, **kwargs)
        if _describes(function):
            return output
        for tensor in _tensors((args, *kwargs.values())):
            if id(tensor) in self._made:
                _, met, done = self._made[id(tensor)]
                met.readers[done] += 1
        first = self._made.get(id(args[0])) if args else None
        called = _convolution(function, args, kwargs)
        if called and isinstance((convolution := called[1]).weight, torch.nn.Parameter):  # others may be made anew
            self.met[id(convolution.weight)].append(met := _Met(convolution))
            self._made[id(output)] = output, met, 0
        elif first and (step := _step(function, args, kwargs)) and first[1].takes(step, first[2]):
            _, met, done = first
            met.steps.append(step)
            met.readers.append(0)
            self._made[id(output)] = output, met, done + 1
        return output


def _fusion(calls: Sequence[_Met]) -> _Fusion | None:
    """What can be done in every call of a convolution; None if that is nothing more."""
    first, steps = calls[0].convolution, calls[0].possible()
    same = all(each.convolution == first and each.possible() == steps for each in calls)
    return _Fusion(first, steps) if same and steps else None


def _convolution(function: Any, args: Sequence[Any], kwargs: Keywords) -> tuple[torch.Tensor, Convolution] | None:
    """The input and the rest of a call, if it is one of a convolution."""
    dimensions = _CONVOLUTIONS.get(function)
    if dimensions is None:
        return None

    def values(
        input: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> tuple[torch.Tensor, Convolution]:
        def each(given: Any) -> Any:
            return (
                given if isinstance(given, str) else (given,) * dimensions if isinstance(given, int) else tuple(given)
            )

        return input, Convolution(function, weight, bias, each(stride), each(padding), each(dilation), groups)

    return values(*args, **kwargs)


_CONVOLUTIONS = {torch.conv1d: 1, torch.conv2d: 2, torch.conv3d: 3}


def _step(function: Any, args: Sequence[Any], kwargs: Keywords) -> Step | None:
    """What a call does to its first argument, if a convolution can do it."""
    make = _STEPS.get(function)
    return make(*args, **kwargs) if make else None


def _normalisation(
    input: torch.Tensor,
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Normalisation | None:
    if training or running_mean is None or running_var is None:
        return None
    return Normalisation(running_mean, running_var, weight, bias, eps)


def _relu(input: torch.Tensor, inplace: bool = False) -> Activation:
    return Activation("relu")


_STEPS: dict[Any, Callable[..., Step | None]] = {
    functional.batch_norm: _normalisation,
    **dict.fromkeys((functional.relu, torch.relu, torch.relu_, torch.Tensor.relu, torch.Tensor.relu_), _relu),
    functional.relu6: lambda input, inplace=False: Activation("hardtanh", (0.0, 6.0)),
    functional.hardtanh: lambda input, min_val=-1.0, max_val=1.0, inplace=False: Activation(
        "hardtanh", (float(min_val), float(max_val))
    ),
    functional.hardswish: lambda input, inplace=False: Activation("hardswish"),
    functional.silu: lambda input, inplace=False: Activation("swish"),
    functional.gelu: lambda input, approximate="none": Activation("gelu", (), approximate),
}


_DESCRIBING = {
    *(getattr(torch.Tensor, name).__get__ for name in ("shape", "dtype", "device", "ndim", "layout", "requires_grad")),
    *(getattr(torch.Tensor, name) for name in ("size", "dim", "numel", "stride", "__len__", "is_contiguous")),
    *(torch.Tensor.is_floating_point, torch.is_floating_point, torch.numel),
}


def _describes(function: Any) -> bool:
    """Whether a function reads no values of a tensor, and changes none."""
    return function in _DESCRIBING


def _tensors(values: Sequence[Any]) -> Iterator[torch.Tensor]:
    """The tensors among these values, and in lists and tuples among them."""
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)
