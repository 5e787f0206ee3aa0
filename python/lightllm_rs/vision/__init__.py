"""Pictures as tokens, without looking at them: sizes to grids, prompts to spans, spans to positions.

Importing this imports neither torch nor transformers.
"""

from __future__ import annotations

from ..messages.images import FIRST_SYNTHETIC
from .errors import PictureError, PromptError
from .geometry import Geometry, ImageShape
from .open import open_geometry
from .prompt import Expanded, ImageInput, Span, expand
from .synthetic import synthetic_ids

__all__ = [
    "FIRST_SYNTHETIC",
    "Expanded",
    "Geometry",
    "ImageInput",
    "ImageShape",
    "PictureError",
    "PromptError",
    "Span",
    "expand",
    "open_geometry",
    "synthetic_ids",
]
