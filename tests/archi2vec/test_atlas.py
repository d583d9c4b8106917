"""The atlas: one space that grows without moving, in a file that is whole or refused."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import modelselect as ms
from modelselect.archi2vec import Atlas, from_json, to_json, trace, trace_skeleton
from modelselect.archi2vec.tracing import TracingTask
from modelselect.cli import app
from modelselect.errors import ExpressionError, InvalidInputError
from modelselect.host.host import get_host

NAMES = [f"embedded:{candidate.name}" for candidate in ms.search("embedded:*")]


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MODELSELECT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MODELSELECT_ATLAS", str(tmp_path / "atlas.safetensors"))
    return tmp_path


def filled(*expressions: str) -> Atlas:
    atlas = Atlas()
    assert atlas.add(list(expressions)) == {}
    return atlas


def test_what_is_there_does_not_move_when_others_are_added_in_whatever_company() -> None:
    atlas = filled("embedded:resnet*", "embedded:plain*", "embedded:vit*")
    before = atlas.vectors.copy()
    atlas.add("embedded:*")
    assert atlas.names[: len(before)] == tuple(NAMES[i] for i in map(NAMES.index, atlas.names[: len(before)]))
    np.testing.assert_array_equal(atlas.vectors[: len(before)], before)
    alone = filled("embedded:resnet*", "embedded:plain*", "embedded:vit*")
    alone.add("embedded:senet*")
    np.testing.assert_array_equal(alone.vectors[-1], atlas.vectors[atlas.names.index(alone.names[-1])])


def test_an_architecture_is_placed_where_it_would_have_been_fitted(folders: Path) -> None:
    atlas = filled("embedded:*")
    graphs = [from_json(TracingTask(folders / "cache")(candidate)) for candidate in ms.search("embedded:*")]
    assert atlas._space is not None
    placed = atlas._space.place(graphs)
    cosines = (placed * atlas.vectors).sum(axis=1) / (
        np.linalg.norm(placed, axis=1) * np.linalg.norm(atlas.vectors, axis=1)
    )
    assert cosines.min() > 0.9


def test_a_saved_atlas_is_read_back_and_extended_as_the_first_would_have_been(folders: Path) -> None:
    atlas = filled("embedded:resnet*", "embedded:plain*", "embedded:vit*")
    atlas.save(folders / "a.safetensors")
    read = Atlas.load(folders / "a.safetensors")
    assert (read.names, read.families) == (atlas.names, atlas.families)
    np.testing.assert_array_equal(read.vectors, atlas.vectors)
    for one in (atlas, read):
        one.add("embedded:*")
    np.testing.assert_array_equal(read.vectors, atlas.vectors)
    read.save(folders / "b.safetensors")
    np.testing.assert_array_equal(Atlas.load(folders / "b.safetensors").vectors, atlas.vectors)
    assert [path.name for path in folders.iterdir() if "partial" in path.name] == []


def test_the_map_is_worked_out_once_and_kept_with_the_atlas(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.manifold import TSNE

    done = []
    fit = TSNE.fit_transform
    monkeypatch.setattr(TSNE, "fit_transform", lambda *given: done.append(1) or fit(*given))
    atlas = filled("embedded:vit*", "embedded:plain*")
    atlas.save(folders / "a.safetensors")
    read = Atlas.load(folders / "a.safetensors")
    np.testing.assert_array_equal(read.plane(), atlas.plane())
    assert len(done) == 1
    read.add("embedded:resnet*")
    assert len(read.plane()) == len(read) > len(atlas)
    assert len(done) == 2


@pytest.mark.parametrize("damage", ["missing", "cut", "another program's"])
def test_a_file_that_is_no_atlas_is_one_clear_error(folders: Path, damage: str) -> None:
    path = folders / "a.safetensors"
    if damage == "cut":
        filled("embedded:plain*").save(path)
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "another program's":
        from safetensors.numpy import save_file

        save_file({"vectors": np.zeros((2, 3))}, path)
    with pytest.raises(InvalidInputError, match="not a readable atlas"):
        Atlas.load(path)


@pytest.mark.parametrize(
    ("about", "arrays"),
    [
        ({"names": "5"}, {}),
        ({"names": "[1, 2]"}, {}),
        ({"names": 50_000 * "["}, {}),
        ({"families": "null"}, {}),
        ({}, {"vectors": np.zeros(2)}),
        ({}, {"vectors": np.full((2, 128), np.nan)}),
        ({}, {"vectors": np.zeros((2, 128), np.int64)}),
        ({}, {"plane": np.zeros((9, 9))}),
    ],
)
def test_an_atlas_of_wrong_types_is_one_clear_error(
    folders: Path, about: dict[str, str], arrays: dict[str, np.ndarray]
) -> None:
    """Version 0.1.0 wrote no checksum, so a file without one is read."""
    from safetensors import safe_open
    from safetensors.numpy import load_file, save_file

    path = folders / "atlas.safetensors"
    filled("embedded:plain.letters", "embedded:resnet.letters").save(path)
    with safe_open(path, framework="numpy") as file:
        known = {key: value for key, value in file.metadata().items() if key != "sha256"}
    content = load_file(path)
    save_file(content, path, metadata=known)
    Atlas.load(path)
    save_file(content | arrays, path, metadata=known | about)
    with pytest.raises(InvalidInputError, match="not a readable atlas"):
        Atlas.load(path)


def test_a_bit_that_flips_in_an_atlas_is_noticed(folders: Path) -> None:
    path = folders / "atlas.safetensors"
    filled("embedded:plain*").save(path)
    whole = path.read_bytes()
    for place in range(len(whole) // 40, len(whole), len(whole) // 20):
        content = bytearray(whole)
        content[place] ^= 16
        path.write_bytes(content)
        with pytest.raises(InvalidInputError, match="not a readable atlas"):
            Atlas.load(path)


def test_an_architecture_that_fails_costs_no_other() -> None:
    candidates = ms.search("embedded:plain*")
    broken = dataclasses.replace(candidates[0], name="gone")
    atlas = Atlas()
    failures = atlas.add([broken, *candidates])
    assert list(failures) == ["embedded:gone"]
    assert len(atlas) == len(candidates)


def test_nothing_is_traced_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    filled("embedded:*")
    zoo = get_host().zoo("embedded")
    monkeypatch.setattr(type(zoo), "skeleton", lambda *_, **__: pytest.fail("traced again"))
    assert len(filled("embedded:*")) == len(NAMES)


def test_every_architecture_of_timm_and_torchvision_counts_once() -> None:
    pytest.importorskip("timm")
    import timm

    found = list(get_host().zoo("timm").architectures("*"))
    assert [candidate.name for candidate in found] == timm.list_models()
    names = [candidate.name for candidate in get_host().zoo("torchvision").architectures("*")]
    assert len(names) == len(set(names)) > 50
    assert "resnet50" in names


@pytest.mark.parametrize(
    ("zoo", "name"),
    [
        ("timm", "resnet18"),
        ("timm", "vit_tiny_patch16_224"),
        ("timm", "lamhalobotnet50ts_256"),
        ("torchvision", "vgg11"),
        ("torchvision", "vit_h_14"),  # its first weights are for larger images
    ],
)
def test_a_skeleton_traced_in_place_gives_the_graph_of_its_copy(zoo: str, name: str) -> None:
    pytest.importorskip(zoo)
    host_zoo = get_host().zoo(zoo)
    (candidate,) = [c for c in host_zoo.architectures(name) if c.name.split(".")[0] == name]
    size = tuple(candidate.metadata["input_size"])
    skeleton = host_zoo.skeleton(candidate)
    assert all(parameter.is_meta for parameter in skeleton.parameters())
    assert to_json(trace(skeleton, size)) == to_json(trace_skeleton(skeleton, size))


def test_the_purity_of_families_is_counted() -> None:
    atlas = Atlas()
    atlas.names, atlas.families = tuple("abcde"), ("x", "x", "x", "y", "")
    atlas.vectors = np.array([[1, 0], [1, 0.01], [0, 1], [0.01, 1], [1, 1]], dtype=np.float32)
    assert atlas.family_purity() == {"x": (3, pytest.approx(2 / 3)), "all": (3, pytest.approx(2 / 3))}


def test_two_commands_at_once_extend_one_atlas(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, add, others = folders / "shared.safetensors", Atlas.add, [["embedded:vit.letters"]]

    def interrupted(self: Atlas, *arguments: Any, **keywords: Any) -> Any:
        failures = add(self, *arguments, **keywords)
        if others:  # meanwhile, another process begins and ends
            with pytest.raises(SystemExit):
                app.main(["embed", *others.pop(), "--atlas", str(path), "--workers", "0", "-q"])
        return failures

    monkeypatch.setattr(Atlas, "add", interrupted)
    for expression in ("embedded:plain.letters", "embedded:resnet.letters"):
        with pytest.raises(SystemExit) as ended:
            app.main(["embed", expression, "--atlas", str(path), "--workers", "0", "-q"])
        assert ended.value.code in (0, None)
        others.append(["embedded:mixer*"])
    assert set(Atlas.load(path).names) == {
        f"embedded:{name}" for name in ("vit.letters", "plain.letters", "resnet.letters", "mixer.digits0to4")
    }


def test_embed_extends_the_atlas_and_draws_its_map(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")

    def embed(*arguments: str) -> dict[str, object]:
        with pytest.raises(SystemExit) as stopped:
            app.main(["embed", *arguments, "--json", "--workers", "0"])
        assert not stopped.value.code
        answer: dict[str, object] = json.loads(capsys.readouterr().out)
        return answer

    first = embed("embedded:resnet*", "embedded:plain*", "embedded:vit*")
    vectors = Atlas.load(folders / "atlas.safetensors").vectors
    second = embed("embedded:*", "--map", str(folders / "map.svg"))
    assert (second["architectures"], second["failures"]) == (12, {})
    assert second["added"] == 12 - int(str(first["architectures"]))
    np.testing.assert_array_equal(Atlas.load(folders / "atlas.safetensors").vectors[: len(vectors)], vectors)
    assert (folders / "map.svg").read_text().startswith("<?xml")
    assert embed("embedded:*")["added"] == 0


def test_what_cannot_be_drawn_or_found_is_said(folders: Path) -> None:
    pytest.importorskip("matplotlib")
    atlas = filled("embedded:*")
    with pytest.raises(InvalidInputError, match=r"\.txt"):
        atlas.draw(folders / "map.txt")
    with pytest.raises(InvalidInputError, match="at least 3 architectures"):
        filled("embedded:vit*").draw(folders / "map.png")
    with pytest.raises(InvalidInputError, match="Did you mean 'embedded:resnet"):
        atlas.nearest("embedded:resnet.leters")
    with pytest.raises(ExpressionError, match="no architecture matches"):
        atlas.add("embedded:zzz*")


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_file_is_no_atlas(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "atlas.safetensors"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(InvalidInputError, match="a folder, a pipe or a device"):
        Atlas.load(path)
