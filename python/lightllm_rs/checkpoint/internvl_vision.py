"""What config.json says of the pictures of InternVL, in the format of transformers."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import UnsupportedModel
from .fields import Fields
from .llava_vision import depths, image_token
from .vision_config import VisionConfig
from .vit_config import VitConfig, vit_config


@dataclass(frozen=True, kw_only=True)
class InternVLVision(VisionConfig):
    """A tower whose patches go, `merge` by `merge` of them in one row, through a projector of a norm and two matrices.

    depth: layers that they go through before. normed: the tower's last norm applies.
    """

    tower: VitConfig
    depth: int
    normed: bool
    merge: int
    activation: str

    @property
    def side(self) -> int:
        """Rows of features in a row of a tile."""
        return self.tower.side // self.merge


def internvl_vision(fields: Fields) -> InternVLVision:
    """Of an InternVLForConditionalGeneration."""
    section = fields.section("vision_config")
    if section is None:
        raise fields.error("vision_config", "is missing")
    tower = vit_config(section, "internvl_vision")
    if tower.kind != "internvit":
        raise UnsupportedModel(f"{fields.source}: InternVL with a {tower.kind} tower is not supported")
    strategy = fields.string("vision_feature_select_strategy", "default")
    if strategy != "default":
        raise UnsupportedModel(f"{fields.source}: vision_feature_select_strategy {strategy!r:.40} is not supported")
    layers = depths(fields, tower.layers, -1)
    if len(layers) != 1:
        raise UnsupportedModel(f"{fields.source}: vision_feature_layer must be one layer")
    ratio = fields.number("downsample_ratio", 0.5, low=1 / 16, high=1.0)
    merge = round(1 / ratio)
    if merge * ratio != 1.0 or tower.side % merge:
        raise UnsupportedModel(
            f"{fields.source}: downsample_ratio {ratio:g} does not fit a tower of {tower.side} by {tower.side} patches"
        )
    last = fields.values.get("vision_feature_layer", -1) in (-1, None)
    return InternVLVision(
        image_token=image_token(fields),
        tower=tower,
        depth=layers[0],
        normed=tower.final_norm and last,
        merge=merge,
        activation=fields.string("projector_hidden_act", "gelu"),
    )
