"""What is made of the settings dataclasses: python -m pipelines.tables

The tables in docs/ and in the steps' READMEs, and the arguments of the components' functions: kfp ships the source of
such a function, so they have to stand in it as literals.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.build_scorer.settings import BuildScorerSettings
from components.convert_openvino.settings import OpenVinoSettings
from components.evaluate.settings import EvaluateSettings
from components.export.settings import ExportSettings
from components.import_cv.component import import_part
from components.import_cv.settings import ImportSettings
from components.publish.settings import PublishSettings
from components.train.settings import TrainSettings
from pipelines.parameters import COMPONENTS, flags_class
from speech.settings.flag_help import table
from speech.storage.files import write_text

ROOT = Path(__file__).parents[1]
MARKS = ("<!-- table of settings, made by `make tables` -->\n", "<!-- end of table -->")
BETWEEN_MARKS = re.compile("({}).*?({})".format(*map(re.escape, MARKS)), re.DOTALL)
CODE_MARKS = ("    # made by `make tables` of settings.py\n", "    # end\n")
ARGUMENTS = r"(def {}\((?:(?!\n\) ->).)*?" + re.escape(CODE_MARKS[0]) + r").*?(" + re.escape(CODE_MARKS[1]) + ")"


@dataclass(frozen=True)
class ParametersOnly:
    """No flags besides the pipeline's parameters."""


def parameter_tables() -> str:
    """The Markdown tables of the pipeline's parameters, one a group."""
    return table(flags_class(ParametersOnly), flag="", heading="## {}")


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


def with_arguments(text: str, function: Any) -> str:
    """The source `text` with the arguments that a component function takes between the marks in its signature."""
    made = "".join(f"    {argument.literal}\n" for argument in function.arguments)
    pattern = re.compile(ARGUMENTS.format(function.__name__), re.DOTALL)
    if not pattern.search(text):
        raise LookupError(f"{function.__name__} has no {CODE_MARKS[0].strip()!r} ... {CODE_MARKS[1].strip()!r}")
    text = pattern.sub(lambda marks: f"{marks[1]}{made}{marks[2]}", text)
    if "Optional[" in made and "import Optional" not in text:
        text = text.replace("from kfp import dsl\n", "from typing import Optional\n\nfrom kfp import dsl\n", 1)
    return text


def files() -> dict[Path, str]:
    """File -> its content as it has to be."""
    made = {path: with_table(path.read_text("utf-8"), text) for path, text in tables().items() if path.is_file()}
    for function in (component.python_func for component in (*COMPONENTS, import_part)):
        path = ROOT.joinpath(*function.__module__.split(".")).with_suffix(".py")
        made[path] = with_arguments(made.get(path) or path.read_text("utf-8"), function)
    return made


def main() -> None:
    """Bring every file up to date."""
    for path, text in files().items():
        if path.read_text(encoding="utf-8") != text:
            write_text(path, text)
            print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
