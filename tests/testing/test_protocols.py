"""The kit for authors of protocols: every kind of broken protocol is caught, and the shipped ones pass."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from modelselect.host.host import get_host
from modelselect.protocols import Experiment, Method, Protocol, Published, TruthTable
from modelselect.testing.protocols import check_protocol, protocol_checks
from tests.testing.material import failing

TRUTH = TruthTable(
    "mine",
    {"letters": {"plain": 71.0, "vit": 80.0}},
    "a drawer",
    models={"plain": "embedded:plain.letters", "vit": "embedded:vit.letters"},
)
TABLE = Published("Table 1", "kendall", {"K": {"letters": 50.0, "mean": 50.0}}, factor=100)
GOOD = Protocol(
    "mine",
    "One method on two networks",
    "A. Author: My paper, 2026",
    (Experiment("Table 1", "agreement"),),
    candidates=tuple(TRUTH.models.values()),
    datasets={"letters": "data:mnist"},
    truth=TRUTH,
    methods=(Method("K", "knn", {"k": 3}),),
    measures=("kendall",),
    published=(TABLE,),
)


@pytest.mark.parametrize("name", sorted(get_host().protocols))
def test_the_shipped_protocols_keep_their_promises(name: str) -> None:
    host = get_host()
    check_protocol(host.protocol(name), zoos=[host.zoo("embedded")], estimators=list(host.estimators.values()))


@pytest.mark.parametrize(
    ("change", "check", "message"),
    [
        ({"name": "My Table"}, "name_is_valid", "lower-case"),
        ({"title": ""}, "title_and_document_are_there", "title is ''"),
        ({"document": "one\ntwo"}, "title_and_document_are_there", "several lines"),
        ({"experiments": ()}, "experiments_are_named", "expected the tables or figures"),
        ({"experiments": (Experiment("", "agreement"),)}, "experiments_are_named", "no place"),
        ({"experiments": (Experiment("Table 1", ""),)}, "experiments_are_named", "what it shows"),
        ({"datasets": {}, "truth": None, "published": ()}, "there_is_something_to_run", "datasets is empty"),
        ({"candidates": ()}, "there_is_something_to_run", "candidates is empty"),
        ({"methods": (), "published": ()}, "there_is_something_to_run", "methods is empty"),
        ({"candidates": ("plain",)}, "candidates_are_found", "ExpressionError"),
        ({"candidates": ("embedded:plain*",) * 2}, "candidates_are_found", "twice"),
        ({"candidates": ("embedded:lenet",)}, "candidates_are_found", "matches nothing"),
        ({"methods": (Method("K", "knn"),) * 2}, "methods_have_names_of_their_own", "stands for two methods"),
        ({"methods": (Method("K", "K NN"),)}, "methods_have_names_of_their_own", "lower-case"),
        ({"quick": {"itm": {}}}, "methods_have_names_of_their_own", "the estimator of no method"),
        ({"methods": (Method("K", "knn", {"q": 3}),)}, "settings_are_taken", "does not take {'q': 3}"),
        ({"measures": ()}, "measures_exist", "measures is empty"),
        ({"measures": ("tau",)}, "measures_exist", "'tau'; expected one of weighted_kendall"),
        ({"probe_size": 1}, "sizes_can_be_drawn", "probe_size is 1"),
        ({"per_class": (0,)}, "sizes_can_be_drawn", "per_class is 0"),
        ({"seeds": 0}, "sizes_can_be_drawn", "seeds is 0"),
        ({"hours": 0.0}, "sizes_can_be_drawn", "hours is 0"),
        ({"proxy": "clip"}, "proxies_are_expressions", "ExpressionError"),
        ({"fine_tuning": {"method": "all"}}, "accuracies_can_be_measured", "expected one of full, head, lora"),
        ({"datasets": {"digits": "data:mnist"}, "published": ()}, "truth_can_be_used", "same name in both"),
        (
            {"truth": replace(TRUTH, accuracies={"letters": {"plain": 171.0, "vit": 80.0}})},
            "truth_can_be_used",
            "expected per cent",
        ),
        ({"truth": replace(TRUTH, models={"bert": "embedded:plain.letters"})}, "truth_can_be_used", "does not name"),
        (
            {"truth": replace(TRUTH, models=dict.fromkeys(("plain", "vit"), "embedded:vit.letters"))},
            "truth_can_be_used",
            "two models of the truth mean embedded:vit.letters",
        ),
        ({"truth": replace(TRUTH, source="")}, "truth_says_where_it_is_from", "source is ''"),
        ({"published": (replace(TABLE, measure="tau"),)}, "published_figures_fit", "measure is 'tau'"),
        ({"published": (replace(TABLE, values={"L": {}}),)}, "published_figures_fit", "the label of no method"),
        ({"published": (replace(TABLE, factor=1.0),)}, "published_figures_fit", "such as 100 for per cent"),
        ({"published": (replace(TABLE, values={"K": {"cars": 1.0}}),)}, "published_figures_fit", "figure on 'cars'"),
        ({"quick": {"knn": {"k": lambda: 1}}}, "it_can_be_sent_to_a_process", "pickle"),
    ],
)
def test_a_broken_protocol_is_caught_by_name(change: dict[str, Any], check: str, message: str) -> None:
    host = get_host()
    given = [host.zoo("embedded")], [host.estimator("knn")]
    assert failing(protocol_checks(GOOD, *given)) == {}
    assert message in failing(protocol_checks(replace(GOOD, **change), *given))[check]
