"""Small traces of every format, made up."""

from __future__ import annotations

import json
from pathlib import Path

AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,396,109
2023-11-16 18:15:51.2224670,879,55
2023-11-16 18:16:51.2224670,91,16
"""

MOONCAKE = [
    {"timestamp": 0, "input_length": 1100, "output_length": 5, "hash_ids": [0, 1, 2]},
    {"timestamp": 3000, "input_length": 1030, "output_length": 7, "hash_ids": [0, 1, 9]},
    {"timestamp": 9000, "input_length": 600, "output_length": 3, "hash_ids": [5, 6]},
]

BURSTGPT = """Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45,GPT-4,1087,230,1317,API log
118,ChatGPT,417,276,693,Conversation log
"""

SHAREGPT = [[120, 30], [80, 12], [200, 9]]


def written(folder: Path) -> dict[str, tuple[Path, int]]:
    """One file of each format, and the requests in it."""
    files = {
        "azure": (folder / "azure.csv", AZURE, 4),
        "mooncake": (folder / "mooncake.jsonl", "".join(json.dumps(row) + "\n" for row in MOONCAKE), 3),
        "burstgpt": (folder / "burstgpt.csv", BURSTGPT, 3),
        "sharegpt": (folder / "sharegpt.json", json.dumps(SHAREGPT), 3),
    }
    for path, text, _ in files.values():
        path.write_text(text)
    return {kind: (path, requests) for kind, (path, _, requests) in files.items()}
