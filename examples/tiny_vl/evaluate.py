"""Asks a running server about pictures that the training never had, and counts the right answers.

lightllm-rs serve FOLDER --port 8000
python examples/tiny_vl/evaluate.py --url http://127.0.0.1:8000/v1 --pictures 200
"""

from __future__ import annotations

import argparse
import base64
import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from random import Random

from judge import CHOICES, right
from openai import OpenAI
from pictures import draw
from PIL import Image
from questions import WORDINGS, Question, questions
from scenes import KINDS, make_scene

# By column: is the wording one that the training never has, and the first thing's pair of colour and shape?
COLUMNS = {"new picture": (False, False), "and new wording": (True, False), "and new pair": (False, True)}


@dataclass(frozen=True)
class Asked:
    """A question, and what the server said."""

    column: str
    question: Question
    said: str


def data_url(picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def ask(client: OpenAI, model: str, picture: str, text: str) -> str:
    """One chat of one turn, the likeliest token each time."""
    content = [{"type": "image_url", "image_url": {"url": picture}}, {"type": "text", "text": text}]
    answer = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": content}],  # type: ignore[list-item,misc]
        temperature=0,
        max_tokens=32,
    )
    return answer.choices[0].message.content or ""


def evaluate(client: OpenAI, pictures: int, seed: str, at_once: int) -> list[Asked]:
    """All questions of so many pictures for each column, the kinds of scenes in turn."""
    model = client.models.list().data[0].id
    plan: list[tuple[str, str, Question]] = []
    for column, (fresh, unseen) in COLUMNS.items():
        random = Random(f"evaluate {seed}")
        for number in range(pictures):
            turn, kind = number // len(KINDS), KINDS[number % len(KINDS)]
            if unseen and kind == "digit":  # its shape is none of the pairs
                continue
            scene = make_scene(random, kind, unseen=unseen)
            picture = data_url(draw(scene))
            plan += [(column, picture, question) for question in questions(scene, -1 if fresh else turn)]
    with ThreadPoolExecutor(at_once) as pool:
        said = pool.map(lambda one: ask(client, model, one[1], one[2].text), plan)
        return [Asked(column, question, text) for (column, _, question), text in zip(plan, said, strict=True)]


def table(asked: list[Asked]) -> str:
    """Markdown: right / asked by topic, and chance."""
    lines = [f"| question | {' | '.join(COLUMNS)} | chance |", "|---" * (len(COLUMNS) + 2) + "|"]
    for topic in WORDINGS:
        cells = []
        for column in COLUMNS:
            ours = [one for one in asked if one.column == column and one.question.topic == topic]
            good = sum(right(one.question, one.said) for one in ours)
            cells.append(f"{100 * good / len(ours):.1f} % of {len(ours)}" if ours else "-")
        chance = f"{100 / CHOICES[topic]:.1f} %" if topic in CHOICES else "about 0"
        lines.append(f"| {topic} | {' | '.join(cells)} | {chance} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000/v1")
    parser.add_argument("--pictures", type=int, default=200, help="of each column")
    parser.add_argument("--seed", default="held out")
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--wrong", action="store_true", help="also print the wrong answers")
    args = parser.parse_args()
    asked = evaluate(OpenAI(base_url=args.url, api_key="none"), args.pictures, args.seed, args.at_once)
    print(table(asked))
    if args.wrong:
        for one in asked:
            if not right(one.question, one.said):
                print(f"{one.column}: {one.question.text} {one.said!r}, not {one.question.answer!r}")


if __name__ == "__main__":
    main()
