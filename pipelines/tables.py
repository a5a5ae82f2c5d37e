"""The settings tables in docs/ and in the steps' READMEs, made from the dataclasses: python -m pipelines.tables"""

import re
from dataclasses import dataclass
from pathlib import Path

from components.build_scorer.settings import BuildScorerSettings
from components.convert_openvino.settings import OpenVinoSettings
from components.evaluate.settings import EvaluateSettings
from components.export.settings import ExportSettings
from components.import_cv.settings import ImportSettings
from components.publish.settings import PublishSettings
from components.train.settings import TrainSettings
from pipelines.parameters import flags_class
from speech.flag_help import table
from speech.storage.files import write_text

ROOT = Path(__file__).parents[1]
MARKS = ("<!-- table of settings, made by `make tables` -->\n", "<!-- end of table -->")
BETWEEN_MARKS = re.compile("({}).*?({})".format(*map(re.escape, MARKS)), re.DOTALL)


@dataclass(frozen=True)
class ParametersOnly:
    """No flags besides the pipeline's parameters."""


def parameter_tables() -> str:
    """The Markdown tables of the pipeline's parameters, one a group."""
    from pipelines.retrain import retrain

    return table(flags_class(retrain.pipeline_func, ParametersOnly), flag="", heading="## {}")


def tables() -> dict[Path, str]:
    """Page -> the tables that belong into it."""
    steps = {
        "import_cv": ImportSettings,
        "train": TrainSettings,
        "export": ExportSettings,
        "convert_openvino": OpenVinoSettings,
        "evaluate": EvaluateSettings,
        "build_scorer": BuildScorerSettings,
        "publish": PublishSettings,
    }
    readmes = {ROOT / "components" / step / "README.md": table(settings) for step, settings in steps.items()}
    return {ROOT / "docs" / "parameters.md": parameter_tables(), **readmes}


def with_table(text: str, made: str) -> str:
    """`text` with `made` between the marks; unchanged if it has no marks."""
    return BETWEEN_MARKS.sub(lambda marks: f"{marks[1]}{made}\n{marks[2]}", text)


def main() -> None:
    """Bring every page up to date."""
    for path, made in tables().items():
        if path.is_file() and (text := path.read_text(encoding="utf-8")) != with_table(text, made):
            write_text(path, with_table(text, made))
            print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
