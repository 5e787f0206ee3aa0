"""Flags, environment, config file: what they set, and who wins."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from lightllm_rs.cli import parser
from lightllm_rs.settings import ServeSettings, SettingsError
from lightllm_rs.settings.document import markdown
from lightllm_rs.settings.fields import by_name, fields
from lightllm_rs.settings.flags import normalised
from lightllm_rs.settings.sources import load, load_with_places


def parsed(*arguments: str) -> argparse.Namespace:
    return parser().parse_args(normalised(["serve", *arguments]))


def settings(*arguments: str, **environment: str) -> ServeSettings:
    return load(parsed(*arguments), environment)


# As the users of the field know them.
NAMES = {
    "model": ["--model", "--model-path", "--model-dir"],
    "tp": ["--tp", "--tp-size", "--tensor-parallel-size"],
    "mem_fraction": ["--mem-fraction", "--gpu-memory-utilization", "--mem-fraction-static"],
    "max_model_len": ["--max-model-len", "--context-length", "--max-req-total-len"],
    "max_num_seqs": ["--max-num-seqs", "--max-running-requests", "--running-max-req-size"],
    "max_num_batched_tokens": ["--max-num-batched-tokens", "--batch-max-tokens"],
    "chunked_prefill_size": ["--chunked-prefill-size"],
    "served_model_name": ["--served-model-name", "--model-name"],
    "dtype": ["--dtype", "--data-type"],
    "host": ["--host"],
    "port": ["--port"],
    "api_key": ["--api-key"],
    "admin_api_key": ["--admin-api-key"],
    "load_format": ["--load-format"],
    "http_workers": ["--http-workers"],
    "revision": ["--revision"],
    "device": ["--device"],
    "seed": ["--seed"],
    "allowed_origins": ["--allowed-origins"],
    "allowed_media_domains": ["--allowed-media-domains"],
    "max_images": ["--max-images"],
    "log_level": ["--log-level"],
    "router_max_wait_tokens": ["--router-max-wait-tokens"],
    "schedule_mode": ["--schedule-mode"],
    "admission_policy": ["--admission-policy"],
    "eviction_policy": ["--eviction-policy"],
    "router_seed": ["--router-seed"],
}
VALUES: dict[str, tuple[str, Any]] = {
    "dtype": ("float16", "float16"),
    "device": ("cpu", "cpu"),
    "load_format": ("dummy", "dummy"),
    "log_level": ("debug", "debug"),
    "mem_fraction": ("0.5", 0.5),
    "schedule_mode": ("decode-first", "decode-first"),
    "admission_policy": ("past_future", "past_future"),
    "eviction_policy": ("cost-aware", "cost-aware"),
    "allowed_media_domains": ("a.example, *.b.example", ("a.example", "*.b.example")),
    "allowed_origins": ("https://a.example, http://b.example", ("https://a.example", "http://b.example")),
}

# Variables without which a setting is refused.
NEEDS = {
    "router_token_ratio": {"LIGHTLLM_ADMISSION_POLICY": "ema"},
    "admission_watermark": {"LIGHTLLM_ADMISSION_POLICY": "aggressive"},
    "past_future_window": {"LIGHTLLM_ADMISSION_POLICY": "past_future"},
    "past_future_reserve": {"LIGHTLLM_ADMISSION_POLICY": "past_future"},
    "journal_tokens": {"LIGHTLLM_JOURNAL": "journal.jsonl"},
}


@pytest.mark.parametrize("field", NAMES)
@pytest.mark.parametrize("write", [lambda flag: flag, lambda flag: "--" + flag[2:].replace("-", "_")])
def test_every_name_sets_its_field(field: str, write: Any) -> None:
    text, value = VALUES.get(field, ("7", "7" if by_name()[field].kind is str else 7))
    for flag in NAMES[field]:
        assert getattr(settings(write(flag), text), field) == value
        assert getattr(settings(f"{write(flag)}={text}"), field) == value


def test_the_remaining_names() -> None:
    assert settings("--no-enable-prefix-caching").prefix_caching is False
    assert settings("--enforce-eager").enforce_eager
    assert settings("--trust_remote_code").trust_remote_code
    assert settings("some/model").model == "some/model"
    assert settings().model is None


def test_no_two_settings_share_a_name() -> None:
    flags = [flag for field in fields() for flag in field.flags]
    assert len(flags) == len(set(flags))
    assert len({field.environment for field in fields()}) == len(fields())
    assert set(by_name()) == set(ServeSettings.__struct_fields__)


def test_values_keep_their_underscores() -> None:
    assert settings("--served_model_name", "my_model", "--tokenizer=/").served_model_name == "my_model"
    assert normalised(["serve", "a_b", "--x_y=c_d", "--", "--e_f"]) == ["serve", "a_b", "--x-y=c_d", "--", "--e_f"]


def test_flags_win_over_environment_over_file(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text('{"port": 1, "seed": 1, "tp": 1, "max-num-seqs": 9}')
    found = settings("--config", str(config), "--port", "3", LIGHTLLM_PORT="2", LIGHTLLM_SEED="2")
    assert (found.port, found.seed, found.tp, found.max_num_seqs) == (3, 2, 1, 9)
    assert settings(LIGHTLLM_CONFIG=str(config)).port == 1


def test_where_each_setting_was_given(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text('{"max-images": 16, "seed": 1, "tp": 1}')
    flags = parsed("--config", str(config), "--mm_cache_size", "0", "--model-path", "x")
    _, places = load_with_places(flags, {"LIGHTLLM_VISUAL_DP": "1", "LIGHTLLM_SEED": "2"})
    assert places == {
        "max_images": f"max_images in {config}",
        "tp": f"tp in {config}",
        "seed": "LIGHTLLM_SEED",
        "visual_dp": "LIGHTLLM_VISUAL_DP",
        "mm_cache_size": "--mm-cache-size",
        "model": "--model",
    }
    assert load_with_places(parsed(), {}) == (ServeSettings(), {})


def test_toml_and_json_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(
        'model = "x"\nport = 5\nmem-fraction = 1\nallowed_origins = ["https://a"]\nprefix_caching = false\n'
    )
    (tmp_path / "a.json").write_text(
        '{"model_path": "x", "port": 5, "mem_fraction": 1, "allowed-origins": ["https://a"],'
        ' "enable-prefix-caching": false}'
    )
    json = settings("--config", str(tmp_path / "a.json"))
    assert (json.model, json.port, json.mem_fraction, json.prefix_caching) == ("x", 5, 1.0, False)
    assert json.allowed_origins == ("https://a",)
    pytest.importorskip("tomllib", reason="TOML needs Python 3.11")
    assert settings("--config", str(tmp_path / "a.toml")) == json


def test_environment_sets_every_field() -> None:
    for field in fields():
        part = "0.5" if field.high is not None and field.high < 1 else "1"
        text = {bool: "true", int: "1", float: part, str: "x", tuple: "https://x"}[field.kind]
        found = (
            settings(**{field.environment: field.choices[0] if field.choices else text}, **NEEDS.get(field.name, {}))
            if field.name
            not in (
                "ssl_keyfile",
                "ssl_certfile",
                "chat_template",
                "tokenizer",
                "max_body_bytes",
                "allowed_media_domains",
                "allowed_local_media_path",
                "admission_parameters",
                "trace_dir",
                "trace_steps",
            )
            else None
        )
        if found is not None:
            assert getattr(found, field.name) == field.parse(field.choices[0] if field.choices else text, "x")


def test_kubernetes_leaves_its_variables_everywhere() -> None:
    found = settings(
        LIGHTLLM_SERVICE_HOST="10.0.0.1",
        LIGHTLLM_SERVICE_PORT="80",
        LIGHTLLM_PORT_80_TCP="tcp://10.0.0.1:80",
        LIGHTLLM_PORT_80_TCP_ADDR="10.0.0.1",
        LIGHTLLM_DEMO_PORT="tcp://10.0.0.1:80",
        LIGHTLLM_DEMO_SERVICE_PORT_HTTP="80",
    )
    assert found == ServeSettings()
    with pytest.raises(SettingsError, match="enableServiceLinks"):
        settings(LIGHTLLM_PORT="tcp://10.0.0.1:80")


def test_the_page_of_the_docs_is_up_to_date() -> None:
    page = Path(__file__).parents[2] / "docs" / "settings.md"
    assert page.read_text() == markdown(), "run: python -m lightllm_rs.settings > docs/settings.md"
    assert all(f"`{field.environment}`" in markdown() for field in fields())
