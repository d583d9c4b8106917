"""Imports go down the floors: none goes round, none hides in a function or for types, none takes what is private."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Callable

import pytest

from tools.architecture import FACE, PICTURE, PLUGINS, Import, floors, graph_of_modules, imports_of, modules, picture
from tools.architecture import room_of as room

MODULES = modules()
IMPORTS = {module: imports_of(module, MODULES) for module in MODULES}
FLOOR = {room: number for number, rooms in enumerate(floors(), 1) for room in rooms}
ABOVE = max(FLOOR.values()) + 1
"""The floor of the face and of plugins, which no room may import."""

ESTIMATORS = f"{PLUGINS}.estimators"
CLOSED_TO_PLUGINS = {"benchmarking", "cli", "evaluation", "leaderboard", "reproducing", "selection"}


def refuse(is_wrong: Callable[[str, Import], bool]) -> None:
    """Fails with a line for each import that should not be there."""
    wrong = [
        f"{module}:{found.line} imports {found.module} {found.name}".rstrip()
        for module, imports in IMPORTS.items()
        for found in imports
        if is_wrong(module, found)
    ]
    assert not wrong, "\n".join(wrong)


def test_every_room_stands_on_one_floor() -> None:
    rooms = [name for level in floors() for name in level]
    assert sorted(rooms) == sorted({room(module) for module in MODULES} - {""})


def test_a_room_imports_only_rooms_below_it() -> None:
    def goes_up(module: str, found: Import) -> bool:
        own, other = room(module), room(found.module)
        return own != "" and own != other and FLOOR.get(other, ABOVE) >= FLOOR[own]

    refuse(goes_up)


def test_no_import_goes_round() -> None:
    try:
        graphlib.TopologicalSorter(graph_of_modules(MODULES)).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_modules_of_the_house_are_imported_at_the_top() -> None:
    """The command line waits, so that --help is quick. A plugin may wait with modules of its own package.

    The functions of shipped estimators stay as they are: their code is part of the keys of stored scores.
    """

    def waits(module: str, found: Import) -> bool:
        may_wait = found.module.startswith(f"{PLUGINS}.") if module.startswith(PLUGINS) else room(module) == "cli"
        return found.place == "function" and not may_wait and not module.startswith(ESTIMATORS)

    refuse(waits)


def test_an_import_for_types_is_an_import() -> None:
    refuse(lambda module, found: found.place == "types" and room(module) != "cli")


def test_nobody_takes_what_is_private_to_another_module() -> None:
    def is_private(module: str, found: Import) -> bool:
        if found.name.startswith("_") and not found.name.startswith("__"):
            return True
        parts = found.module.split(".")
        first = next((number for number, part in enumerate(parts) if part.startswith("_")), None)
        return first is not None and "__main__" not in parts and not module.startswith(".".join(parts[:first]))

    refuse(is_private)


def test_a_plugin_uses_the_face_the_lower_floors_and_the_demo() -> None:
    refuse(lambda module, found: module.startswith(PLUGINS) and room(found.module) in CLOSED_TO_PLUGINS)


def test_a_zoo_knows_no_other_zoo() -> None:
    zoos = {name for name in MODULES if name.startswith(f"{PLUGINS}.zoos.") and name.count(".") == 2}
    zoos = {name for name in zoos if not name.rsplit(".", 1)[1].startswith("_")}
    assert len(zoos) == 7

    def is_of_another(module: str, found: Import) -> bool:
        own = next((zoo for zoo in zoos if module.startswith(zoo)), None)
        return own is not None and any(found.module.startswith(zoo) for zoo in zoos - {own})

    refuse(is_of_another)


def test_a_face_defines_nothing() -> None:
    """An `__init__.py` hands names on. (A plugin's package may be the plugin.)"""
    defining = [
        module
        for module, path in MODULES.items()
        if (path.name == "__init__.py" and module.startswith(f"{FACE}.")) or module == FACE
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    ]
    assert defining == []


def test_the_picture_shows_the_code_as_it_is() -> None:
    assert PICTURE.read_text(encoding="utf-8") == picture(), "draw it anew: python tools/architecture.py"


def test_an_import_is_found_wherever_it_stands() -> None:
    source = MODULES[f"{PLUGINS}.zoos.embedded"]
    places = {found.module.rsplit(".", 1)[1]: found.place for found in imports_of(f"{PLUGINS}.zoos.embedded", MODULES)}
    assert places["networks"] == "function", source
    assert places["demo"] == "top"
    assert any(found.module == f"{FACE}.archi2vec.atlas" for found in IMPORTS[f"{FACE}.archi2vec"])
