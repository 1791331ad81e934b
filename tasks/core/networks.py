"""The networks of keras.applications: what must be known of each before it is built. No Keras in here.

In: a profile's backbone, width and side. Out: its row of NETWORKS, the file name of its ImageNet weights, or errors.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tasks.core.errors import CatalogError, WeightsNotFound, did_you_mean


@dataclass(frozen=True, slots=True)
class Network:
    """What must be known of a network before it is built.

    Attributes:
        preprocessing: what it was trained on, a key of SCALES.
        channels: of its last feature map, at full width; `network` returns the row with those of the width asked for.
        imagenet: name under which Keras keeps its ImageNet weights without top.
        least_side: px of the smallest square that it takes.
        sides: px for which such weights exist; at another side those of the largest are taken.
        widths: alphas for which such weights exist, as the file name spells them; empty where it has no alpha.
        least_alpha: below it a layer would be left without a channel.
        channels_at: channels at a width; None where the width does not change them.
    """

    preprocessing: str
    channels: int
    imagenet: str
    least_side: int = 32
    sides: tuple[int, ...] = ()
    widths: Mapping[float, str] = field(default_factory=dict)
    least_alpha: float = 0.0
    channels_at: Callable[[float], int] | None = None

    @property
    def has_alpha(self) -> bool:
        """Whether its width can be chosen."""
        return bool(self.widths)


def _six_times_the_last_block(filters: int) -> Callable[[float], int]:
    """MobileNetV3's last convolution: six times the last block, whose width is a multiple of 8 within a tenth.

    Source: Howard et al., Searching for MobileNetV3 (2019), and `_depth` of keras.applications.mobilenet_v3.
    """

    def channels(alpha: float) -> int:
        wanted = filters * alpha
        rounded = max(8, int(wanted + 4) // 8 * 8)
        return 6 * (rounded + 8 if rounded < 0.9 * wanted else rounded)

    return channels


_KERNELS = "_weights_tf_dim_ordering_tf_kernels_notop.h5"
_MOBILENET_V3_WIDTHS = {0.75: "0.75", 1.0: "1.0"}
NETWORKS = {
    "ConvNeXtTiny": Network("none", 768, "convnext_tiny_notop.h5"),
    "ConvNeXtSmall": Network("none", 768, "convnext_small_notop.h5"),
    "ConvNeXtBase": Network("none", 1024, "convnext_base_notop.h5"),
    "ConvNeXtLarge": Network("none", 1536, "convnext_large_notop.h5"),
    "ConvNeXtXLarge": Network("none", 2048, "convnext_xlarge_notop.h5"),
    "DenseNet121": Network("torch", 1024, "densenet121" + _KERNELS),
    "DenseNet169": Network("torch", 1664, "densenet169" + _KERNELS),
    "DenseNet201": Network("torch", 1920, "densenet201" + _KERNELS),
    "EfficientNetB0": Network("efficientnet", 1280, "efficientnetb0_notop.h5"),
    "EfficientNetB1": Network("efficientnet", 1280, "efficientnetb1_notop.h5"),
    "EfficientNetB2": Network("efficientnet", 1408, "efficientnetb2_notop.h5"),
    "EfficientNetB3": Network("efficientnet", 1536, "efficientnetb3_notop.h5"),
    "EfficientNetB4": Network("efficientnet", 1792, "efficientnetb4_notop.h5"),
    "EfficientNetB5": Network("efficientnet", 2048, "efficientnetb5_notop.h5"),
    "EfficientNetB6": Network("efficientnet", 2304, "efficientnetb6_notop.h5"),
    "EfficientNetB7": Network("efficientnet", 2560, "efficientnetb7_notop.h5"),
    "EfficientNetV2B0": Network("none", 1280, "efficientnetv2-b0_notop.h5"),
    "EfficientNetV2B1": Network("none", 1280, "efficientnetv2-b1_notop.h5"),
    "EfficientNetV2B2": Network("none", 1408, "efficientnetv2-b2_notop.h5"),
    "EfficientNetV2B3": Network("none", 1536, "efficientnetv2-b3_notop.h5"),
    "EfficientNetV2S": Network("none", 1280, "efficientnetv2-s_notop.h5"),
    "EfficientNetV2M": Network("none", 1280, "efficientnetv2-m_notop.h5"),
    "EfficientNetV2L": Network("none", 1280, "efficientnetv2-l_notop.h5"),
    "InceptionResNetV2": Network("tf", 1536, "inception_resnet_v2" + _KERNELS, least_side=75),
    "InceptionV3": Network("tf", 2048, "inception_v3" + _KERNELS, least_side=75),
    "MobileNet": Network(
        "tf",
        1024,
        "mobilenet_{width}_{side}_tf_no_top.h5",
        sides=(128, 160, 192, 224),
        widths={0.25: "2_5", 0.5: "5_0", 0.75: "7_5", 1.0: "1_0"},
        least_alpha=1 / 32,
        channels_at=lambda alpha: int(1024 * alpha),
    ),
    "MobileNetV2": Network(
        "tf",
        1280,
        "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{width}_{side}_no_top.h5",
        sides=(96, 128, 160, 192, 224),
        widths={0.35: "0.35", 0.5: "0.5", 0.75: "0.75", 1.0: "1.0"},
    ),
    "MobileNetV3Large": Network(
        "none",
        960,
        "weights_mobilenet_v3_large_224_{width}_float_no_top_v2.h5",
        widths=_MOBILENET_V3_WIDTHS,
        channels_at=_six_times_the_last_block(160),
    ),
    "MobileNetV3Small": Network(
        "none",
        576,
        "weights_mobilenet_v3_small_224_{width}_float_no_top_v2.h5",
        widths=_MOBILENET_V3_WIDTHS,
        channels_at=_six_times_the_last_block(96),
    ),
    "NASNetLarge": Network("tf", 4032, "nasnet_large_no_top.h5"),
    "NASNetMobile": Network("tf", 1056, "nasnet_mobile_no_top.h5"),
    "ResNet50": Network("caffe", 2048, "resnet50" + _KERNELS),
    "ResNet101": Network("caffe", 2048, "resnet101" + _KERNELS),
    "ResNet152": Network("caffe", 2048, "resnet152" + _KERNELS),
    "ResNet50V2": Network("tf", 2048, "resnet50v2" + _KERNELS),
    "ResNet101V2": Network("tf", 2048, "resnet101v2" + _KERNELS),
    "ResNet152V2": Network("tf", 2048, "resnet152v2" + _KERNELS),
    "VGG16": Network("caffe", 512, "vgg16" + _KERNELS),
    "VGG19": Network("caffe", 512, "vgg19" + _KERNELS),
    "Xception": Network("tf", 2048, "xception" + _KERNELS, least_side=71),
}
_MEAN = np.array([0.485, 0.456, 0.406])
_DEVIATION = np.array([0.229, 0.224, 0.225])
#: Scale and offset of each kind, one for all channels or one for each: pixels * scale + offset. The pixels are gray,
#: the same in all three channels: in which order a network counts them makes no difference to what goes in.
#:
#: * tf: -1..1.
#: * torch: ImageNet's mean and deviation of 0..1, in the order R, G, B.
#: * caffe: ImageNet's mean taken off 0..255, nothing divided, in the order B, G, R.
#: * none: 0..255; the network's own first layers do the rest.
#: * efficientnet: the first layers are (pixels / 255 - mean) / sqrt(variance). In the published weights `variance` is
#:   the deviation, not its square, so that Keras divides by its root once more, but only where it is told "imagenet"
#:   and not a file of the same weights. Here that division is done on the pixels, about the mean that is taken off.
SCALES: dict[str, tuple[Any, Any]] = {
    "tf": (1 / 127.5, -1.0),
    "torch": ((1 / 255 / _DEVIATION).tolist(), (-_MEAN / _DEVIATION).tolist()),
    "caffe": (1.0, [-103.939, -116.779, -123.68]),
    "none": (1.0, 0.0),
    "efficientnet": (
        (1 / np.sqrt(_DEVIATION)).tolist(),
        (255 * _MEAN * (1 - 1 / np.sqrt(_DEVIATION))).tolist(),
    ),
}


def network(backbone: str, *, alpha: float | None, side: int | None = None) -> Network:
    """Return what is known of a backbone, with its channels at this width.

    Args:
        backbone: key of NETWORKS.
        alpha: share of the full width; None is the full width.
        side: px of the images; None where there are none yet.

    Raises:
        CatalogError: it is not in the table, or cannot have this alpha, or images as small as this.
    """
    known = NETWORKS.get(backbone)
    if known is None:
        raise CatalogError(
            f"There is no backbone '{backbone}'.{did_you_mean(backbone, NETWORKS)}",
            where="profiles.toml, key backbone",
            expected=f"one of {', '.join(NETWORKS)}",
            received=backbone,
            fix="take one of these",
        )
    if alpha is not None:
        _check_alpha(backbone, known, alpha)
    if side is not None and side < known.least_side:
        raise CatalogError(
            f"The images are too small for {backbone}.",
            where="profiles.toml, key image_side",
            expected=f"at least {known.least_side} px",
            received=f"{side} px",
            fix=f"set image_side = {known.least_side} or more, or take another backbone",
        )
    if alpha is None or known.channels_at is None:
        return known
    return replace(known, channels=known.channels_at(alpha))


def _check_alpha(backbone: str, known: Network, alpha: float) -> None:
    if known.has_alpha and known.least_alpha <= alpha <= 1:
        return
    if not known.has_alpha:
        expected, fix = "no alpha", "remove the key alpha"
    elif alpha > 1:
        expected, fix = "a width up to 1.0", "choose a smaller alpha"
    else:
        expected, fix = f"a width from {known.least_alpha} to 1.0", "choose a larger alpha"
    raise CatalogError(
        f"{backbone} cannot have this alpha.",
        where="profiles.toml, key alpha",
        expected=expected,
        received=alpha,
        fix=fix,
    )


def imagenet_file(backbone: str, *, side: int, alpha: float | None) -> str:
    """Return the name of the file in which Keras keeps the ImageNet weights of a backbone.

    Raises:
        CatalogError: as `network`; or there are no such weights for this alpha.
    """
    known = network(backbone, alpha=alpha, side=side)
    nearest = side if side in known.sides else max(known.sides, default=side)
    width = 1.0 if alpha is None else alpha
    if known.has_alpha and width not in known.widths:
        raise CatalogError(
            f"There are no ImageNet weights of {backbone} with this alpha.",
            where="profiles.toml, key alpha",
            expected=f"one of {', '.join(map(str, known.widths))}",
            received=alpha,
            fix="take one of these, or say in the profile's key weights what to start from: a file, or random",
        )
    return known.imagenet.format(width=known.widths.get(width), side=nearest)


def weights_file(weights: str) -> Path:
    """Return the file that a profile names as its weights.

    Args:
        weights: neither "imagenet" nor "random"; a ~ stands for the user's home.

    Raises:
        WeightsNotFound: no file is there.
    """
    path = Path(os.path.expanduser(weights))
    if not os.path.isfile(path):
        raise WeightsNotFound(
            "The weights file of the profile is not there.",
            where=path,
            expected="a no_top .h5 of keras.applications, or an .npz",
            received="something else" if os.path.exists(path) else "nothing",
            fix="correct the profile's key weights, or --set weights=PATH; \"imagenet\" takes Keras' own",
        )
    return path


def weights_not_found(received: str, backbone: str, side: int, alpha: float | None) -> WeightsNotFound:
    """Return the error for weights that are not to be had, with the three ways to mend it."""
    file = imagenet_file(backbone, side=side, alpha=alpha)
    return WeightsNotFound(
        f"The ImageNet weights of {backbone} are not on this machine.",
        where=f"{file} in Keras' cache (~/.keras/models, or KERAS_HOME)",
        expected="the file",
        received=received,
        fix="one of three: (1) copy the file into Keras' cache from a machine that has it; (2) name a file: "
        "--set weights=PATH, or the profile's key weights; (3) run once where a network is, so that Keras "
        "fetches it",
    )
