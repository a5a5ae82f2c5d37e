"""The doctor's flags."""

from dataclasses import dataclass

from speech.settings import setting, setting_error


@dataclass(frozen=True)
class DoctorSettings:
    """What is to be done on this machine, so that the doctor can say whether it can be."""

    hours: float = setting(0.0, "hours of audio in the corpus, for the disk; 0: not known", unit="h", group="Checks")
    output: str = setting("build", "folder that is to take the results", metavar="FOLDER")
    s3: str = setting(
        "", "prefix of an object store to try the credentials on; nothing is left there", metavar="s3://BUCKET/PREFIX"
    )
    json: bool = setting(False, "print JSON for a program")

    def __post_init__(self) -> None:
        if self.hours < 0:
            raise setting_error("hours", self.hours, "0 or more")
