"""Settings of the service: one struct that feeds flags, environment variables, the config file and the docs."""

from lightllm_rs.settings.errors import SettingsError
from lightllm_rs.settings.serve import ServeSettings

__all__ = ["ServeSettings", "SettingsError"]
