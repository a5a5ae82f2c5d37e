"""What can be set about publishing."""

import re
from dataclasses import dataclass

from speech.settings import setting, setting_error


@dataclass(frozen=True)
class PublishSettings:
    """How a version of the model is named."""

    version: str = setting(
        "", "name of the version's folder; empty: the date and a hash of the model, such as 2026-03-01-4f2a9c01d3b7"
    )

    def __post_init__(self) -> None:
        if self.version and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", self.version):
            raise setting_error("version", self.version, "letters, digits and . _ + - and no slash, first no dot")
