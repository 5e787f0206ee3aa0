"""Settings of image processors that resize, crop, rescale and normalise: those of CLIP, SigLIP, LLaVA and InternVL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..checkpoint import CheckpointError, UnsupportedModel
from ..checkpoint.fields import Fields
from .processor_settings import switch, three_numbers

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_DEVIATION = (0.26862954, 0.26130258, 0.27577711)
HALF = (0.5, 0.5, 0.5)
BICUBIC = 3


@dataclass(frozen=True)
class Processor:
    """What a processor does where its settings are silent.

    size: {"shortest_edge"} keeps the ratio of the sides, {"height", "width"} does not. pads: to a square, if do_pad.
    tiles: cuts into squares before anything else.
    """

    size: dict[str, int]
    crops: bool
    mean: tuple[float, float, float] = CLIP_MEAN
    deviation: tuple[float, float, float] = CLIP_DEVIATION
    pads: bool = False
    tiles: bool = False


PROCESSORS = {
    "CLIPImageProcessor": Processor({"shortest_edge": 224}, crops=True),
    "LlavaImageProcessor": Processor({"shortest_edge": 224}, crops=True, pads=True),
    "LlavaNextImageProcessor": Processor({"shortest_edge": 224}, crops=True, tiles=True),
    "SiglipImageProcessor": Processor({"height": 224, "width": 224}, crops=False, mean=HALF, deviation=HALF),
    "GotOcr2ImageProcessor": Processor({"height": 384, "width": 384}, crops=False),
}


def picture_settings(fields: Fields, known: tuple[str, ...], side: int) -> dict[str, Any]:
    """The settings in canonical form, complete, with `image_processor_type`.

    known: the types that the model goes with, the first of them where the folder does not say. side: of the square
    pictures that the tower takes, in pixels. Raises `UnsupportedModel` for another type, `CheckpointError` for settings
    that do not end in such squares.
    """
    kind = processor_type(fields, known)
    defaults = PROCESSORS[kind]
    settings: dict[str, Any] = {
        "image_processor_type": kind,
        "do_convert_rgb": True,
        "do_resize": switch(fields, "do_resize", True),
        "size": size_of(fields, defaults.size),
        "resample": fields.integer("resample", BICUBIC, low=0, high=5),
        "do_center_crop": switch(fields, "do_center_crop", defaults.crops),
        "do_rescale": switch(fields, "do_rescale", True),
        "rescale_factor": fields.number("rescale_factor", 1 / 255, low=0.0, high=1e3),
        "do_normalize": switch(fields, "do_normalize", True),
        "image_mean": three_numbers(fields, "image_mean", defaults.mean),
        "image_std": three_numbers(fields, "image_std", defaults.deviation),
    }
    if 0.0 in settings["image_std"]:
        raise fields.error("image_std", "must not be 0")
    if defaults.pads:
        settings["do_pad"] = switch(fields, "do_pad", False)
    if not defaults.crops:
        if settings.pop("do_center_crop"):
            raise UnsupportedModel(f"{fields.source}: {kind} with do_center_crop is not supported")
    elif settings["do_center_crop"]:
        settings["crop_size"] = square(fields, "crop_size", 224)
    check(fields, settings, side)
    return settings


def processor_type(fields: Fields, known: tuple[str, ...]) -> str:
    """The name without a suffix that says which library does the work."""
    old = fields.string("feature_extractor_type", "").replace("FeatureExtractor", "ImageProcessor")
    given = fields.string("image_processor_type", old or known[0])
    kind = given.removesuffix("Fast").removesuffix("Pil")
    if kind not in known:
        raise UnsupportedModel(
            f"{fields.source}: image processor {given!r:.60} is not supported: {', '.join(known)} is"
        )
    return kind


def size_of(fields: Fields, default: dict[str, int]) -> dict[str, int]:
    value = fields.values.get("size")
    if isinstance(value, int):  # files of before transformers 4.26
        fields = Fields({"size": dict.fromkeys(default, value)}, fields.source)
    section = fields.section("size") or Fields(default, fields.source)
    if section.has("shortest_edge"):
        if section.has("longest_edge"):
            raise UnsupportedModel(f"{fields.source}: size with a longest_edge is not supported")
        return {"shortest_edge": section.integer("shortest_edge", high=1 << 14)}
    return {key: section.integer(key, high=1 << 14) for key in ("height", "width")}


def square(fields: Fields, key: str, default: int) -> dict[str, int]:
    value = fields.values.get(key)
    if isinstance(value, int):
        fields = Fields({key: {"height": value, "width": value}}, fields.source)
    section = fields.section(key) or Fields({"height": default, "width": default}, fields.source)
    return {key: section.integer(key, high=1 << 14) for key in ("height", "width")}


def check(fields: Fields, settings: dict[str, Any], side: int) -> None:
    """Raises `CheckpointError` unless pictures of all sizes end as squares of `side`."""
    size, ends = settings["size"], settings.get("crop_size")
    if ends is None and settings["do_resize"]:
        squared = settings.get("do_pad", False) or PROCESSORS[settings["image_processor_type"]].tiles
        ends = size
        if squared and "shortest_edge" in size:
            ends = dict.fromkeys(("height", "width"), size["shortest_edge"])
    if ends != {"height": side, "width": side}:
        raise CheckpointError(
            f"{fields.source}: the image processor's pictures are not the {side}x{side} pixels that the tower takes"
        )
