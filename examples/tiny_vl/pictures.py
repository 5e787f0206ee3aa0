"""Pictures of scenes, drawn here, so that nobody else owns them.

python examples/tiny_vl/pictures.py FOLDER

writes one of each kind.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from random import Random

from PIL import Image, ImageDraw, ImageFont
from scenes import DIGITS, KINDS, SIDE, Scene, Thing, make_scene

PAINTS = {
    "red": (215, 35, 35),
    "green": (35, 155, 55),
    "blue": (40, 70, 215),
    "yellow": (240, 220, 45),
    "orange": (245, 135, 20),
    "purple": (140, 45, 175),
    "black": (15, 15, 15),
    "white": (240, 240, 240),
    "gray": (128, 128, 128),
}
JITTER = 14  # how far each channel of a paint may be off
POINTS = {"square": 4, "triangle": 3, "star": 10}


def draw(scene: Scene) -> Image.Image:
    """RGB, SIDE pixels square."""
    random = Random(scene.noise)

    def shade(colour: str) -> tuple[int, ...]:
        return tuple(min(255, max(0, part + random.randint(-JITTER, JITTER))) for part in PAINTS[colour])

    ground = shade(scene.ground)
    picture = Image.new("RGB", (SIDE, SIDE), ground)
    pen = ImageDraw.Draw(picture)
    for thing in scene.things:
        (x, y), radius, colour = thing.centre, thing.radius, shade(thing.colour)
        if thing.shape in DIGITS:
            font = ImageFont.load_default(size=2 * radius)
            pen.text((x, y), thing.shape, colour, font, anchor="mm", stroke_width=2)
        elif thing.shape in ("circle", "ring"):
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), colour)
            if thing.shape == "ring":
                hole = radius * 0.55
                pen.ellipse((x - hole, y - hole, x + hole, y + hole), ground)
        else:
            pen.polygon(corners(thing), colour)
    return picture


def corners(thing: Thing) -> list[tuple[float, float]]:
    """Of a shape with straight sides."""
    if thing.shape == "cross":
        arm = [(0.33, 1.0), (0.33, 0.33), (1.0, 0.33)]
        polar = [(math.hypot(*p), math.atan2(*p) + turn * math.pi / 2) for turn in range(4) for p in arm]
    else:
        count = POINTS[thing.shape]
        start = math.pi / 4 if thing.shape == "square" else 0.0
        lengths = (1.1, 0.45) if thing.shape == "star" else (1.1, 1.1)
        polar = [(lengths[index % 2], start + 2 * math.pi * index / count) for index in range(count)]
    (x, y), radius = thing.centre, thing.radius
    turned = [(length * radius, angle + thing.turn) for length, angle in polar]
    return [(x + length * math.sin(angle), y - length * math.cos(angle)) for length, angle in turned]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", default="pictures")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    random = Random(args.seed)
    for kind in KINDS:
        draw(make_scene(random, kind)).save(args.folder / f"{kind}.png")


if __name__ == "__main__":
    main()
