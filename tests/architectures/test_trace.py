"""`trace` finds the real data flow, without weights, and leaves the module as it was."""

from __future__ import annotations

import copy
import dataclasses
from collections import Counter
from collections.abc import Callable
from typing import Any

import networkx as nx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from modelselect.archi2vec import count_macs, from_json, operation_name, to_json, trace
from modelselect.errors import CandidateError, InvalidInputError
from tests.architectures.networks import build, graph_of, on_meta, operations

SIZE = (3, 16, 16)


class Residual(nn.Module):
    """A block with a shortcut, and a head; every tensor kind that a copy has to carry over."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(3, 5)
        self.unregistered = [torch.ones(1)]

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.norm(self.conv(x)).relu() * self.unregistered[0]
        return self.head(self.drop(x.mean((2, 3))))


class Apply(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., Any], **parts: nn.Module | nn.Parameter) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(self, *args, **kwargs)


def test_a_residual_block_becomes_its_graph() -> None:
    graph = trace(Residual(), SIZE)
    assert operations(graph) == ["Convolution", "BatchNorm", "Relu", "Mul", "Add", "Mean", "Addmm"]
    assert list(graph.edges) == [(i, i + 1) for i in range(6)]


def test_a_shortcut_is_an_edge() -> None:
    graph = trace(nn.Sequential(nn.ReLU(), Apply(lambda _, x: x + x.sigmoid())), SIZE)
    assert operations(graph) == ["Relu", "Sigmoid", "Add"]
    assert set(graph.edges) == {(0, 1), (0, 2), (1, 2)}


# Each step takes one earlier value, or two: a data flow of its own, which the graph must repeat.
STEPS = st.lists(st.tuples(st.sampled_from("rsta"), st.integers(0, 99), st.integers(0, 99)), min_size=1, max_size=12)


@given(STEPS)
@settings(max_examples=40)
def test_any_data_flow_becomes_exactly_its_graph(steps: list[tuple[str, int, int]]) -> None:
    unary = {"r": torch.relu, "s": torch.sigmoid, "t": torch.tanh}
    flow: nx.DiGraph[int] = nx.DiGraph()
    for node, (kind, first, second) in enumerate(steps):
        flow.add_node(node, operation={"r": "Relu", "s": "Sigmoid", "t": "Tanh", "a": "Add"}[kind])
        # Value 0 is the input, value i + 1 the result of step i.
        givers = {first % (node + 1), second % (node + 1)} if kind == "a" else {first % (node + 1)}
        flow.add_edges_from((giver - 1, node) for giver in givers if giver > 0)

    def forward(_: nn.Module, x: Tensor) -> Tensor:
        values = [x]
        for kind, first, second in steps:
            a, b = values[first % len(values)], values[second % len(values)]
            values.append(a + b if kind == "a" else unary[kind](a))
        return values[-1]

    graph = trace(Apply(forward), (2,))
    expected = flow.subgraph(nx.ancestors(flow, len(steps) - 1) | {len(steps) - 1})
    assert nx.is_isomorphic(graph, expected, node_match=lambda a, b: a["operation"] == b["operation"])
    assert all(source < target for source, target in graph.edges)  # the numbering is topological


def test_what_only_parameters_pass_through_is_no_data_flow() -> None:
    scaled = Apply(lambda m, x: x @ (m.weight.t().sigmoid() * 2), weight=nn.Parameter(torch.ones(5, 4)))
    assert operations(trace(scaled, (4,))) == ["Mm"]
    normed = nn.utils.parametrizations.weight_norm(nn.Linear(4, 5))
    assert operations(trace(normed, (4,))) == ["Addmm"]


def test_the_layout_in_memory_is_no_operation() -> None:
    contiguous = Apply(lambda _, x: x.relu().transpose(1, 2).contiguous().clone().sigmoid())
    assert operations(trace(contiguous, (3, 4))) == ["Relu", "Transpose", "Sigmoid"]
    # Whether a reshape has to copy depends on strides, and the node's name on that.
    for order in ((0, 1, 2), (0, 2, 1)):
        reshape = Apply(lambda _, x, order=order: x.relu().permute(order).reshape(2, -1).sigmoid())
        assert operations(trace(reshape, (3, 4))) == ["Relu", "Permute", "View", "Sigmoid"]


def test_fused_attention_is_the_formula() -> None:
    def fused(_: nn.Module, x: Tensor) -> Tensor:
        return nn.functional.scaled_dot_product_attention(x, x, x)

    counts = Counter(operations(trace(Apply(fused), (2, 8, 4))))
    assert counts["Bmm"] == 2
    assert counts["Softmax"] == 1
    assert trace(Apply(fused), (2, 8, 4), device="cpu").edges == trace(Apply(fused), (2, 8, 4)).edges


def test_a_recurrence_is_one_operation() -> None:
    def twice(m: nn.Module, x: Tensor) -> Any:
        output, state = m.first(x)  # type: ignore[operator]
        return m.second(output, state)  # type: ignore[operator]

    for kind in (nn.LSTM, nn.GRU, nn.RNN):
        for device in ("meta", "cpu"):
            stacked = Apply(twice, first=kind(4, 4, num_layers=2), second=kind(4, 4, num_layers=2))
            graph = trace(stacked, (5, 4), device=device)
            assert operations(graph) == [kind.__name__] * 2
            assert list(graph.edges) == [(0, 1)]


def test_a_linear_layer_is_the_same_whatever_the_layout_of_its_input() -> None:
    def forward(m: nn.Module, x: Tensor) -> Any:
        return m.linear(m.norm(x.transpose(1, 2)))  # type: ignore[operator]

    net = Apply(forward, norm=nn.LayerNorm(4), linear=nn.Linear(4, 4))
    expected = ["Transpose", "LayerNorm", "View", "Addmm", "View"]
    assert operations(trace(net, (4, 5))) == operations(trace(net, (4, 5), device="cpu")) == expected


def test_dropout_and_auxiliary_heads_are_off() -> None:
    net = Apply(lambda m, x: (m.drop(x).relu(), x.sigmoid()) if m.training else m.drop(x).relu(), drop=nn.Dropout())
    assert operations(trace(net.train(), (4,))) == ["Relu"]


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext", "test_efficientnet", "test_mambaout"])
def test_cpu_and_meta_give_the_same_graph(name: str) -> None:
    real = build("timm", name)
    size = real.pretrained_cfg["input_size"]  # type: ignore[index]
    assert to_json(trace(real, size, device="cpu")) == to_json(trace(on_meta("timm", name), size))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "convnextv2_atto",
        "mobilevit_xxs",
        "levit_128s",
    ],
)
def test_cpu_and_meta_give_the_same_graph_of_larger_networks(name: str) -> None:
    assert to_json(trace(build("timm", name), device="cpu")) == to_json(trace(on_meta("timm", name)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("library", "name"),
    [
        ("timm", "vit_base_patch16_224"),
        ("timm", "swin_tiny_patch4_window7_224"),
        ("timm", "convnext_tiny"),
        ("timm", "efficientnet_b0"),
        ("timm", "maxvit_pico_rw_256"),
        ("timm", "nfnet_l0"),
        ("timm", "mobilenetv3_large_100"),
        ("timm", "regnety_002"),
        ("timm", "mixer_s32_224"),
        ("timm", "hrnet_w18_small"),
        ("timm", "xcit_nano_12_p16_224"),
        ("torchvision", "vit_b_16"),
        ("torchvision", "swin_v2_t"),
        ("torchvision", "shufflenet_v2_x1_0"),
        ("torchvision", "squeezenet1_0"),
    ],
)
def test_real_architectures_have_one_connected_data_flow(library: str, name: str) -> None:
    graph = graph_of(library, name)
    assert nx.is_directed_acyclic_graph(graph)
    assert nx.is_weakly_connected(graph)
    assert list(graph) == list(range(len(graph)))
    assert [node for node in graph if graph.out_degree(node) == 0] == [len(graph) - 1]


def test_the_module_is_left_as_it_was() -> None:
    module = Residual().train()
    module.conv.weight.requires_grad_(False)
    (module.head(torch.ones(1, 3)).sum()).backward()
    tensors = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    addresses = [tensor.data_ptr() for tensor in module.state_dict().values()]
    gradient = module.head.weight.grad
    for device in ("meta", "cpu"):
        trace(module, SIZE, device=device)
        count_macs(module, SIZE)
    assert module.training
    assert [p.requires_grad for p in module.parameters()] == [False] + [True] * (len(list(module.parameters())) - 1)
    assert module.head.weight.grad is gradient
    assert module.conv.weight.grad is None
    assert [tensor.data_ptr() for tensor in module.state_dict().values()] == addresses
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in module.state_dict().items())


def test_neither_frozen_parameters_nor_the_callers_mode_change_the_graph() -> None:
    expected = to_json(trace(Residual(), SIZE))
    assert to_json(trace(Residual().eval().requires_grad_(False), SIZE)) == expected
    assert to_json(trace(Residual().half(), SIZE)) == expected
    with torch.device("meta"):
        skeleton = Residual()
    assert to_json(trace(skeleton, SIZE)) == expected
    with torch.no_grad():
        assert to_json(trace(Residual(), SIZE)) == expected
    with torch.inference_mode():
        assert to_json(trace(Residual(), SIZE)) == expected
        assert count_macs(Residual(), SIZE) == 3 * 3 * 3 * 3 * 16 * 16 + 3 * 5


def test_weights_are_not_copied() -> None:
    seen = []

    def forward(m: nn.Module, x: Tensor) -> Tensor:
        seen.extend([m.layer.weight.device.type, m.norm.running_mean.device.type, x.device.type])  # type: ignore[union-attr]
        return m.norm(m.layer(x))  # type: ignore[operator]

    trace(Apply(forward, layer=nn.Linear(4, 4), norm=nn.BatchNorm1d(4)), (4,))
    assert set(seen) == {"meta"}


def test_tied_parameters_stay_tied() -> None:
    seen = []

    def forward(m: nn.Module, x: Tensor) -> Tensor:
        seen.append(m.a.weight is m.b.weight)  # type: ignore[union-attr]
        return m.b(m.a(x))  # type: ignore[operator]

    a, b = nn.Linear(4, 4), nn.Linear(4, 4)
    b.weight = a.weight
    trace(Apply(forward, a=a, b=b), (4,))
    assert seen == [True]


def test_a_text_module_starts_at_its_embedding() -> None:
    class Tiny(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(10, 4)
            self.head = nn.Linear(4, 10, bias=False)
            self.head.weight = self.table.weight  # as language models tie them

        def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
            return self.head(self.table(input_ids).relu())

    ids = torch.ones(2, 3, dtype=torch.long)
    expected = ["Embedding", "Relu", "View", "Mm", "View"]
    assert operations(trace(Tiny(), example=ids)) == expected
    assert operations(trace(Tiny(), example=(ids,))) == expected
    assert operations(trace(Tiny(), example={"input_ids": ids, "attention_mask": None})) == expected
    assert count_macs(Tiny(), example=ids) == 3 * 4 * 10


@dataclasses.dataclass
class Output:
    logits: Tensor
    nothing: None = None


@pytest.mark.parametrize(
    "wrap",
    [lambda y: (y, y), lambda y: [y], lambda y: {"logits": y, "more": (y,)}, Output],
    ids=["tuple", "list", "mapping", "dataclass"],
)
def test_outputs_may_be_nested(wrap: Callable[[Tensor], Any]) -> None:
    assert operations(trace(Apply(lambda _, x: wrap(x.relu())), (4,))) == ["Relu"]


def test_a_module_may_change_its_input_in_place() -> None:
    example = torch.ones(2, 4)
    graph = trace(Apply(lambda _, x: x.sub_(0.5).div_(2).relu_()), example=example)
    assert operations(graph) == ["Sub", "Div", "Relu"]
    trace(Apply(lambda _, x: x.mul_(3)), example=example, device="cpu")
    assert torch.equal(example, torch.ones(2, 4))


def test_a_flow_that_depends_on_values_is_traced_on_the_cpu() -> None:
    branching = Apply(lambda _, x: x.relu() if bool((x.detach() == 0).all()) else x.sigmoid())
    with pytest.raises(CandidateError, match='device="cpu"'):
        trace(branching, (4,))
    assert operations(trace(branching, example=torch.zeros(2, 4), device="cpu")) == ["Relu"]
    assert operations(trace(branching, example=torch.ones(2, 4), device="cpu")) == ["Sigmoid"]


def test_deep_networks_are_no_trouble() -> None:
    graph = trace(nn.Sequential(*[nn.ReLU() for _ in range(2000)]), (2,))
    assert len(graph) == 2000


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (torch.no_grad()(lambda _, x: x.relu()), "no differentiable path"),
        (torch.inference_mode()(lambda _, x: x.relu()), "no differentiable path"),
        (lambda _, x: x.relu().detach(), "no differentiable path"),
        (lambda _, x: x, "no differentiable path"),
        (lambda _, x: torch.ones(2), "no differentiable path"),
        (lambda _, x: "a string", "no differentiable path"),
        (lambda _, x: x.view(7, 7), r"cannot be run on the meta device with input of shape \(2, 4\)"),
        (lambda _, x: x.unbind(1)[0].mul_(2), "cannot be run"),
        (lambda _, x: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_what_cannot_be_traced_says_why(forward: Callable[..., Any], message: str) -> None:
    with pytest.raises(CandidateError, match=message):
        trace(Apply(forward), (4,))


def test_bad_arguments_say_what_was_expected() -> None:
    with pytest.raises(CandidateError, match="Lazy"):
        trace(nn.LazyLinear(3), (4,))
    with pytest.raises(CandidateError, match="input_size"):
        trace(nn.Conv2d(3, 4, 3), (5, 8, 8))
    with pytest.raises(InvalidInputError, match="expected a tensor"):
        trace(nn.ReLU(), example="text")
    with pytest.raises(InvalidInputError, match="at least one tensor"):
        trace(nn.ReLU(), example={"input": 3})


@pytest.mark.parametrize(
    ("given_name", "expected"),
    [
        ("ConvolutionBackward0", "Convolution"),
        ("MkldnnConvolutionBackward0", "Convolution"),
        ("CudnnConvolutionBackward0", "Convolution"),
        ("NativeBatchNormBackward0", "BatchNorm"),
        ("CudnnBatchNormBackward0", "BatchNorm"),
        ("MiopenBatchNormBackward0", "BatchNorm"),
        ("NativeLayerNormBackward0", "LayerNorm"),
        ("MeanBackward1", "Mean"),
        ("UnsafeViewBackward0", "View"),
        ("ReshapeAliasBackward0", "View"),
        ("MaxPool2DWithIndicesBackward0", "MaxPool2DWithIndices"),
        ("ScaledDotProductFlashAttentionForCpuBackward0", "ScaledDotProductAttention"),
        ("ScaledDotProductEfficientAttentionBackward0", "ScaledDotProductAttention"),
        ("ScaledDotProductCudnnAttentionBackward0", "ScaledDotProductAttention"),
        ("torch::autograd::CopySlices", "CopySlices"),
        ("SomethingNewBackward7", "SomethingNew"),
        ("torch::autograd::CppNode<Theirs>", "CppNode<Theirs>"),
    ],
)
def test_a_name_is_the_same_on_every_backend(given_name: str, expected: str) -> None:
    assert operation_name(given_name) == expected


@pytest.mark.parametrize("name", ["alexnet", "resnet18", "mobilenet_v3_small", "vit_b_16"])
def test_multiply_accumulates_agree_with_the_published_figures(name: str) -> None:
    models = pytest.importorskip("torchvision").models
    published = models.get_model_weights(name).DEFAULT.meta["_ops"] * 1e9
    counted = count_macs(on_meta("torchvision", name))
    assert counted == pytest.approx(published, abs=0.5e6, rel=1e-4)  # published in thousandths of 1e9


def test_multiply_accumulates_are_of_one_input() -> None:
    layer = nn.Conv2d(4, 8, 3, groups=2, bias=False)
    expected = 8 * 6 * 6 * (4 // 2) * 3 * 3
    assert count_macs(layer, (4, 8, 8)) == expected
    assert count_macs(layer, example=torch.ones(5, 4, 8, 8)) == expected
    assert count_macs(Apply(lambda _, x: 1 / 0), (4,)) is None


def test_multiply_accumulates_are_counted_whatever_a_network_begins_with() -> None:
    layers: list[nn.Module] = [nn.Flatten(), nn.Unflatten(1, (3, 1)), nn.Identity(), nn.ReLU(inplace=True)]
    for first in layers:
        assert count_macs(nn.Sequential(first, nn.Flatten(), nn.Linear(3 * 64, 5)), (3, 8, 8)) == 3 * 64 * 5
    assert count_macs(Apply(lambda m, x: m.layer(x[:, 0].transpose(1, 2)), layer=nn.Linear(8, 5)), (3, 8, 8)) == 8 * 40


def test_json_brings_the_graph_back() -> None:
    graph = trace(Residual(), SIZE)
    back = from_json(to_json(graph))
    assert back.nodes(data=True) == graph.nodes(data=True)
    assert list(back.edges) == list(graph.edges)
    import json

    theirs = nx.node_link_graph(json.loads(to_json(graph)), edges="edges")
    assert nx.utils.graphs_equal(theirs, graph)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"nodes":[{"id":0}],"edges":[]}',
        '{"nodes":[],"edges":[{"source":0,"target":1}]}',
        '{"nodes":[{"id":[],"operation":"A"}],"edges":[]}',
    ],
)
def test_damaged_json_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="trace"):
        from_json(text)


def test_copies_of_a_module_give_equal_graphs() -> None:
    module = Residual()
    assert to_json(trace(module, SIZE)) == to_json(trace(copy.deepcopy(module), SIZE))
