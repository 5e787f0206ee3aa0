"""Settings from environment variables `LIGHTLLM_*`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any

from lightllm_rs.settings.errors import SettingsError
from lightllm_rs.settings.fields import ENVIRONMENT_PREFIX, fields

CONFIG_VARIABLE = ENVIRONMENT_PREFIX + "CONFIG"

# Kubernetes sets these in every pod beside a Service named "lightllm" or "lightllm-…".
_KUBERNETES = re.compile(
    r"LIGHTLLM_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)|LIGHTLLM_\w+_PORT"
)


def from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """The settings that variables set, by field name. Raises SettingsError, also for a name that no setting has."""
    known = {field.environment: field for field in fields()}
    values: dict[str, Any] = {}
    for name in sorted(name for name in environment if name.startswith(ENVIRONMENT_PREFIX)):
        text = environment[name]
        if name == CONFIG_VARIABLE:
            continue
        if name in known:
            if name == "LIGHTLLM_PORT" and text.startswith("tcp://"):
                raise SettingsError(
                    f"LIGHTLLM_PORT is {text!r}, as Kubernetes sets it for a Service named lightllm: "
                    "set enableServiceLinks to false in the pod, or rename the Service"
                )
            values[known[name].name] = known[name].parse(text, name)
        elif not _KUBERNETES.fullmatch(name):
            near = difflib.get_close_matches(_own_part(name), map(_own_part, known), n=1)
            hint = f"did you mean {ENVIRONMENT_PREFIX}{near[0]}?" if near else "unset it"
            raise SettingsError(f"the environment variable {name} names no setting: {hint}")
    return values


def _own_part(name: str) -> str:
    return name.removeprefix(ENVIRONMENT_PREFIX)
