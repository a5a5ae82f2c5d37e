"""The settings tables in the READMEs, made from the dataclasses: python -m pipelines.tables"""

import inspect
import re
from pathlib import Path

from components.build_scorer.settings import BuildScorerSettings
from components.convert_openvino.settings import OpenVinoSettings
from components.evaluate.settings import EvaluateSettings
from components.export.settings import ExportSettings
from components.import_cv.settings import ImportSettings
from components.publish.settings import PublishSettings
from components.train.settings import TrainSettings
from pipelines.parameters import parameter
from speech.settings import table
from speech.storage.files import write_text

ROOT = Path(__file__).parents[1]
MARKS = ("<!-- table of settings, made by `make tables` -->\n", "<!-- end of table -->")
BETWEEN_MARKS = re.compile("({}).*?({})".format(*map(re.escape, MARKS)), re.DOTALL)


def parameter_table() -> str:
    """The Markdown table of the pipeline's parameters."""
    from pipelines.retrain import retrain

    rows = ["| parameter | default | unit | meaning |", "|---|---|---|---|"]
    for name, given in inspect.signature(retrain.pipeline_func).parameters.items():
        described = parameter(name)
        shown = "" if given.default == "" else f"`{given.default}`"
        choices = f" ({', '.join(map(str, described.choices))})" if described.choices else ""
        rows.append(f"| `{name}` | {shown} | {described.unit} | {described.help}{choices} |".replace("  |", " |"))
    return "\n".join(rows)


def tables() -> dict[Path, str]:
    """README -> the table that belongs into it."""
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
    return {ROOT / "README.md": parameter_table(), **readmes}


def with_table(text: str, made: str) -> str:
    """`text` with `made` between the marks; unchanged if it has no marks."""
    return BETWEEN_MARKS.sub(lambda marks: f"{marks[1]}{made}\n{marks[2]}", text)


def main() -> None:
    """Bring every README up to date."""
    for path, made in tables().items():
        if path.is_file() and (text := path.read_text(encoding="utf-8")) != with_table(text, made):
            write_text(path, with_table(text, made))
            print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
