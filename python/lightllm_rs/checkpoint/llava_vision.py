"""What config.json says of the pictures of LLaVA-1.5 and LLaVA-NeXT."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .errors import CheckpointError, UnsupportedModel
from .fields import Fields
from .vision_config import VisionConfig
from .vit_config import VitConfig, vit_config

DEFAULT_PINPOINTS = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]


@dataclass(frozen=True, kw_only=True)
class LlavaVision(VisionConfig):
    """A tower whose states after `depths` layers, side by side, go through a projector of two matrices.

    drop_first: the first row of a state, CLIP's class token, is left out.
    activation, bias: of the projector.
    pinpoints: (height, width) in pixels of the grids of tiles that LLaVA-NeXT chooses from; () for LLaVA-1.5.
    """

    tower: VitConfig
    depths: tuple[int, ...]
    drop_first: bool
    activation: str
    bias: bool
    pinpoints: tuple[tuple[int, int], ...] = ()

    @property
    def tile_tokens(self) -> int:
        """Rows of features of one picture of the tower."""
        return self.tower.side**2 + self.tower.has_class - self.drop_first


def llava_vision(fields: Fields) -> LlavaVision:
    """Of a LlavaForConditionalGeneration."""
    section = fields.section("vision_config")
    if section is None:
        raise fields.error("vision_config", "is missing")
    tower = vit_config(section, "clip_vision_model")
    strategy = fields.string("vision_feature_select_strategy", "default")
    if strategy not in ("default", "full"):
        raise UnsupportedModel(f"{fields.source}: vision_feature_select_strategy {strategy!r:.40} is not supported")
    return LlavaVision(
        image_token=image_token(fields),
        tower=tower,
        depths=depths(fields, tower.layers, -2),
        drop_first=strategy == "default",
        activation=fields.string("projector_hidden_act", "gelu"),
        bias=fields.flag("multimodal_projector_bias", True),
    )


def llava_next_vision(fields: Fields) -> LlavaVision:
    """Of a LlavaNextForConditionalGeneration."""
    config = llava_vision(fields)
    if config.tile_tokens != config.tower.side**2:
        raise UnsupportedModel(
            f"{fields.source}: vision_feature_select_strategy does not fit a {config.tower.kind} tower: its features "
            "are no grid of patches"
        )
    values = fields.values.get("image_grid_pinpoints")
    return replace(config, pinpoints=pinpoints(fields, values, config.tower.image))


def image_token(fields: Fields) -> int:
    """The id of the token that stands for a picture in a prompt."""
    key = "image_token_id" if fields.has("image_token_id") else "image_token_index"
    return fields.integer(key, low=0, high=(1 << 31) - 1)


def depths(fields: Fields, layers: int, default: int) -> tuple[int, ...]:
    """vision_feature_layer: indexes, negative ones from the end, of the states before the first layer and after each.

    Returned as numbers of layers gone through.
    """
    value = fields.values.get("vision_feature_layer")
    chosen = [default] if value is None else value if isinstance(value, list) else [value]
    for index in chosen:
        if isinstance(index, bool) or not isinstance(index, int) or not -layers - 1 <= index <= layers:
            raise fields.error("vision_feature_layer", f"must name layers of {layers}, not {value!r:.60}")
    if not chosen:
        raise fields.error("vision_feature_layer", "names no layer")
    return tuple(index % (layers + 1) for index in chosen)


def pinpoints(fields: Fields, value: object, tile: int) -> tuple[tuple[int, int], ...]:
    """image_grid_pinpoints, each a multiple of the tile's side."""
    if value is None:
        value = DEFAULT_PINPOINTS
    if not isinstance(value, list) or not 1 <= len(value) <= 1024:
        raise fields.error("image_grid_pinpoints", f"must be a list of [height, width], not {value!r:.60}")
    for pair in value:
        whole = isinstance(pair, list) and len(pair) == 2 and all(type(side) is int for side in pair)
        if not whole or not all(0 < side <= 1 << 14 for side in pair):
            raise fields.error("image_grid_pinpoints", f"must be a list of [height, width], not {value!r:.60}")
        if pair[0] % tile or pair[1] % tile:
            raise CheckpointError(
                f"{fields.source}: image_grid_pinpoints has {pair}, which is no multiple of the tower's {tile} pixels"
            )
    return tuple((pair[0], pair[1]) for pair in value)
