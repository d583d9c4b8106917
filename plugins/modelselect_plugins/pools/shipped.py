"""The shipped pools: for images three sizes of networks, for texts two.

Each image pool has one network of each family, so that a dataset meets different architectures and different data of
pre-training: of a family the network with the highest top-1 accuracy on ImageNet-1k within the pool's bound on
parameters, if its weights may be used commercially and its input is not larger than 288 pixels. The families with the
highest accuracies are kept, but for those that are slow for their size. The largest pool has two encoders that learnt
without these labels. The text pools hold encoders that did well in the classification tasks of MTEB for their size,
and the usual starting points for fine-tuning.
"""

from __future__ import annotations

from modelselect import hookimpl
from modelselect.candidates.pools import Pool

IMAGES_FAST = (
    "tf_efficientnet_b1.ns_jft_in1k",
    "edgenext_small.usi_in1k",
    "tiny_vit_5m_224.dist_in22k_ft_in1k",
    "repvit_m1_0.dist_450e_in1k",
    "efficientformerv2_s1.snap_dist_in1k",
    "rexnet_130.nav_in1k",
    "hgnetv2_b1.ssld_stage2_ft_in1k",
    "mambaout_femto.in1k",
    "starnet_s4.in1k",
    "regnety_008_tv.tv2_in1k",
    "swiftformer_s.dist_in1k",
    "mobilenetv3_large_100.miil_in21k_ft_in1k",
)

IMAGES = (
    "tiny_vit_21m_224.dist_in22k_ft_in1k",
    "hiera_small_abswin_256.sbb2_e200_in12k_ft_in1k",
    "nextvit_small.bd_ssld_6m_in1k",
    "convnext_tiny.in12k_ft_in1k",
    "caformer_s18.sail_in22k_ft_in1k",
    "rexnetr_300.sw_in12k_ft_in1k",
    "hgnet_small.ssld_in1k",
    "vit_little_patch16_reg1_gap_256.sbb_in12k_ft_in1k",
    "mvitv2_small.fb_in1k",
    "regnetz_040_h.ra3_in1k",
    "tresnet_m.miil_in21k_ft_in1k",
    "deit3_small_patch16_224.fb_in22k_ft_in1k",
)

IMAGES_BEST = (
    "caformer_b36.sail_in22k_ft_in1k",
    "maxvit_rmlp_base_rw_224.sw_in12k_ft_in1k",
    "mambaout_base_plus_rw.sw_e150_in12k_ft_in1k",
    "vit_mediumd_patch16_reg4_gap_256.sbb2_e200_in12k_ft_in1k",
    "seresnextaa101d_32x8d.sw_in12k_ft_in1k_288",
    "beitv2_base_patch16_224.in1k_ft_in22k_in1k",
    "swinv2_base_window12to16_192to256.ms_in22k_ft_in1k",
    "hgnetv2_b6.ssld_stage2_ft_in1k",
    "deit3_base_patch16_224.fb_in22k_ft_in1k",
    "regnety_160.lion_in12k_ft_in1k",
    "vit_base_patch14_dinov2.lvd142m",
    "vit_base_patch16_clip_224.laion2b",
)

TEXT_SMALL = (
    "BAAI/bge-small-en-v1.5",
    "thenlper/gte-small",
    "intfloat/e5-small-v2",
    "avsolatorio/GIST-small-Embedding-v0",
    "sentence-transformers/all-MiniLM-L6-v2",
    "intfloat/multilingual-e5-small",
    "distilbert/distilbert-base-uncased",
    "google/electra-small-discriminator",
)

TEXT = (
    "Alibaba-NLP/gte-modernbert-base",
    "BAAI/bge-base-en-v1.5",
    "thenlper/gte-base",
    "intfloat/e5-base-v2",
    "sentence-transformers/all-mpnet-base-v2",
    "intfloat/multilingual-e5-base",
    "answerdotai/ModernBERT-base",
    "microsoft/deberta-v3-base",
    "FacebookAI/roberta-base",
    "google-bert/bert-base-uncased",
)


def _pool(name: str, summary: str, modality: str, zoo: str, names: tuple[str, ...]) -> Pool:
    return Pool(name, summary, modality, tuple(f"{zoo}:{each}" for each in names))


@hookimpl
def modelselect_register_pools() -> list[Pool]:
    return [
        _pool("images-fast", "Image networks of at most 8 million parameters.", "image", "timm", IMAGES_FAST),
        _pool("images", "Image networks of 8 to 35 million parameters.", "image", "timm", IMAGES),
        _pool("images-best", "Image networks of 35 to 120 million parameters.", "image", "timm", IMAGES_BEST),
        _pool("text-small", "Text encoders of at most 120 million parameters.", "text", "hub", TEXT_SMALL),
        _pool("text", "Text encoders of 100 to 300 million parameters.", "text", "hub", TEXT),
    ]
