"""What messages about candidates, zoos, executors, plugins and preprocessing tell to type works."""

from __future__ import annotations

from typing import Any

import pytest

from modelselect.host.host import get_host
from tests.advice.typed import Case, check_python

RANK = "ms.select((images, labels), {}, estimators='knn', progress=False)"
NET = (
    "net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 4, 4), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())\n"
    "import torchvision.transforms as T\n"
)

PYTHON = [
    Case(
        "embedded.load(ms.Candidate('embedded', 'plain.random', '0123'))",
        "Leave out the revision",
        "embedded.load(ms.Candidate('embedded', 'plain.random'))",
    ),
    Case(
        "embedded.load(ms.Candidate('embedded', 'plain.randm'))",
        "`modelselect search 'embedded:*'` lists them",
        "ms.search('embedded:*')",
    ),
    Case(
        "ms.search('hub:?task')", "joined by &, with the keys task", "Query.parse('task=image-classification&limit=5')"
    ),
    Case("ms.search('hub:?limit=many')", "such as 'limit=50'", "Query.parse('limit=50')"),
    Case("ms.search('hub:?params=big')", "such as 'params=<50M'", "Query.parse('params=<50M')"),
    Case(
        "ms.search('hub:?gated=maybe')",
        "expected true or false",
        "Query.parse('gated=true'); Query.parse('gated=false')",
    ),
    Case(
        "ms.search('hub:?sort=size')",
        "Expected one of created, downloads",
        "Query.parse('sort=created'); Query.parse('sort=downloads')",
    ),
    Case("ms.search('hub:?task=')", "expected a value, as in", "Query.parse('task=image-classification')"),
    Case(
        f"board = {RANK.format('(net, T.Compose([T.RandomHorizontalFlip(), T.ToTensor()]))')}",
        "Give the transform for evaluation, without random augmentation",
        f"board = {RANK.format('(net, T.ToTensor())')}",
        before=NET,
        shows="board.ranked",
    ),
    Case(
        "ms.select((['one', 'two'] * 12, [0, 1] * 12), 'embedded:plain.random', estimators='knn')",
        "Give images: a folder, uint8 arrays, or a torch dataset that does not transform them to tensors",
        "ms.select(data, 'embedded:plain.random', estimators='knn'); "
        "ms.select((images, labels), 'embedded:plain.random', estimators='knn'); "
        "ms.select(torchvision.datasets.ImageFolder(data), 'embedded:plain.random', estimators='knn')",
        before="import torchvision",
    ),
    Case(
        "ms.select((images, labels), 'embedded:plain.random', estimators='knn', top_k=1, "
        "verify='head').best.save(data)",
        "give a new or an empty folder",
        "ms.select((images, labels), 'embedded:plain.random', estimators='knn', top_k=1, "
        "verify='head').best.save('new')",
    ),
    Case(
        "ms.FineTuning(trials=4, backbone_learning_rate=(0.1, 0.01))",
        "Give either trials or several values",
        "ms.FineTuning(trials=4); ms.FineTuning(backbone_learning_rate=(0.1, 0.01))",
    ),
    Case("ms.FineTuning(batch_size=1)", "an integer of at least 2", "ms.FineTuning(batch_size=2)"),
]


@pytest.mark.parametrize("case", PYTHON, ids=str)
def test_the_advised_python_works(case: Case, places: dict[str, Any]) -> None:
    from modelselect_plugins.zoos._hub.query import Query

    check_python(case, places | {"embedded": get_host().zoo("embedded"), "Query": Query})
