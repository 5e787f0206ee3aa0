"""The plain vision transformer of CLIP, SigLIP and InternViT.

x = patches (after a class token, but for SigLIP) + positions, normed at once in CLIP; per layer
x += scale * attention(norm(x)), x += scale * mlp(norm(x)), where only InternViT has scales. Attention is over all
patches of one square picture, without a mask.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...checkpoint.vit_config import VitConfig
from ...layers.activation import activation
from ...layers.dense import Dense
from ...layers.layer_norm import LayerNorm
from ...layers.norm import RmsNorm
from ...layers.parallel import TensorParallel
from ...layers.patches import PatchEmbedding
from ...layers.weights import Layer, Weight, part_of


@dataclass(frozen=True)
class Names:
    """What the checkpoint calls the parts, after the tower's prefix; a layer's begin with `layers`.{index}.

    first: the class token.
    """

    patches: str
    positions: str
    first: str
    layers: str
    norms: tuple[str, str]
    attention: str
    out: str


CLIP_NAMES = Names(
    patches="embeddings.patch_embedding",
    positions="embeddings.position_embedding.weight",
    first="embeddings.class_embedding",
    layers="encoder.layers",
    norms=("layer_norm1", "layer_norm2"),
    attention="self_attn",
    out="out_proj",
)
INTERNVIT_NAMES = Names(
    patches="embeddings.patch_embeddings.projection",
    positions="embeddings.position_embeddings",
    first="embeddings.cls_token",
    layers="encoder.layer",
    norms=("layernorm_before", "layernorm_after"),
    attention="attention",
    out="projection_layer",
)
NAMES = {"clip": CLIP_NAMES, "siglip": CLIP_NAMES, "internvit": INTERNVIT_NAMES}


class Embeddings(Layer):
    """pixels [N, 3, image, image] -> [N, tokens, hidden]: patches with their positions, after the class token."""

    def __init__(self, name: str, config: VitConfig, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__()
        self.name, self.config, self.names = name, config, NAMES[config.kind]
        self.patches = PatchEmbedding(
            f"{name}.{self.names.patches}", config.hidden, 3, config.patch, config.kind != "clip", dtype, device
        )
        tokens = config.side**2 + config.has_class
        self.positions = torch.empty(tokens, config.hidden, dtype=dtype, device=device)
        self.token = torch.empty(config.hidden, dtype=dtype, device=device) if config.has_class else None

    def weights(self) -> Iterator[Weight]:
        stacked = self.config.kind == "internvit"  # its checkpoints keep the dimensions that broadcast
        rows = tuple(self.positions.shape)
        shape = (1, *rows) if stacked else rows
        yield Weight(f"{self.name}.{self.names.positions}", shape, lambda t: store_as(self.positions, t))
        if self.token is not None:
            token, size = self.token, self.token.shape[0]
            shape = (1, 1, size) if stacked else (size,)
            yield Weight(f"{self.name}.{self.names.first}", shape, lambda t: store_as(token, t))

    def forward(self, pixels: Tensor) -> Tensor:
        x: Tensor = self.patches(pixels)
        if self.token is not None:
            x = torch.cat((self.token.expand(x.shape[0], 1, -1), x), dim=1)
        return x + self.positions


class VitLayer(Layer):
    """[N * tokens, hidden] -> the same shape; its tensors' names begin with `name`."""

    def __init__(self, name: str, config: VitConfig, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__()
        self.name, self.heads, names = name, config.heads, NAMES[config.kind]
        hidden, attention = config.hidden, f"{name}.{names.attention}"
        self.norms = nn.ModuleList(make_norm(f"{name}.{norm}", config, dtype, device) for norm in names.norms)
        self.qkv = Dense([f"{attention}.{part}_proj" for part in "qkv"], hidden, hidden, config.qkv_bias, dtype, device)
        self.head_norms = nn.ModuleList(
            RmsNorm(f"{attention}.{part}_norm", hidden, 1e-6, dtype, device, TensorParallel(), 0)
            for part in ("qk" if config.qk_norm else "")
        )
        self.out = Dense(f"{attention}.{names.out}", hidden, hidden, True, dtype, device)
        self.up = Dense(f"{name}.mlp.fc1", config.intermediate, hidden, True, dtype, device)
        self.down = Dense(f"{name}.mlp.fc2", hidden, config.intermediate, True, dtype, device)
        self.activation = activation(config.activation)
        scaled = config.kind == "internvit"
        self.scales = [torch.empty(hidden, dtype=dtype, device=device) for _ in range(2 if scaled else 0)]

    def weights(self) -> Iterator[Weight]:
        for index, scale in enumerate(self.scales):
            yield Weight(f"{self.name}.lambda_{index + 1}", tuple(scale.shape), part_of(scale, slice(None)))

    def forward(self, x: Tensor, tokens: int) -> Tensor:
        x = self.add(x, self.attention(normed(self.norms[0], x), tokens), 0)
        return self.add(x, self.down(self.activation(self.up(normed(self.norms[1], x)))), 1)

    def add(self, x: Tensor, branch: Tensor, index: int) -> Tensor:
        return x + (branch * self.scales[index] if self.scales else branch)

    def attention(self, x: Tensor, tokens: int) -> Tensor:
        """Among each picture's `tokens` rows."""
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        if self.head_norms:
            q, k = (normed(norm, part.contiguous()) for norm, part in zip(self.head_norms, (q, k), strict=True))
        q, k, v = (
            part.reshape(-1, tokens, self.heads, part.shape[-1] // self.heads).transpose(1, 2) for part in (q, k, v)
        )
        mixed = F.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.out(mixed.transpose(1, 2).reshape(x.shape))
        return out


class VisionTransformer(nn.Module):
    """pixels [N, 3, image, image] -> hidden states [N, tokens, hidden] of the layers that are asked for.

    depths: how many layers each state has gone through, 0 being the input of the first. No layer above the deepest is
    built.
    """

    def __init__(
        self, name: str, config: VitConfig, depths: Sequence[int], dtype: torch.dtype, device: torch.device
    ) -> None:
        super().__init__()
        self.image = config.image
        self.name, self.depths, self.listed = name, tuple(depths), f"{name}.{NAMES[config.kind].layers}."
        self.embeddings = Embeddings(name, config, dtype, device)
        clip = config.kind == "clip"
        self.first_norm = make_norm(f"{name}.pre_layrnorm", config, dtype, device) if clip else None
        self.layers = nn.ModuleList(
            VitLayer(f"{self.listed}{index}", config, dtype, device) for index in range(max(self.depths))
        )

    def blank(self, pixels: int) -> Tensor:
        """uint8 [N, 3, image, image] on the CPU: as many squares as have so many pixels, all zero."""
        return torch.zeros((pixels // self.image**2, 3, self.image, self.image), dtype=torch.uint8)

    def unused(self, tensor: str) -> bool:
        """Whether a tensor of the checkpoint is of what comes after the deepest state: layers, last norm, pooling."""
        if tensor.startswith(self.listed):
            index = tensor[len(self.listed) :].partition(".")[0]
            return index.isdecimal() and int(index) >= len(self.layers)
        return tensor.startswith((f"{self.name}.post_layernorm.", f"{self.name}.head."))

    def forward(self, pixels: Tensor) -> list[Tensor]:
        x: Tensor = self.embeddings(pixels)
        if self.first_norm is not None:
            x = self.first_norm(x)
        shape = x.shape
        x = x.reshape(-1, shape[-1])
        states = {0: x}
        for index, layer in enumerate(self.layers):
            x = states[index + 1] = layer(x, shape[1])
            if index not in self.depths:
                del states[index]
        return [states[depth].view(shape) for depth in self.depths]


def make_norm(name: str, config: VitConfig, dtype: torch.dtype, device: torch.device) -> Layer:
    if config.rms:
        return RmsNorm(name, config.hidden, config.eps, dtype, device, TensorParallel(), 0)
    return LayerNorm(name, config.hidden, config.eps, dtype, device)


def normed(norm: nn.Module, x: Tensor) -> Tensor:
    """norm(x) of either kind of norm."""
    out = norm(x)
    result: Tensor = out[0] if isinstance(norm, RmsNorm) else out
    return result


def store_as(target: Tensor, source: Tensor) -> None:
    target.copy_(source.view(target.shape))
