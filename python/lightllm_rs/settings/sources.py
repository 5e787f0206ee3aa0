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
from lightllm_rs.settings.fields import by_name
from lightllm_rs.settings.flags import UNSET, given
from lightllm_rs.settings.serve import ServeSettings


def load(parsed: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> ServeSettings:
    """The settings of one `lightllm-rs serve`. Raises SettingsError."""
    return load_with_places(parsed, environment)[0]


def load_with_places(
    parsed: argparse.Namespace, environment: Mapping[str, str] = os.environ
) -> tuple[ServeSettings, dict[str, str]]:
    """The settings, and of each that was given, by field name, where: a flag, a variable, a key of the config file.

    Raises SettingsError.
    """
    known = by_name()
    path = environment.get(CONFIG_VARIABLE) if parsed.config is UNSET else parsed.config
    values: dict[str, Any] = from_file(Path(path)) if path else {}
    places = {name: f"{name} in {path}" for name in values}
    of_variables, of_flags = from_environment(environment), given(parsed)
    places |= {name: known[name].environment for name in of_variables}
    places |= {name: f"--{known[name].flags[0]}" for name in of_flags}
    settings = ServeSettings(**values | of_variables | of_flags)
    check(settings)
    return settings, places
