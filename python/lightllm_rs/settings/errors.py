"""What can be wrong with settings."""

from __future__ import annotations


class SettingsError(ValueError):
    """A setting that cannot be used; the message is one line that names the setting and says what to do."""
