"""vision_config of Qwen2-VL, Qwen2.5-VL and Qwen3-VL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .errors import CheckpointError, UnsupportedModel
from .fields import Fields
from .vision_config import VisionConfig

Norm = Literal["layer", "rms"]
Mlp = Literal["plain", "gated"]


@dataclass(frozen=True)
class Patches:
    """side: of a patch in pixels. frames: that a patch covers; a picture is repeated. merge: patches of a square of
    merge by merge become one token."""

    side: int
    frames: int
    merge: int


@dataclass(frozen=True)
class QwenVision(VisionConfig):
    """A vision transformer over patches of any number of rows and columns, and the merger of neighbours after it.

    width_in: of the tower; width_out: of the language model.
    rope_theta: of the rotary positions in the tower, half of a head's pairs for rows and half for columns.
    activation: of the MLP's middle: "quick_gelu", "gelu_pytorch_tanh", "silu".
    window: side of the windows of attention in pixels, 0: attention is always over the whole picture.
    whole_layers: layers with attention over the whole picture, where `window` is not 0.
    position_side: side of the learned grid of positions that is resampled to each picture's, 0: there is none.
    stacked_layers: layers after which the deep-stack features are taken.
    """

    layers: int = 0
    width_in: int = 0
    width_out: int = 0
    heads: int = 0
    inner: int = 0
    activation: str = ""
    norm: Norm = "layer"
    mlp: Mlp = "plain"
    rope_theta: float = 1e4
    patch_bias: bool = False
    patches: Patches = Patches(14, 2, 2)
    window: int = 0
    whole_layers: tuple[int, ...] = ()
    position_side: int = 0
    stacked_layers: tuple[int, ...] = ()

    def check(self, hidden: int) -> None:
        if self.width_out != hidden:
            raise CheckpointError(
                f"the tower's features have {self.width_out} numbers, but the language model is {hidden} wide"
            )


def vision_fields(root: Fields) -> Fields:
    section = root.section("vision_config")
    if section is None:
        raise root.error("vision_config", "is missing")
    return section


def activation_of(fields: Fields, default: str, *known: str) -> str:
    found = fields.string("hidden_act", default)
    if found not in known:
        raise UnsupportedModel(f"{fields.source}: hidden_act {found!r:.40} is not supported: {', '.join(known)} is")
    return found


def layer_list(fields: Fields, key: str, default: tuple[int, ...], layers: int) -> tuple[int, ...]:
    """A list of layers, ascending."""
    found = fields.token_ids(key) if key in fields.values else default
    if any(layer >= layers for layer in found) or list(found) != sorted(set(found)):
        raise fields.error(
            key, f"must be a list of different layers below {layers}, ascending, not {list(found)!r:.60}"
        )
    return found


def qwen2_vision(root: Fields) -> QwenVision:
    """Qwen2-VL: layer norms, attention over the whole picture. Here hidden_size is that of the language model."""
    fields = vision_fields(root)
    width = fields.integer("embed_dim", 1280)
    ratio = fields.number("mlp_ratio", 4.0, low=0.1, high=64.0)
    return QwenVision(
        image_token=root.integer("image_token_id", 151655, low=0, high=1 << 31),
        layers=fields.integer("depth", 32, high=1024),
        width_in=width,
        width_out=fields.integer("hidden_size", 3584),
        heads=heads_of(fields, width),
        inner=int(width * ratio),
        activation=activation_of(fields, "quick_gelu", "quick_gelu"),
        rope_theta=theta_of(fields),
        patches=patches(fields, 14),
    )


def qwen25_vision(root: Fields) -> QwenVision:
    """Qwen2.5-VL: RMS norms, gated MLPs, attention in windows but for a few layers."""
    fields = vision_fields(root)
    layers, width = fields.integer("depth", 32, high=1024), fields.integer("hidden_size", 3584)
    sides = patches(fields, 14)
    window = fields.integer("window_size", 112)
    if window < sides.side * sides.merge:
        raise fields.error("window_size", f"({window}) is smaller than one token's patches")
    return QwenVision(
        image_token=root.integer("image_token_id", 151655, low=0, high=1 << 31),
        layers=layers,
        width_in=width,
        width_out=fields.integer("out_hidden_size", 3584),
        heads=heads_of(fields, width),
        inner=fields.integer("intermediate_size", 3420),
        activation=activation_of(fields, "silu", "silu"),
        norm="rms",
        mlp="gated",
        window=window,
        whole_layers=layer_list(fields, "fullatt_block_indexes", (7, 15, 23, 31), layers),
        rope_theta=theta_of(fields),
        patches=sides,
    )


def qwen3_vision(root: Fields) -> QwenVision:
    """Qwen3-VL: layer norms, learned positions beside the rotary ones, features of several layers."""
    fields = vision_fields(root)
    layers, width = fields.integer("depth", 27, high=1024), fields.integer("hidden_size", 1152)
    positions = fields.integer("num_position_embeddings", 2304)
    side = round(positions**0.5)
    if side * side != positions:
        raise fields.error("num_position_embeddings", f"must be the square of a number, not {positions}")
    stacked = layer_list(fields, "deepstack_visual_indexes", (8, 16, 24), layers)
    return QwenVision(
        image_token=root.integer("image_token_id", 151655, low=0, high=1 << 31),
        deep_stack=len(stacked),
        layers=layers,
        width_in=width,
        width_out=fields.integer("out_hidden_size", 3584),
        heads=heads_of(fields, width),
        inner=fields.integer("intermediate_size", 4304),
        activation=activation_of(fields, "gelu_pytorch_tanh", "gelu_pytorch_tanh"),
        patch_bias=True,
        position_side=side,
        stacked_layers=stacked,
        rope_theta=theta_of(fields),
        patches=patches(fields, 16),
    )


def heads_of(fields: Fields, width: int) -> int:
    """Attention heads. A head's dimensions are halved for rows and columns, and each half again for its pairs."""
    heads = fields.integer("num_heads", 16, high=4096)
    if width % (4 * heads):
        raise fields.error("num_heads", f"({heads}) must divide the tower's width ({width}) into multiples of 4")
    return heads


def theta_of(fields: Fields) -> float:
    section = fields.section("rope_parameters") or fields
    if (kind := section.string("rope_type", "axial")) != "axial":
        raise UnsupportedModel(f"{section.source}: RoPE type {kind!r:.40} is not supported: only axial is")
    return section.number("rope_theta", 1e4, low=1.0, high=1e12)


def patches(fields: Fields, side: int) -> Patches:
    channels = fields.integer("in_channels", fields.integer("in_chans", 3))
    if channels != 3:
        raise UnsupportedModel(f"{fields.source}: {channels} channels are not supported: 3 are")
    return Patches(
        side=fields.integer("patch_size", side, high=256),
        frames=fields.integer("temporal_patch_size", 2, high=16),
        merge=fields.integer("spatial_merge_size", 2, high=16),
    )
