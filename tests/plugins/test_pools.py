"""The shipped pools hold candidates that exist, differ, and may be used."""

from __future__ import annotations

import pytest

import modelselect as ms
from modelselect.candidates.pools import Pool
from modelselect.errors import UnknownNameError
from modelselect.host.host import Host, get_host
from modelselect.host.lookup import expressions_in, find_truth

BOUNDS = {"images-fast": (0, 8e6), "images": (8e6, 35e6), "images-best": (35e6, 120e6)}
WITHOUT_LABELS = ("vit_base_patch14_dinov2.lvd142m", "vit_base_patch16_clip_224.laion2b")


@pytest.mark.parametrize("name", BOUNDS)
def test_an_image_pool_holds_one_free_network_of_each_family_within_its_bounds(name: str) -> None:
    low, high = BOUNDS[name]
    pool = get_host().pool(name)
    found = ms.search(f"pool:{name}")
    assert [candidate.unversioned_id for candidate in found] == list(pool.members)
    learnt = [c for c in found if c.name not in WITHOUT_LABELS]
    families = [candidate.metadata["family"] for candidate in learnt]
    assert len(set(families)) == len(families) >= 10
    for candidate in found:
        assert low < candidate.metadata["parameters"] <= high, candidate
        assert candidate.metadata["license"] in ("apache-2.0", "mit", "bsd-3-clause"), candidate
    assert all(max(candidate.metadata["input_size"]) <= 288 for candidate in learnt)


def test_a_pool_is_a_candidate_expression_among_others() -> None:
    parts = expressions_in("embedded:plain*, pool:text-small")
    assert parts[0] == "embedded:plain*"
    assert tuple(parts[1:]) == get_host().pool("text-small").members
    with pytest.raises(UnknownNameError, match=r"'images-fats'.*images-fast"):
        ms.search("pool:images-fats")


@pytest.mark.parametrize(
    ("pool", "fault"),
    [
        (Pool("mine", "Mine.", "image", ()), "members"),
        (Pool("mine", "Mine.", "image", ("resnet50",)), "candidate expressions"),
        (Pool("mine", "Mine.", "image", ("pool:images",)), "a pool among its members"),
        (Pool("My Pool", "Mine.", "image", ("timm:resnet18*",)), "lower-case"),
    ],
)
def test_a_pool_that_cannot_be_searched_is_refused_where_it_is_registered(pool: Pool, fault: str) -> None:
    class Plugin:
        @ms.hookimpl
        def modelselect_register_pools(self) -> list[Pool]:
            return [pool]

    host = Host()
    record = host.register(Plugin(), "mine")
    assert fault in record.faults[0]
    assert not host.pools


def test_the_truth_of_fennec_is_about_its_pool() -> None:
    """Accuracies of test splits of 500 sports, 419 yoga poses, 819 flowers, ... are multiples of one row."""
    truth = find_truth("truth:fennec-105x7")
    pool = get_host().pool("papers-fennec")
    assert [truth.models[model] for model in truth.models] == list(pool.members)
    rows = {"sports": 500, "yoga": 419, "flowers": 819, "intel": 3000, "weather": 1369, "germ": 156, "nature": 1377}
    assert truth.accuracies.keys() == rows.keys()
    for dataset, by_model in truth.accuracies.items():
        assert by_model.keys() == truth.models.keys()
        for accuracy in by_model.values():
            assert abs(round(accuracy / 100 * rows[dataset]) / rows[dataset] - accuracy / 100) < 5.1e-5


def test_every_network_of_fennec_is_in_its_zoo() -> None:
    pytest.importorskip("pytorchcv")
    assert [c.unversioned_id for c in ms.search("pool:papers-fennec")] == list(get_host().pool("papers-fennec").members)
