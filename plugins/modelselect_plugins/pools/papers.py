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

FENNEC = (
    "alexnet",
    "zfnet",
    "vgg19",
    "resnet18",
    "preresnet18",
    "resnext14_16x4d",
    "seresnet50",
    "senet16",
    "airnet50_1x64d_r2",
    "scnet50",
    "regnetx002",
    "diracnet18v2",
    "densenet121",
    "hrnet_w18_small_v1",
    "shakeshakeresnet20_2x16d_cifar10",
    "shufflenet_g1_w1",
    "mobilenet_w1",
    "igcv3_w1",
    "inceptionv3",
    "efficientnet_b0",
)
"""One network of each of the 20 families of table 5: the one whose number of parameters the table prints."""

_IMGCLSMOB = "pytorchcv: https://github.com/osmr/imgclsmob"


def _torchvision(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"torchvision:{name}.IMAGENET1K_V1" for name in names)


@hookimpl
def modelselect_register_pools() -> list[Pool]:
    parc = tuple(f"checkpoint:parc-{name}-{source}" for name in PARC for source in PARC_SOURCES)
    fennec = {"85 of 105 networks": f"{_IMGCLSMOB}; the paper names one of each family, and how many there are"}
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
            "The twenty networks that Fennec names of its 105.",
            tuple(f"pytorchcv:{name}" for name in FENNEC),
            fennec,
        ),
    ]
