"""Settings that are refused, and the line that says why."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lightllm_rs.cli import main
from lightllm_rs.settings import ServeSettings, SettingsError
from lightllm_rs.settings.checks import warnings
from settings.test_sources import settings


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "70000"], "--port must be at most 65535, and is 70000"),
        (["--port", "http"], "--port must be a whole number, and is 'http'"),
        (["--mem-fraction", "0"], "--mem-fraction must be at least 0.01, and is 0.0"),
        (["--mem-fraction", "nan"], "--mem-fraction must be at least 0.01, and is nan"),
        (["--mem-fraction", "inf"], "--mem-fraction must be at most 1, and is inf"),
        (["--gpu-memory-utilization", "x"], "--mem-fraction must be a number, and is 'x'"),
        (
            ["--dtype", "int8"],
            "--dtype must be one of auto, float32, bfloat16, float16, fp32, float, bf16, fp16, half, and is 'int8'",
        ),
        (["--tp", "0"], "--tp must be at least 1, and is 0"),
        (["--api-key", ""], "--api-key is empty: give a value or leave it out"),
        (["--speculative-model", "fp8"], "unrecognized arguments: --speculative-model"),
        (["--por", "80"], "unrecognized arguments: --por"),
        (["a", "--model", "b"], "the model is given twice"),
        (["--port"], "argument --port: expected one argument"),
        (["--page-size", "24"], "--page-size must be a power of two, and is 24"),
        (["--ssl-keyfile", __file__], "TLS needs both the key and the certificate: give --ssl-certfile too"),
        (["--ssl-keyfile", "/no", "--ssl-certfile", "/no"], "--ssl-keyfile: there is no file /no"),
        (["--chat-template", "/no.jinja"], "--chat-template: there is no file /no.jinja"),
        (["--tokenizer", "/no"], "--tokenizer: there is no file or folder /no"),
        (["--chunked-prefill-size", "9", "--max-num-batched-tokens", "8"], "a chunk has to fit in one step"),
        (["--max-num-seqs", "9", "--max-num-batched-tokens", "8"], "each running request takes a token of a step"),
        (["--backend", "mock", "--tp", "2"], "--backend mock has one rank only"),
        (["--allowed-origins", "example.org"], "'example.org' is no origin"),
        (["--allowed-media-domains", "https://a.example"], "'https://a.example' is no host: write it as example.org"),
        (["--allowed-media-domains", "*"], "'*' is no host"),
        (["--allowed-media-domains", ""], "--allowed-media-domains is empty: give a value or leave it out"),
        (["--allowed-media-domains", " , "], "--allowed-media-domains is empty: give a value or leave it out"),
        (["--max-image-pixels", "90000000"], "--max-image-pixels must be at most 89000000, and is 90000000"),
        (["--allowed-local-media-path", "/no"], "--allowed-local-media-path: there is no folder /no"),
        (["--image-fetch-timeout", "0"], "--image-fetch-timeout must be at least 0.1"),
        (["--router_token_ratio", "0.8"], "--router-token-ratio is for --admission-policy ema, and that is forecast"),
        (["--admission-policy", "ema", "--past-future-window", "9"], "--past-future-window is for"),
        (["--admission-parameters", "window"], "'window' is no setting: write it as name=number"),
        (["--admission-parameters", "window=nan"], "'window=nan' is no setting: write it as name=number"),
        (["--admission-policy", "fifo"], "must be one of conservative, aggressive, ema, past_future, forecast"),
        (["--past-future-reserve", "1"], "--past-future-reserve must be at most 0.5, and is 1.0"),
        (["--priority-age-seconds", "0"], "--priority-age-seconds must be at least 0.001"),
        (["--journal-tokens"], "--journal-tokens has nothing to write into: give --journal FILE too"),
        (["--journal", "/no/journal"], "--journal: /no/journal cannot be made"),
        (["--journal", "/"], "--journal: / cannot be made"),
        (["--trace-steps", "1:2"], "--trace-steps has nowhere to write to: give --trace-dir DIR too"),
        (["--trace-steps", "5:5"], "--trace-steps must be FIRST:END with FIRST below END"),
        (["--trace-dir", "/no"], "--trace-dir: there is no folder /no"),
        (["--trace-dir", "/", "--backend", "mock"], "--backend mock has none"),
        (["--config", "/no.json"], "the config file /no.json cannot be read: No such file or directory"),
    ],
)
def test_bad_flags(arguments: list[str], message: str) -> None:
    with pytest.raises(SettingsError) as error:
        settings(*arguments)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"LIGHTLLM_PORT": "x"}, "LIGHTLLM_PORT must be a whole number, and is 'x'"),
        ({"LIGHTLLM_PREFIX_CACHING": "perhaps"}, "LIGHTLLM_PREFIX_CACHING must be true or false, and is 'perhaps'"),
        ({"LIGHTLLM_ALLOWED_MEDIA_DOMAINS": ""}, "LIGHTLLM_ALLOWED_MEDIA_DOMAINS is empty"),
        ({"LIGHTLLM_PROT": "1"}, "LIGHTLLM_PROT names no setting: did you mean LIGHTLLM_PORT?"),
        ({"LIGHTLLM_XYZZY_QUUX": "1"}, "LIGHTLLM_XYZZY_QUUX names no setting: unset it"),
    ],
)
def test_bad_variables(environment: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError) as error:
        settings(**environment)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "does not parse"),
        ("[1]", "must hold one object"),
        ('{"prot": 1}', "'prot' names no setting: did you mean port?"),
        ('{"port": "1"}', "port must be a whole number, and is '1'"),
        ('{"port": true}', "port must be a whole number, and is True"),
        ('{"port": 1.5}', "port must be a whole number, and is 1.5"),
        ('{"host": 5}', "host must be text, and is 5"),
        ('{"prefix_caching": 1}', "prefix_caching must be true or false, and is 1"),
        ('{"allowed_origins": "https://a"}', "allowed_origins must be a list of texts, and is 'https://a'"),
        ('{"port": 1, "port_": 2}', "'port_' names no setting"),
        ('{"tp": 1, "tp-size": 2}', "tp is set twice"),
        ("[" * 100_000, "does not parse"),
    ],
)
def test_bad_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(SettingsError) as error:
        settings("--config", str(path))
    assert message in str(error.value)


def test_other_kinds_of_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("port: 1")
    with pytest.raises(SettingsError, match=r"must end in \.json or \.toml"):
        settings("--config", str(path))
    binary = tmp_path / "config.json"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="not UTF-8"):
        settings("--config", str(binary))


def test_an_open_host_without_a_key_is_warned_of() -> None:
    assert warnings(ServeSettings()) == []
    assert warnings(ServeSettings(host="localhost")) == []
    assert warnings(ServeSettings(host="::1")) == []
    assert warnings(ServeSettings(host="0.0.0.0", api_key="k")) == []
    assert len(warnings(ServeSettings(host="0.0.0.0"))) == 1
    assert "LIGHTLLM_API_KEY" in warnings(ServeSettings(host="example.org"))[0]


def test_the_command_says_it_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--port", "x"]) == 2
    captured = capsys.readouterr()
    assert captured.err == "lightllm-rs: --port must be a whole number, and is 'x'\n"
    assert captured.out == ""
    assert main(["sing"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert main([]) == 2


def test_version_and_help_need_neither_torch_nor_numpy() -> None:
    script = (
        "import sys; from lightllm_rs.cli import main\n"
        "try:\n    main(['serve', '--help'])\nexcept SystemExit:\n    pass\n"
        "assert main(['version']) == 0\n"
        "bad = {'torch', 'triton', 'transformers', 'zmq', 'fastapi'} & set(sys.modules)\n"
        "assert not bad, bad\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert "--gpu-memory-utilization" in done.stdout
