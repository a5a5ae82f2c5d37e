"""Memory-mapped graphs from a shell: python -m components.export.memmapped --in_graph=g.pb --out_graph=g.pbmm

What TensorFlow 1.x's `convert_graphdef_memmapped_format` did, with the same flags and report, and the way back. Needs
numpy and protobuf only.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from speech.errors import InputError, one_line_errors
from speech.extras import require

if TYPE_CHECKING:
    from speech.model_files.graphdef import FrozenGraph
    from speech.model_files.memmapped_file import MemmappedPackage

EXIT_NOTHING_CONVERTED = 3

_DESCRIPTION = """Turn a frozen graph (output_graph.pb) into the memory-mapped graph (output_graph.pbmm) that native
clients load without reading its weights; turn one back; or show what is in either."""
_EPILOG = f"""exit codes: 0 converted, 2 wrong input (one line says what; nothing is written), {EXIT_NOTHING_CONVERTED}
written, but no constant was large enough to map."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}: `{self.prog} --help` lists the flags")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m components.export.memmapped", description=_DESCRIPTION, epilog=_EPILOG, allow_abbrev=False
    )
    parser.add_argument("--in_graph", metavar="FILE", help="frozen graph (.pb); with --to_frozen a memory-mapped one")
    parser.add_argument("--out_graph", metavar="FILE", help="file to write; clients want .pbmm in a mapped one's name")
    parser.add_argument(
        "--min_conversion_size_bytes",
        "--min_conversion_tensor_size",
        type=int,
        metavar="N",
        help="map constants of at least N bytes (default: 10000), numbers and bools",
    )
    parser.add_argument("--to_frozen", action="store_true", help="the way back: .pbmm -> .pb")
    parser.add_argument(
        "--inspect", metavar="FILE", help="list the constants of FILE (.pb or .pbmm) and where they lie"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point. Exits with 2 for wrong input, with 3 if nothing was converted."""
    with one_line_errors():
        settings = _parser().parse_args(arguments)
        _check(settings)
        require("convert-mmap")
        exit_code = _inspect(settings.inspect) if settings.inspect else _convert(settings)
    sys.exit(exit_code)


def _check(settings: argparse.Namespace) -> None:
    conversion = [flag for flag in ("in_graph", "out_graph") if getattr(settings, flag) is not None]
    conversion += ["to_frozen"] if settings.to_frozen else []
    conversion += ["min_conversion_size_bytes"] if settings.min_conversion_size_bytes is not None else []
    if settings.inspect and conversion:
        raise InputError(f"--inspect only shows a file: leave out --{conversion[0]}")
    if settings.inspect:
        return
    for flag in ("in_graph", "out_graph"):
        if not getattr(settings, flag):
            raise InputError(f"--{flag} is missing: expected --in_graph=FILE --out_graph=FILE, or --inspect FILE")
    if settings.to_frozen and settings.min_conversion_size_bytes is not None:
        raise InputError("--min_conversion_size_bytes has no meaning with --to_frozen: leave it out")


def _convert(settings: argparse.Namespace) -> int:
    from speech.model_files import memmapped_file  # not at the top: --help and wrong flags answer without loading numpy

    minimum = settings.min_conversion_size_bytes
    try:
        if settings.to_frozen:
            conversion = memmapped_file.to_frozen(settings.in_graph, settings.out_graph)
        elif minimum is None:
            conversion = memmapped_file.convert(settings.in_graph, settings.out_graph)
        else:
            conversion = memmapped_file.convert(settings.in_graph, settings.out_graph, minimum)
    except OSError as error:
        raise InputError(f"{settings.out_graph}: cannot be written: {error.strerror or error}") from error
    for warning in conversion.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(f"Converted {conversion.nodes} nodes")
    way = "back in a plain graph" if settings.to_frozen else "memory-mapped"
    print(f"{settings.out_graph}: {conversion.tensor_bytes:,} bytes of tensors {way}")
    return 0 if conversion.nodes else EXIT_NOTHING_CONVERTED


def _inspect(path: str) -> int:
    from speech.model_files import graphdef, memmapped_file

    data = graphdef.map_file(path)
    mapped = graphdef.is_memmapped(data) or memmapped_file.CLIENT_MARK in path
    if mapped:
        package = memmapped_file.MemmappedPackage.open(path)
        graph, rows = package.graph, _region_rows(package)
    else:
        graph, rows = graphdef.read(path), []
    rows += [("in graph", *_constant_cells(name, graph)) for name in graph.constants()]
    kind = f"memory-mapped, {len(package.regions)} regions" if mapped else "frozen"
    print(f"{path}: {kind}, {len(graph.nodes)} nodes, {len(data):,} bytes")
    print(_table([("offset", "bytes", "dtype", "shape", "node"), *rows]))
    return 0


def _region_rows(package: "MemmappedPackage") -> list[tuple[str, ...]]:
    """One row a region, in the file's order."""
    nodes = {package.region_of(name).name: name for name in package.mapped()}
    rows: list[tuple[str, ...]] = []
    for region in package.regions.values():
        if region.name in nodes:
            value = package.constant(nodes[region.name])
            cells = (str(value.dtype), str(list(value.shape)), f"{nodes[region.name]} ({region.name})")
        else:
            cells = ("graph" if region.name.endswith("//.") else "unused", "", region.name)
        rows.append((f"{region.offset:,}", f"{region.length:,}", *cells))
    return rows


def _constant_cells(name: str, graph: "FrozenGraph") -> tuple[str, ...]:
    from speech.model_files import graph_tensors

    tensor = graph.tensor(name)
    sizes = [dim.size for dim in tensor.tensor_shape.dim]
    cells = (graph_tensors.dtype_name(tensor.dtype), str(sizes), name)
    if graph_tensors.dtype_of(tensor.dtype) is None:
        return ("?", *cells)
    value = graph.constant(name)
    stored = sum(map(len, value.flat)) if value.dtype.kind == "O" else value.nbytes
    return (f"{stored:,}", *cells)


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Columns aligned: the two of numbers to the right, the others to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        [
            cell.rjust(width) if place < 2 else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in rows
    )
    return "\n".join("  ".join(line).rstrip() for line in lines)


if __name__ == "__main__":
    main()
