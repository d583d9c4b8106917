"""The pools of published experiments on transferability, with the weights that the papers mean.

A run without candidates does not choose from them: most are older networks. `absent` names what belongs to a pool and
is in no zoo today.
"""

from __future__ import annotations

from modelselect import hookimpl
from modelselect.candidates.pools import Pool

CNNS = (
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "densenet121",
    "densenet169",
    "densenet201",
    "mnasnet1_0",
    "mobilenet_v2",
    "googlenet",
    "inception_v3",
)
"""SFDA's first group, which NCTI, PED, ETran and others use: the only weights that torchvision had at that time."""

SELF_SUPERVISED = (
    "byol",
    "deepcluster-v2",
    "infomin",
    "insdis",
    "moco-v1",
    "moco-v2",
    "pcl-v1",
    "pcl-v2",
    "sela-v2",
    "simclr-v1",
    "simclr-v2",
    "swav",
)
"""SFDA's second group: ResNet-50, by the names of L. Ericsson et al., How well do self-supervised models transfer?"""

FOUNDATION = (
    "torchvision:densenet121.IMAGENET1K_V1",
    "torchvision:efficientnet_b0.IMAGENET1K_V1",
    "torchvision:mobilenet_v2.IMAGENET1K_V1",
    "torchvision:resnet18.IMAGENET1K_V1",
    "timm:vit_base_patch16_224.dino",
    "timm:vit_small_patch8_224.dino",
    "checkpoint:moco-v3-vit-b16",
    "timm:vit_base_patch16_224.mae",
    "timm:vit_large_patch16_224.mae",
)

PARC = ("resnet50", "resnet18", "googlenet", "alexnet")
PARC_SOURCES = ("nabird", "oxford_pets", "cub200", "caltech101", "stanford_dogs", "voc2007", "cifar10")
"""The datasets that PARC's authors trained networks on, beyond ImageNet. The weights are in an archive of theirs."""

FENNEC = """
    bninception bam_resnet50 alexnet zfnet vgg19 resnet10 resnet18 resnet20_cifar10 resnet20_cifar100
    resnet20_svhn resnet50 resnet56_cifar10 resnet56_cifar100 resnet56_svhn resnet101 preresnet10 preresnet18
    preresnet20_cifar10 preresnet20_cifar100 preresnet20_svhn preresnet50 preresnet56_cifar10
    preresnet56_cifar100 preresnet56_svhn preresnet101 resnext14_16x4d resnext14_32x2d resnext14_32x4d
    seresnet10 seresnet18 seresnet50 seresnet101 seresnet56_cifar10 seresnet56_cifar100 seresnet56_svhn
    sepreresnet10 sepreresnet18 seresnext50_32x4d senet16 senet28 resnesta18 ibn_resnet50 ibn_densenet121
    airnet50_1x64d_r2 airnext50_32x4d_r2 cbam_resnet50 scnet50 scnet101 regnetx002 regnetx004 regnetx006
    regnetx008 regnety002 regnety004 regnety006 regnety008 diracnet18v2 diracnet34v2 densenet121 espnetv2_wd2
    hrnet_w18_small_v1 hrnetv2_w18 ror3_56_cifar10 ror3_56_cifar100 ror3_56_svhn condensenet74_c4_g4
    condensenet74_c8_g8 shakeshakeresnet20_2x16d_cifar10 shakeshakeresnet20_2x16d_cifar100
    shakeshakeresnet20_2x16d_svhn peleenet wrn50_2 espnetv2_w1 vovnet27s vovnet57 selecsls60 hardnet39ds
    hardnet68 sqnxt23_w1 sqnxt23_w2 shufflenet_g1_w1 shufflenet_g4_w1 menet108_8x1_g3 menet160_8x1_g8
    mobilenet_w1 mobilenet_w3d4 fdmobilenet_w1 igcv3_w1 igcv3_wd4 mnasnet_b1 darts proxylessnas_gpu fbnet_cb
    xception inceptionv3 inceptionv4 nasnet_4a1056 spnasnet efficientnet_b0 efficientnet_b1 efficientnet_b0b
    efficientnet_edge_large_b mixnet_l mobilenet_w1_cub proxylessnas_mobile_cub
"""
"""The networks of Fennec's benchmark, by their names in imgclsmob: `fennec/oracles/model_100.txt` of the authors'
repository (https://github.com/Fay-why/Fennec at 358d5cd). Table 5 of the paper names twenty of them."""


def _torchvision(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"torchvision:{name}.IMAGENET1K_V1" for name in names)


@hookimpl
def modelselect_register_pools() -> list[Pool]:
    parc = tuple(f"checkpoint:parc-{name}-{source}" for name in PARC for source in PARC_SOURCES)
    simmim = {"simmim-vit-b16": "https://github.com/microsoft/SimMIM; its architecture is in no zoo"}

    def pool(name: str, summary: str, members: tuple[str, ...], absent: dict[str, str] | None = None) -> Pool:
        return Pool(name, summary, "image", members, offered=False, absent=absent or {})

    return [
        pool("papers-cnns", "The eleven ImageNet CNNs of SFDA and NCTI.", _torchvision(CNNS)),
        pool(
            "papers-cnns-logme",
            "The ten ImageNet CNNs of LogME and the persistence paper.",
            _torchvision(tuple(name for name in CNNS if name != "resnet34")),
        ),
        pool(
            "papers-self-supervised",
            "The twelve self-supervised ResNet-50 of SFDA and NCTI.",
            tuple(f"checkpoint:{name}" for name in SELF_SUPERVISED),
        ),
        pool("papers-foundation", "The foundation models of ITM, but for SimMIM.", FOUNDATION, simmim),
        pool(
            "papers-parc",
            "The 32 networks of PARC, four architectures on eight datasets.",
            (*_torchvision(PARC), *parc),
        ),
        pool(
            "papers-fennec",
            "The 105 networks of Fennec's benchmark.",
            tuple(f"pytorchcv:{name}" for name in FENNEC.split()),
        ),
    ]
