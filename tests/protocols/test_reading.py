"""Protocols are read from TOML files; a wrong key is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import modelselect as ms
from modelselect.errors import InvalidInputError
from modelselect.host.host import Host, get_host
from modelselect.protocols import Experiment, Protocol, Published, read_protocols, read_truths

FILE = """
document = "A. Author: My paper, 2026"

[[protocol]]
name = "mine"
title = "My table"
candidates = ["embedded:*"]
truth = "known"
seeds = 3

[[protocol.experiment]]
where = "Table 1"
shows = "agreement"

[[protocol.method]]
label = "A"
estimator = "ncti"
settings = { term = "vc" }

[[protocol.published]]
where = "Table 1"
measure = "kendall"
table = "table.csv"

[protocol.datasets]
one = "data:cifar10"
"""
TRUTH = '[truth.known]\ntable = "truth.csv"\nsource = "my drawer"\n[truth.known.models]\na = "embedded:a"\n'


def written(folder: Path, text: str = FILE) -> Path:
    (folder / "table.csv").write_text("method,one,mean\nA,0.5,\n")
    (folder / "truth.csv").write_text("dataset,model,accuracy\none,a,90\none,b,80\n")
    (folder / "truth.toml").write_text(TRUTH)
    (folder / "mine.toml").write_text(text)
    return folder / "mine.toml"


def test_a_protocol_takes_from_another_what_it_has_not(tmp_path: Path) -> None:
    path = written(
        tmp_path, FILE + '\n[[protocol]]\nname = "more"\nlike = "mine"\ntitle = "The same, more often"\nseeds = 9\n'
    )
    mine, more = read_protocols(path, read_truths(tmp_path / "truth.toml"))
    assert more == replace(mine, name="more", title="The same, more often", seeds=9)
    with pytest.raises(InvalidInputError, match=r"mine\.toml lacks 'others'"):
        read_protocols(written(tmp_path, FILE + '[[protocol]]\nname = "more"\nlike = "others"\n'))


def test_a_file_becomes_protocols_with_their_tables(tmp_path: Path) -> None:
    path = written(tmp_path)
    (protocol,) = read_protocols(path, read_truths(tmp_path / "truth.toml"))
    assert protocol.document == "A. Author: My paper, 2026"
    assert protocol.methods[0].settings == {"term": "vc"}
    assert protocol.published == (Published("Table 1", "kendall", {"A": {"one": 0.5}}),)
    assert protocol.truth is not None
    assert protocol.truth.accuracies == {"one": {"a": 90.0, "b": 80.0}}
    assert (protocol.truth.licence, protocol.seeds, protocol.obstacle) == ("none stated", 3, "")


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("seeds = 3", "seed = 3", r"mine\.toml: protocol 'mine' has the key 'seed'; expected .*seeds"),
        ('truth = "known"', 'truth = "unknown"', "truth 'unknown'; expected one of known"),
        ('table = "table.csv"', 'table = "gone.csv"', r"mine\.toml cannot be read: .*gone\.csv"),
        ("document =", "documents =", "the file has the key 'documents'"),
        ('name = "mine"', "", "lacks 'name'"),
        ("shows =", "show =", "unexpected keyword argument 'show'"),
        ("[[protocol]]", "[[protocol]", "cannot be read"),
    ],
)
def test_a_wrong_file_is_refused_with_its_name(tmp_path: Path, old: str, new: str, fault: str) -> None:
    path = written(tmp_path, FILE.replace(old, new, 1))
    with pytest.raises(InvalidInputError, match=fault):
        read_protocols(path, read_truths(tmp_path / "truth.toml"))


@pytest.mark.parametrize(
    ("protocol", "fault"),
    [
        (Protocol("mine", "t", "d", (Experiment("Table 1", "x"),)), "nothing to run"),
        (Protocol("mine", "t", "d", (Experiment("Table 1", "x", "no data"),), measures=("tau",)), "measure 'tau'"),
        (Protocol("My Own", "t", "d", ()), "lower-case"),
    ],
)
def test_a_protocol_that_cannot_be_run_is_refused_where_it_is_registered(protocol: Protocol, fault: str) -> None:
    class Plugin:
        @ms.hookimpl
        def modelselect_register_protocols(self) -> list[Protocol]:
            return [protocol]

    host = Host()
    assert fault in host.register(Plugin(), "mine").faults[0]
    assert not host.protocols


def test_the_shipped_tables_hold_what_the_documents_print() -> None:
    printed = {
        (p.name, each.where, each.measure, label): values
        for p in get_host().protocols.values()
        for each in p.published
        for label, values in each.values.items()
    }
    assert printed["ncti-supervised", "Table 1", "weighted_kendall", "NCTI"]["cifar10"] == 0.843
    assert printed["ncti-self-supervised", "Table 2", "weighted_kendall", "SFDA"]["mean"] == 0.708
    assert printed["itm", "Table 4", "kendall", "ITM"]["mean"] == 0.587
    assert printed["persistence", "Table 1", "kendall", "PR (ImageNet)"]["mean"] == 0.656
    assert printed["fennec-parc", "Table 1", "pearson", "Fennec"]["mean"] == 68.12
    for (name, _, measure, label), values in printed.items():
        datasets = [value for dataset, value in values.items() if dataset != "mean"]
        if "mean" in values and len(datasets) > 1:  # as printed, but for rounding
            assert sum(datasets) / len(datasets) == pytest.approx(values["mean"], abs=0.011), (name, measure, label)


def test_every_truth_has_a_source_and_a_candidate_for_each_model() -> None:
    for protocol in get_host().protocols.values():
        if protocol.truth is not None:
            assert protocol.truth.source
            models = {model for by_model in protocol.truth.accuracies.values() for model in by_model}
            assert models == set(protocol.truth.models), protocol.name
