"""Tiny text encoders with random weights, as `save_pretrained` writes them, and a tokenizer for them."""

from __future__ import annotations

import copy
import string
from pathlib import Path
from typing import Any

import torch

WORDS = ["the", "cat", "dog", "sat", "ran", "on", "up", "mat", "hill", "one", "two", "three", *string.ascii_lowercase]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SIZE = 16
POSITIONS = 40

_COMMON = {
    "vocab_size": len(SPECIAL) + len(WORDS),
    "hidden_size": SIZE,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": POSITIONS,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 3,
    "num_labels": 5,
}
_RELATIVE = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "max_relative_positions": -1}
_OWN: dict[str, dict[str, Any]] = {
    "DistilBert": {"dim": SIZE, "n_layers": 2, "n_heads": 2, "hidden_dim": 24},
    "Deberta": _RELATIVE,
    "DebertaV2": _RELATIVE,
    "Electra": {"embedding_size": 8},
    "Albert": {"embedding_size": 8},
    "ModernBert": {"global_attn_every_n_layers": 2, "cls_token_id": 2, "sep_token_id": 3},
    "GPT2": {"n_embd": SIZE, "n_layer": 2, "n_head": 2, "n_positions": POSITIONS, "pad_token_id": None},
    "Llama": {"num_key_value_heads": 1, "pad_token_id": None},
    "XLNet": {"d_model": SIZE, "n_layer": 2, "n_head": 2, "d_inner": 24},
    "T5": {"d_model": SIZE, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2},
}


def tokenizer(*, specials: bool = True) -> Any:
    """Words and letters; `[CLS]` before and `[SEP]` behind each text, or neither, and nothing to pad with."""
    import transformers
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    ids = {token: index for index, token in enumerate([*SPECIAL, *WORDS])}
    made = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    if not specials:
        return transformers.PreTrainedTokenizerFast(tokenizer_object=made, unk_token="[UNK]", eos_token="[SEP]")
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, mask_token="[MASK]", **names)


def text_folder(folder: Path, model: str = "BertModel", seed: int = 0, **settings: Any) -> Any:
    """A tiny random model of a class, as its file has it in half precision but in float32; with its tokenizer."""
    import transformers

    base = model.removesuffix("EncoderModel").split("For")[0].removesuffix("Model")
    common = {k: v for k, v in _COMMON.items() if k != "max_position_embeddings" or base != "XLNet"}  # it has no limit
    made = getattr(transformers, f"{base}Config")(**{**common, **_OWN.get(base, {}), **settings})
    torch.manual_seed(seed)
    module = getattr(transformers, model)(made).eval()
    for parameter in module.parameters():  # not so near zero that all texts are alike
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)
        parameter.data = parameter.data.half().float()
    copy.deepcopy(module).half().save_pretrained(folder)
    tokenizer(specials=base not in ("GPT2", "Llama")).save_pretrained(folder)
    return module
