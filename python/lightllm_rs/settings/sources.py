"""Puts settings together: flags win over environment variables, these over the config file, this over defaults."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightllm_rs.settings.checks import check
from lightllm_rs.settings.config_file import from_file
from lightllm_rs.settings.environment import CONFIG_VARIABLE, from_environment
from lightllm_rs.settings.flags import UNSET, given
from lightllm_rs.settings.serve import ServeSettings


def load(parsed: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> ServeSettings:
    """The settings of one `lightllm-rs serve`. Raises SettingsError."""
    path = environment.get(CONFIG_VARIABLE) if parsed.config is UNSET else parsed.config
    values: dict[str, Any] = from_file(Path(path)) if path else {}
    values |= from_environment(environment)
    values |= given(parsed)
    settings = ServeSettings(**values)
    check(settings)
    return settings
