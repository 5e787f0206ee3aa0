"""Parts of Qwen's vision towers. [T, ...] are the patches of all pictures of a batch, one after the other.

x = patches (+ learned positions in Qwen3-VL); per layer x += attention(norm(x)), x += mlp(norm(x)); tokens =
merger(x). As in the language models a layer passes (what to add, sum so far) on.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...checkpoint import QwenVision
from ...kernels.rotary_kv import rotary_kv
from ...kernels.silu_mul import silu_mul
from ...layers.activation import activation
from ...layers.dense import Dense
from ...layers.layer_norm import LayerNorm
from ...layers.matrix import Matrix
from ...layers.norm import RmsNorm
from ...layers.parallel import TensorParallel
from ...layers.segment_attention import Segments, segment_attention
from ...layers.weights import Layer, Weight, part_of

EPS = 1e-6

ALIGNED = 128
"""Matrix products are fast where their inner sizes are multiples of this. Qwen2.5-VL's 3420 is not even one of 8."""


class PatchProjection(Layer):
    """[T, 3 * side * side] -> [T, width]. A picture's frames are all the same, so their weights are added up."""

    def __init__(self, vision: QwenVision, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__()
        self.frames, self.side = vision.patches.frames, vision.patches.side
        self.weight = torch.empty(vision.width_in, 3 * self.side**2, dtype=dtype, device=device)
        self.bias = torch.empty(vision.width_in, dtype=dtype, device=device) if vision.patch_bias else None

    def weights(self) -> Iterator[Weight]:
        name, width = "visual.patch_embed.proj", self.weight.shape[0]
        yield Weight(f"{name}.weight", (width, 3, self.frames, self.side, self.side), self.store)
        if self.bias is not None:
            yield Weight(f"{name}.bias", (width,), part_of(self.bias, slice(None)))

    def store(self, source: Tensor) -> None:
        self.weight.copy_(source.float().sum(2).flatten(1))

    def forward(self, patches: Tensor) -> Tensor:
        return F.linear(patches, self.weight, self.bias)


class LearnedPositions(Layer):
    """A square of `side` by `side` positions (Qwen3-VL), resampled to any grid."""

    def __init__(self, side: int, width: int, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__()
        self.weight = torch.empty(side * side, width, dtype=dtype, device=device)

    def weights(self) -> Iterator[Weight]:
        yield Weight("visual.pos_embed.weight", tuple(self.weight.shape), part_of(self.weight, slice(None)))

    def forward(self, entries: Tensor, parts: Tensor) -> Tensor:
        """float32 [T, width]: the sum of `entries` (int64 [4, T]), each times its part (float32 [4, T])."""
        total = self.weight.index_select(0, entries[0]) * parts[0, :, None]
        for entry, part in zip(entries[1:], parts[1:], strict=True):
            total += self.weight.index_select(0, entry) * part[:, None]
        return total


class PlainMlp(nn.Module):
    """down(activation(up(x)))."""

    def __init__(self, up: str, down: str, vision: QwenVision, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__()
        self.up = Dense(up, vision.inner, vision.width_in, True, dtype, device)
        self.down = Dense(down, vision.width_in, vision.inner, True, dtype, device)
        self.activation = activation(vision.activation)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down(self.activation(self.up(x)))
        return out


class GatedMlp(Layer):
    """down(silu(gate(x)) * up(x)). The middle is padded with zeros to a multiple of ALIGNED."""

    def __init__(self, name: str, vision: QwenVision, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__()
        self.name, self.inner, width = name, vision.inner, vision.width_in
        padded = -(-self.inner // ALIGNED) * ALIGNED
        self.starts = {"gate_proj": 0, "up_proj": padded}
        self.gate_up = Matrix(2 * padded, width, True, dtype, device)
        self.down = Matrix(width, padded, True, dtype, device)
        for matrix in (self.gate_up, self.down):
            assert matrix.weight is not None, "packed only when loaded"
            matrix.weight.zero_()
        assert self.gate_up.bias is not None, "made with one"
        self.gate_up.bias.zero_()

    def weights(self) -> Iterator[Weight]:
        width, inner = self.down.weight.shape[0], self.inner  # type: ignore[union-attr]
        weight, bias, down, down_bias = self.gate_up.weight, self.gate_up.bias, self.down.weight, self.down.bias
        assert weight is not None, "weights are asked for before packing"
        assert down is not None, "weights are asked for before packing"
        assert bias is not None, "made with one"
        assert down_bias is not None, "made with one"
        whole = slice(None)
        for part, start in self.starts.items():
            rows = slice(start, start + inner)
            yield Weight(f"{self.name}.{part}.weight", (inner, width), part_of(weight[rows], whole))
            yield Weight(f"{self.name}.{part}.bias", (inner,), part_of(bias[rows], whole))
        yield Weight(f"{self.name}.down_proj.weight", (width, inner), part_of(down[:, :inner], whole))
        yield Weight(f"{self.name}.down_proj.bias", (width,), part_of(down_bias, whole))

    def finish(self) -> None:
        self.gate_up.pack()
        self.down.pack()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down(silu_mul(self.gate_up(x)))
        return out


class Norm(nn.Module):
    """(x, residual) -> (norm(x + residual), x + residual), a layer norm or an RMS norm."""

    def __init__(self, name: str, kind: str, size: int, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__()
        rms = kind == "rms"
        self.rms = RmsNorm(name, size, EPS, dtype, device, TensorParallel(), 0) if rms else None
        self.layer = None if rms else LayerNorm(name, size, EPS, dtype, device)

    def forward(self, x: Tensor, residual: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if self.rms is not None:
            out: tuple[Tensor, Tensor] = self.rms(x, residual)
            return out
        assert self.layer is not None, "one of the two"
        total = x if residual is None else x + residual
        return self.layer(total), total


class Block(nn.Module):
    """Layer `index`."""

    def __init__(self, index: int, vision: QwenVision, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__()
        name, width = f"visual.blocks.{index}", vision.width_in
        self.heads, self.head_dim = vision.heads, width // vision.heads
        self.attention_norm = Norm(f"{name}.norm1", vision.norm, width, dtype, device)
        self.qkv = Dense(f"{name}.attn.qkv", 3 * width, width, True, dtype, device)
        self.out = Dense(f"{name}.attn.proj", width, width, True, dtype, device)
        self.mlp_norm = Norm(f"{name}.norm2", vision.norm, width, dtype, device)
        self.mlp: nn.Module
        if vision.mlp == "gated":
            self.mlp = GatedMlp(f"{name}.mlp", vision, dtype, device)
        else:
            up, down = ("linear_fc1", "linear_fc2") if vision.position_side else ("fc1", "fc2")
            self.mlp = PlainMlp(f"{name}.mlp.{up}", f"{name}.mlp.{down}", vision, dtype, device)

    def forward(
        self, x: Tensor, residual: Tensor | None, rope: Tensor, tokens: Tensor, segments: Segments
    ) -> tuple[Tensor, Tensor]:
        normed, residual = self.attention_norm(x, residual)
        shape = (x.shape[0], 1, self.heads, self.head_dim)
        k, v = (torch.empty(shape, dtype=x.dtype, device=x.device) for _ in range(2))
        # The rotary kernel of the language models: "pages" of one token each, every token in its own.
        q = rotary_kv(self.qkv(normed), rope, k, v, tokens)
        mixed = segment_attention(q, k[:, 0], v[:, 0], segments)
        normed, residual = self.mlp_norm(self.out(mixed.reshape(x.shape)), residual)
        assert residual is not None, "a norm returns the sum"
        return self.mlp(normed), residual


class Merger(nn.Module):
    """Squares of neighbours become tokens: [T, width] -> [T / square, hidden].

    after: the norm is over a square's patches together (deep-stack features) rather than over each.
    """

    def __init__(
        self,
        names: tuple[str, str, str],
        vision: QwenVision,
        after: bool,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        super().__init__()
        self.after, self.size = after, vision.width_in * vision.patches.merge**2
        norm, first, second = names
        self.norm = Norm(norm, vision.norm, self.size if after else vision.width_in, dtype, device)
        self.first = Dense(first, self.size, self.size, True, dtype, device)
        self.second = Dense(second, vision.width_out, self.size, True, dtype, device)

    def forward(self, x: Tensor) -> Tensor:
        if self.after:
            x = x.reshape(-1, self.size)
        normed = self.norm(x)[0].reshape(-1, self.size)
        out: Tensor = self.second(F.gelu(self.first(normed)))
        return out
