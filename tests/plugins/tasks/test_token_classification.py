"""Words of sentences: features against transformers, F1 against seqeval, and whole runs on sentences from files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from seqeval.metrics import f1_score
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import pairwise_distances
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import modelselect as ms
from modelselect.errors import CandidateError, DatasetError, InvalidInputError
from modelselect.estimators.estimator import evaluate
from modelselect.evidence.evidence import Evidence
from modelselect.host.host import get_host
from modelselect.tasks import Metric
from modelselect.testing.tasks import check_task
from modelselect.verification import FineTuning, verify
from modelselect_plugins.estimators.of_wholes import folds_of_wholes
from modelselect_plugins.tasks.token_classification import span_f1
from tests.cli.conftest import run
from tests.plugins.zoos.text_models import text_folder

pytestmark = [
    pytest.mark.usefixtures("cache"),
    pytest.mark.filterwarnings("ignore:.*seems not to be NE tag:UserWarning"),
]

TAG_OF = {"cat": "B-PER", "dog": "I-PER", "mat": "B-LOC", "hill": "I-LOC"}
OTHERS = ("the", "sat", "ran", "on", "up", "one", "two")
SCHEMES = {
    "IOB2": ("O", "B-P", "I-P", "B-L-X", "I-L-X"),
    "IOBES": ("O", *(f"{prefix}-{kind}" for prefix in "BIES" for kind in "PL")),
    "IOB1": ("O", "I-P", "I-L"),
    "BILOU": ("O", *(f"{prefix}-{kind}" for prefix in "BILU" for kind in "PL")),
    "plain": ("ADJ", "NOUN", "O", "ORG"),
}


def sentences(count: int, seed: int = 0) -> tuple[list[list[str]], list[list[str]]]:
    """Words whose tags follow from the words."""
    rng = np.random.default_rng(seed)
    words = []
    for _ in range(count):
        parts: list[list[str]] = [[["cat"], ["cat", "dog"], ["mat", "hill"], ["mat"], [str(rng.choice(OTHERS))]][k]
                                  for k in rng.integers(0, 5, rng.integers(2, 6))]  # fmt: skip
        words.append([word for part in parts for word in part])
    return words, [[TAG_OF.get(word, "O") for word in each] for each in words]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    words, tags = sentences(80)
    rows = [{"tokens": each, "ner_tags": own} for each, own in zip(words, tags, strict=True)]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    blocks = ("".join(f"{w} {t}\n" for w, t in zip(*pair, strict=True)) for pair in zip(words, tags, strict=True))
    (tmp_path / "data.conll").write_text("\n".join(blocks))
    return tmp_path


def test_the_task_keeps_its_promises() -> None:
    check_task(get_host().task("token-classification"))


# --- the metric ------------------------------------------------------------------------------------------------------


def as_seqeval_reads(name: str, scheme: str) -> str:
    """Plain tags as tags inside spans, and BILOU by the letters of IOBES, which seqeval's default mode knows."""
    if name == "O" or scheme not in ("plain", "BILOU"):
        return name
    return f"I-{name}" if scheme == "plain" else name.replace("L-", "E-", 1).replace("U-", "S-", 1)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_span_f1_is_that_of_seqeval(scheme: str) -> None:
    names, rng = SCHEMES[scheme], np.random.default_rng(1)
    called = [as_seqeval_reads(name, scheme) for name in names]
    metric = span_f1(names)
    for _ in range(200):
        shape = tuple(rng.integers(1, 9, 2))
        targets = rng.integers(-1, len(names), shape)
        said = np.where(rng.random(shape) < 0.6, np.maximum(targets, 0), rng.integers(0, len(names), shape))
        pairs = [
            ([called[k] for k in own if k >= 0], [called[k] for k, t in zip(found, own, strict=True) if t >= 0])
            for own, found in zip(targets, said, strict=True)
        ]
        pairs = [pair for pair in pairs if pair[0]]
        if pairs:
            expected = f1_score([pair[0] for pair in pairs], [pair[1] for pair in pairs])
            assert metric.measure(targets, said) == pytest.approx(expected, abs=1e-12)


def test_without_names_runs_of_one_number_are_spans() -> None:
    targets, said = np.array([[0, 0, 1, 1], [2, 2, 2, -1]]), np.array([[0, 0, 1, 2], [2, 2, 2, 0]])
    assert span_f1().measure(targets, said) == pytest.approx(2 * 2 / (3 + 4))


def test_the_interval_counts_each_sentence_once_and_is_that_of_the_bootstrap() -> None:
    names, rng = SCHEMES["IOB2"], np.random.default_rng(2)
    targets = rng.integers(-1, len(names), (30, 6))
    said = np.where(rng.random((30, 6)) < 0.7, np.maximum(targets, 0), 0)
    for metric in get_host().task("token-classification").of_rows(ms.Probe.of(sentences(9))).metrics:
        plain = Metric(metric.name, metric.title, metric.measure)
        expected = plain.interval(targets, said, seed=3)
        assert metric.interval(targets, said, seed=3) == pytest.approx(expected, abs=1e-12)


# --- evidence --------------------------------------------------------------------------------------------------------


def reference(folder: Path, probe: ms.Probe, layer: int | None = None) -> np.ndarray:
    """What transformers itself gives at the first token of each word."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    found = []
    for row in range(len(probe)):
        item = probe.item(row)
        encoded = tokenizer(list(item.words), is_split_into_words=True, return_tensors="pt")
        at = encoded.word_ids().index(item.place)
        encoded.pop("token_type_ids", None)
        with torch.no_grad():
            output = model(**encoded, output_hidden_states=True)
        hidden = output.last_hidden_state if layer is None else output.hidden_states[layer]
        found.append(hidden[0, at].numpy())
    return np.stack(found)


@pytest.mark.parametrize("model", ["BertModel", "RobertaModel", "DistilBertModel", "GPT2Model", "ModernBertModel"])
def test_features_are_those_of_transformers_at_first_tokens(here: Path, model: str) -> None:
    text_folder(here / "model", model)
    words, tags = sentences(30)
    words[0][0] = "catdog-mat"  # several tokens
    probe = ms.Probe.of((words, tags), size=70)
    found = ms.features(probe, ["dir:model", "dir:model?layer=1"], progress=False)
    for key, evidence in found.items():
        expected = reference(here / "model", probe, 1 if "layer=" in key else None)
        assert evidence.features is not None
        np.testing.assert_allclose(evidence.features, expected, rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(evidence.labels, probe.labels)
        np.testing.assert_array_equal(evidence.groups, probe.groups)


def test_layers_share_a_pass_with_the_same_bits(here: Path) -> None:
    text_folder(here / "model")
    probe = ms.Probe.of(sentences(30), size=70)
    together = ms.features(probe, ["dir:model?layer=*", "dir:model"], cache_dir=here / "a", progress=False)
    assert len(together) == 3
    for key, found in together.items():
        plain = key.removeprefix("layer:").partition("@")[0]
        alone = ms.features(probe, plain, cache_dir=here / "b", progress=False)
        assert found.features.tobytes() == alone.features.tobytes()


def test_a_word_beyond_the_length_is_read_without_the_beginning(here: Path) -> None:
    text_folder(here / "model")
    words, tags = sentences(10)
    words[3], tags[3] = ["the"] * 100 + ["cat"], ["O"] * 100 + ["B-PER"]
    probe = ms.Probe.of((words, tags))
    row = int(np.flatnonzero((probe.groups == 3) & (probe.labels != probe.class_names.index("O")))[0])
    found = ms.features(probe, "dir:model", progress=False).features
    assert found is not None
    assert probe.item(row).place == 100
    near = ms.features(ms.Probe.of(([["the"] * 25 + ["cat"], ["mat"]] * 3, [["O"] * 25 + ["B"], ["O"]] * 3)),
                       "dir:model", progress=False)  # fmt: skip
    assert near.features is not None
    np.testing.assert_allclose(found[row], near.features[25], rtol=1e-4, atol=1e-5)  # 101 // 4 words are left


def test_knn_looks_at_other_sentences() -> None:
    rng = np.random.default_rng(0)
    groups = np.sort(rng.integers(0, 12, 80))
    labels = rng.integers(0, 3, 80)
    features = rng.normal(size=(80, 6)) + 2 * np.eye(3, 6)[labels] + 3 * rng.normal(size=(12, 6))[groups]
    adapted = get_host().task("token-classification").adapted(get_host().estimator("knn"))
    assert adapted is not None
    distances = pairwise_distances(features)
    distances[groups[:, None] == groups] = np.inf
    expected = 100 * (labels[distances.argmin(1)] == labels).mean()
    found = evaluate(adapted, Evidence.of(features=features, labels=labels, groups=groups))
    assert found["knn"] == pytest.approx(expected, abs=1e-9)
    plain = evaluate(adapted, Evidence.of(features=features, labels=labels))
    assert plain == evaluate(get_host().estimator("knn"), Evidence.of(features=features, labels=labels))


def test_linear_probe_tests_on_other_sentences() -> None:
    rng = np.random.default_rng(0)
    groups = np.sort(rng.integers(0, 25, 120))
    labels = rng.integers(0, 3, 120)
    features = rng.normal(size=(120, 6)) + np.eye(3, 6)[labels]
    adapted = get_host().task("token-classification").adapted(get_host().estimator("linear_probe"))
    assert adapted is not None
    fold = folds_of_wholes(labels, groups, 5, np.random.default_rng(0))
    right = np.zeros(120, bool)
    for test in range(5):
        held = fold == test
        assert not set(groups[held]) & set(groups[~held])
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=100)).fit(features[~held], labels[~held])
        right[held] = model.predict(features[held]) == labels[held]
    found = evaluate(adapted, Evidence.of(features=features, labels=labels, groups=groups))
    assert found["linear_probe"] == pytest.approx(100 * right[fold >= 0].mean(), abs=1e-6)


# --- fine-tuning -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["full", "head", "lora"])
def test_the_verified_f1_is_that_of_the_kept_weights_by_transformers_and_seqeval(here: Path, method: str) -> None:
    import transformers

    text_folder(here / "model")
    backbone = get_host().zoo("directory").load(ms.search("dir:model")[0])
    probe = ms.Probe.of(here / "data.jsonl", holdout=0.25)
    assert probe.holdout is not None
    held = probe.holdout.wholes
    assert held is not None
    kept: dict[str, Any] = {}

    def keep(weights: Mapping[str, np.ndarray], known: Mapping[str, Any]) -> None:
        kept.update(weights=weights, names=known["class_names"])

    settings = FineTuning(epochs=50, batch_size=16, backbone_learning_rate=1e-3, head_learning_rate=3e-2)
    verified = verify(backbone, probe.training, probe.holdout, settings, method=method, keep=keep)
    tokenizer = transformers.AutoTokenizer.from_pretrained(here / "model")
    model = backbone.module
    body = {k.removeprefix("body."): torch.tensor(v) for k, v in kept["weights"].items() if k.startswith("body.")}
    model.load_state_dict(body or model.state_dict())
    head = [torch.tensor(kept["weights"][f"head.{name}"]) for name in ("weight", "bias")]
    there, said = [], []
    for row in range(len(held)):
        words = held.item(row).words
        encoded = tokenizer(list(words), is_split_into_words=True, return_tensors="pt")
        with torch.no_grad():
            hidden = model(encoded["input_ids"], attention_mask=encoded["attention_mask"]).last_hidden_state[0]
        places = [encoded.word_ids().index(word) for word in range(len(words))]
        logits = hidden[places] @ head[0].T + head[1]
        said.append([kept["names"][k] for k in logits.argmax(1).tolist()])
        there.append([probe.class_names[k] for k in held.targets[row, : len(words)].tolist()])
    assert verified.accuracy == pytest.approx(f1_score(there, said), abs=1e-12)
    right = np.mean([a == b for pair in zip(there, said, strict=True) for a, b in zip(*pair, strict=True)])
    assert verified.metrics["accuracy"] == pytest.approx(right, abs=1e-12)
    assert verified.rows == len(held)
    assert verified.interval[0] <= verified.accuracy <= verified.interval[1]
    assert verified.accuracy > 0.6


def test_early_stopping_holds_sentences_out(here: Path) -> None:
    text_folder(here / "model")
    backbone = get_host().zoo("directory").load(ms.search("dir:model")[0])
    probe = ms.Probe.of(here / "data.jsonl", holdout=0.25)
    assert probe.holdout is not None
    verified = verify(backbone, probe.training, probe.holdout, FineTuning(epochs=3, patience=1), method="head")
    wholes = probe.training.wholes
    assert wholes is not None
    assert 0 < verified.validation_rows < verified.training_rows
    assert verified.validation_rows + verified.training_rows == len(wholes)


@pytest.mark.parametrize(
    "arguments",
    [
        ("data.jsonl", "--verify", "full"),
        ("data.conll", "--verify", "head", "--layers", "best"),
        ("data.jsonl", "--verify", "lora", "--task", "token-classification", "--tune", "1"),
    ],
)
def test_sentences_are_ranked_and_fine_tuned_from_the_command_line(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    for seed in range(2):
        text_folder(here / "models" / f"bert{seed}", seed=seed)
    code, _, error = run(
        capsys, "select", *arguments, "-c", "dir:models/*", "-c", "embedded:resnet.letters", "--top-k", "1",
        "--epochs", "2", "--batch-size", "16", "--json", "board.json", "--history", "history.sqlite", "-q",
    )  # fmt: skip
    assert code == 0, error
    board = ms.Leaderboard.load(here / "board.json")
    assert len(board.ranked) == 2
    assert board.provenance["task"] | {"chance": 0} == {
        "name": "token-classification", "asked": board.provenance["task"]["asked"], "targets": "classes",
        "unit": "word", "metric": "span_f1", "metrics": ["span_f1", "accuracy"], "chance": 0,
        "measures": [["span F1", True], ["accuracy", True]],
    }  # fmt: skip
    assert board.best.verified_accuracy is not None
    failed = next(row for row in board.rows if "resnet.letters" in row.candidate.name)
    assert "takes no sentences as words" in str(failed)
    kept = {result.metric for result in ms.History(here / "history.sqlite").results()}
    assert "token-classification:accuracy" in kept


def test_a_budget_a_plan_and_costs_take_words(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(3):
        text_folder(here / "models" / f"bert{seed}", seed=seed)
    for more in (("--dry-run",), ("--budget", "20s"), ("--costs",)):
        code, out, error = run(capsys, "select", "data.jsonl", "-c", "dir:models/*", "-e", "logme", "-q", *more)
        assert code == 0, (more, out, error)


def test_the_winner_is_saved_and_predicts_tags(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import transformers

    text_folder(here / "model")
    code, _, error = run(
        capsys, "select", "data.jsonl", "-c", "dir:model", "-e", "logme", "--top-k", "1", "--epochs", "1",
        "--save", "winner", "--json", "board.json", "-q",
    )  # fmt: skip
    assert code == 0, error
    given = ["cat dog sat", ["mat", "hill", "on", "the"]]
    loaded = ms.load(here / "winner")
    found = loaded.predict(given, batch_size=1)
    tokenizer = transformers.AutoTokenizer.from_pretrained(here / "model")
    for words, row in zip((["cat", "dog", "sat"], given[1]), found, strict=True):
        encoded = tokenizer(words, is_split_into_words=True, return_tensors="pt")
        with torch.no_grad():
            body = loaded.module.body(encoded["input_ids"], attention_mask=encoded["attention_mask"])
            logits = loaded.module.head(body.last_hidden_state[0])
        places = [encoded.word_ids().index(word) for word in range(len(words))]
        assert row.label == tuple(found.classes[k] for k in logits[places].argmax(1).tolist())
    again = ms.Leaderboard.load(here / "board.json").best.predict(given)
    assert [row.label for row in again] == [row.label for row in found]
    code, out, _ = run(capsys, "predict", "winner", "--text", "cat dog sat", "--json")
    assert code == 0
    assert json.loads(out)[0]["tags"] == list(found[0].label)
    code, out, _ = run(capsys, "predict", "winner", "--text", "cat dog sat")
    assert f"cat/{found[0].label[0]} dog/" in " ".join(out.split())
    beyond = loaded.predict(["the " * 60])
    assert len(beyond[0].label) == 60
    assert beyond[0].label[-1] is None
    with pytest.raises(InvalidInputError, match="input 0 is 5; expected a text with words"):
        loaded.predict([5])
    damaged = ms.load(here / "winner")
    with torch.no_grad():
        next(damaged.module.parameters()).fill_(float("nan"))
    with pytest.raises(CandidateError, match="not finite; its weights may be damaged"):
        damaged.predict(given)
    with pytest.raises(CandidateError, match="was fine-tuned for words already"):
        ms.features(sentences(12), "dir:winner", progress=False)


# --- what is refused -------------------------------------------------------------------------------------------------


def test_other_rows_and_other_tasks_are_refused() -> None:
    texts = ms.Probe.of(([f"text {row}" for row in range(8)], [0, 1] * 4))
    with pytest.raises(DatasetError, match=r"needs sentences as lists of words, .* and each row of arrays is a row"):
        get_host().task("token-classification").of_rows(texts)
    words = ms.Probe.of(sentences(12))
    for name in ("classification", "text-pair", "audio-classification"):
        with pytest.raises(DatasetError, match="each row of arrays is a word"):
            get_host().task(name).of_rows(words)


def test_a_tokenizer_that_does_not_know_its_words_is_a_reason(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers

    text_folder(here / "model")
    monkeypatch.setattr(transformers.PreTrainedTokenizerFast, "is_fast", property(lambda _: False))
    monkeypatch.setattr("modelselect_plugins.zoos._transformers.tokenizing._contents", lambda _: "")
    with pytest.raises(CandidateError, match="cannot say which token belongs to which word"):
        ms.features(sentences(12), "dir:model", progress=False)


def test_a_tokenizer_of_spaces_gives_each_word_its_space(here: Path) -> None:
    """GPT-2 and RoBERTa write the space before a word into its token; words of a list have no spaces."""
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    text_folder(here / "model", "GPT2Model", vocab_size=300)
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<e>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    made.train_from_iterator([" ".join(words) for words in sentences(40)[0]], trainer)
    plain = transformers.GPT2TokenizerFast(tokenizer_object=made, eos_token="<e>", add_prefix_space=False)
    plain.save_pretrained(here / "model")
    words, tags = sentences(12)
    backbone = get_host().zoo("directory").load(ms.search("dir:model")[0])
    encode = backbone.preprocessing.encode_words  # type: ignore[attr-defined]
    for each in words:
        ids, places = encode(each)
        assert list(ids) == plain(" " + " ".join(each))["input_ids"]
        assert plain.convert_ids_to_tokens([ids[place] for place in places])[0].startswith("Ġ")
    found = ms.features((words, tags), "dir:model", progress=False)
    assert found.features is not None
