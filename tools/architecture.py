"""Who imports whom, read from the code; `python tools/architecture.py` draws the rooms as docs/explanation/rooms.svg.

`tests/test_architecture.py` holds the rules on the same graph. The floors are those of the contract in pyproject.toml.
"""

from __future__ import annotations

import ast
import itertools
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import networkx as nx

REPOSITORY = Path(__file__).resolve().parent.parent
PICTURE = REPOSITORY / "docs" / "explanation" / "rooms.svg"
FACE = "modelselect"
PLUGINS = "modelselect_plugins"
SOURCES = {FACE: REPOSITORY / "modelselect", PLUGINS: REPOSITORY / "plugins" / "modelselect_plugins"}


class Import(NamedTuple):
    """One name that an import statement brings.

    Attributes:
        module: the module of ours that is imported, or that the name is imported from.
        name: what is imported from it; empty where it is the module itself.
        line: of the statement.
        place: `top`, `function`, or `types` (under `TYPE_CHECKING`).
    """

    module: str
    name: str
    line: int
    place: str


def floors() -> tuple[frozenset[str], ...]:
    """The rooms of each floor, from the ground up, as the contract of layers in pyproject.toml names them."""
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    layers = next(c["layers"] for c in settings["tool"]["importlinter"]["contracts"] if c["type"] == "layers")
    return tuple(frozenset(layer.split(" | ")) for layer in reversed(layers))


def modules() -> dict[str, Path]:
    """Every module of the host and of the shipped plugins, by its name."""
    found = {}
    for package, folder in SOURCES.items():
        for path in folder.rglob("*.py"):
            parts = (package, *path.relative_to(folder).with_suffix("").parts)
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def room_of(module: str) -> str:
    """The room that a module of the host stands in; empty for the face and for plugins."""
    package, _, rest = module.partition(".")
    room = rest.split(".")[0] if package == FACE else ""
    return "cli" if room == "__main__" else room


def imports_of(module: str, known: Mapping[str, Path]) -> list[Import]:
    """What a module imports of ours, wherever the statement stands. A face imports what its stub hands on."""
    path = known[module]
    found = list(_imports(ast.parse(path.read_text(encoding="utf-8")), "top", known, module))
    stub = path.with_suffix(".pyi")
    if stub.exists():
        found += _imports(ast.parse(stub.read_text(encoding="utf-8")), "top", known, module)
    return found


def graph_of_modules(known: Mapping[str, Path]) -> dict[str, set[str]]:
    """For each module the modules that it imports."""
    return {module: {found.module for found in imports_of(module, known)} - {module} for module in known}


def graph_of_rooms(known: Mapping[str, Path]) -> nx.DiGraph[str]:
    """An arrow from each room to each room that it imports."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    for module, imported in graph_of_modules(known).items():
        pairs = ((room_of(module), room_of(name)) for name in imported)
        graph.add_edges_from((own, other) for own, other in pairs if own and other and own != other)
    return graph


def _imports(node: ast.AST, place: str, known: Mapping[str, Path], module: str) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ImportFrom):
            source = ".".join([module] * (child.level > 0) + [child.module] * bool(child.module))
            for alias in child.names:
                if f"{source}.{alias.name}" in known:
                    yield Import(f"{source}.{alias.name}", "", child.lineno, place)
                elif source in known:
                    yield Import(source, alias.name, child.lineno, place)
        elif isinstance(child, ast.Import):
            yield from (Import(alias.name, "", child.lineno, place) for alias in child.names if alias.name in known)
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _imports(child, "function", known, module)
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            yield from _imports(child, "types", known, module)
        else:
            yield from _imports(child, place, known, module)


# --- the picture -----------------------------------------------------------------------------------------------------

WIDTH, FLOOR_HEIGHT, BOX_HEIGHT, MARGIN = 1180, 92, 30, 120
_STYLE = (
    "text{font:13px sans-serif;fill:#1c2733}.floor{fill:#6b7785}.box{fill:#eef3f8;stroke:#5b7083}"
    ".arrow{fill:none;stroke:#8a99a8;stroke-width:1.1}"
)


def picture() -> str:
    """Rooms as boxes on their floors, arrows down; an arrow is left out where a longer way of arrows says the same."""
    levels = floors()
    floor = {room: number for number, rooms in enumerate(levels) for room in rooms}
    down = [(own, other) for own, other in graph_of_rooms(modules()).edges if floor[own] > floor[other]]
    arrows = sorted(nx.transitive_reduction(nx.DiGraph(down)).edges)
    rows: list[list[str]] = [sorted(rooms) for rooms in levels]
    ways = []  # of each arrow: the rooms, and between them one point on every floor that it passes
    for upper, lower in arrows:
        points = [f"{upper}>{lower}:{level}" for level in range(floor[upper] - 1, floor[lower], -1)]
        for level, point in zip(range(floor[upper] - 1, floor[lower], -1), points, strict=True):
            rows[level].append(point)
        ways.append([upper, *points, lower])
    x = _positions(rows, ways)
    height = FLOOR_HEIGHT * len(levels)
    y = {name: height - FLOOR_HEIGHT * (level + 0.5) for level, row in enumerate(rows) for name in row}
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        'aria-label="The rooms of modelselect on their floors, and which imports which">',
        f"<style>{_STYLE}</style>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#8a99a8"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    for level in range(len(levels)):
        top = height - FLOOR_HEIGHT * (level + 1)
        lines.append(f'<text class="floor" x="12" y="{top + FLOOR_HEIGHT / 2 + 5:.0f}">floor {level + 1}</text>')
    lines += [f'<path class="arrow" d="{_curve(way, x, y)}" marker-end="url(#head)"/>' for way in ways]
    for room in sorted(floor):
        width = 8 * len(room) + 20
        left, top = x[room] - width / 2, y[room] - BOX_HEIGHT / 2
        lines.append(f'<rect class="box" x="{left:.0f}" y="{top:.0f}" width="{width}" height="{BOX_HEIGHT}" rx="5"/>')
        lines.append(f'<text x="{x[room]:.0f}" y="{y[room] + 5:.0f}" text-anchor="middle">{room}</text>')
    return "\n".join([*lines, "</svg>", ""])


def _positions(rows: list[list[str]], ways: list[list[str]]) -> dict[str, float]:
    """Where each box and point stands from left to right: near the mean of what it is joined to."""
    joined: dict[str, list[str]] = {name: [] for row in rows for name in row}
    for way in ways:
        for first, second in itertools.pairwise(way):
            joined[first].append(second)
            joined[second].append(first)
    x: dict[str, float] = {}
    for row in rows:
        _spread(row, x)
    for _ in range(24):
        for row in [*rows, *reversed(rows)]:
            mean = {name: sum(x[other] for other in joined[name]) / max(len(joined[name]), 1) for name in row}
            row.sort(key=lambda name: (mean[name], name))
            _spread(row, x)
    return x


def _spread(row: list[str], x: dict[str, float]) -> None:
    """Gives each of a row a place as wide as it is: a box needs more than an arrow that passes."""
    widths = [24 if ">" in name else 8 * len(name) + 36 for name in row]
    gap = max((WIDTH - MARGIN - sum(widths)) / len(row), 0)
    left = float(MARGIN) - 20
    for name, width in zip(row, widths, strict=True):
        x[name] = left + (width + gap) / 2
        left += width + gap


def _curve(way: list[str], x: Mapping[str, float], y: Mapping[str, float]) -> str:
    points = [(x[name], y[name]) for name in way]
    points[0] = (points[0][0], points[0][1] + BOX_HEIGHT / 2)
    points[-1] = (points[-1][0], points[-1][1] - BOX_HEIGHT / 2 - 1)
    text = f"M{points[0][0]:.0f} {points[0][1]:.0f}"
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        middle = (y0 + y1) / 2
        text += f"C{x0:.0f} {middle:.0f} {x1:.0f} {middle:.0f} {x1:.0f} {y1:.0f}"
    return text


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
