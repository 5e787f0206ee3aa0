"""A module whose weights come from a checkpoint."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ..checkpoint import CheckpointError, UnsupportedModel
from ..layers.weights import Layer, Weight
from .copies import Copies


class Loadable(nn.Module):
    """Its layers say which tensors they want; `load` gives them out."""

    def ignored(self, name: str) -> bool:
        """Whether a checkpoint's tensor is passed over though nobody wants it."""
        return False

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and whole shape of every checkpoint tensor that the model wants; to be called before `load`."""
        return {name: weight.shape for name, weight in self.wanted().items()}

    def wanted(self) -> dict[str, Weight]:
        weights = [weight for module in self.modules() if isinstance(module, Layer) for weight in module.weights()]
        table = {weight.name: weight for weight in weights}
        assert len(table) == len(weights), "two layers want the same tensor"
        return table

    @torch.no_grad()
    def load(self, tensors: Iterable[tuple[str, Tensor]], device: torch.device | None = None) -> None:
        """Store each (Hugging Face name, whole tensor), in any order, then let the layers pack what they hold.

        device: of the model; on a GPU tensors of the CPU are copied several at a time.

        Raises `CheckpointError` for a tensor that is missing, unexpected, given twice, or of another shape.
        """
        wanted = self.wanted()
        stored: set[str] = set()
        with Copies(device or torch.device("cpu")) as copies:
            self._store_all(tensors, wanted, stored, copies)
        missing = [name for name in wanted if name not in stored]
        if missing:
            some = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
            raise CheckpointError(f"{len(missing)} tensors are missing from the checkpoint: {some}")
        for module in self.modules():
            if isinstance(module, Layer):
                module.finish()

    def _store_all(
        self, tensors: Iterable[tuple[str, Tensor]], wanted: dict[str, Weight], stored: set[str], copies: Copies
    ) -> None:
        """Has all tensors stored that belong to the model, and notes their names."""
        for name, tensor in tensors:
            if self.ignored(name):
                continue
            weight = wanted.get(name)
            if weight is None:
                raise CheckpointError(f"unexpected tensor {name!r:.120}: the weights do not belong to this config")
            if name in stored:
                raise CheckpointError(f"tensor {name} is in the checkpoint twice")
            if tuple(tensor.shape) != weight.shape:
                raise CheckpointError(
                    f"tensor {name} has shape {list(tensor.shape)}, but the config says {list(weight.shape)}"
                )
            if weight.dtype is None and tensor.dtype.itemsize == 1:
                raise UnsupportedModel(f"tensor {name} is {tensor.dtype}, and quantization_config does not say so")
            if weight.dtype is not None and tensor.dtype != weight.dtype:
                raise CheckpointError(
                    f"tensor {name} is {tensor.dtype}, but quantization_config makes it {weight.dtype}"
                )
            copies.start(weight.store, tensor)
            stored.add(name)
