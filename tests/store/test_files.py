"""Files and folders next to those of users, until they are whole."""

from __future__ import annotations

from pathlib import Path

from modelselect.store.files import folder_beside, owned_name, write_text


def test_a_link_that_leads_to_itself_gives_way_to_the_file(tmp_path: Path) -> None:
    link = tmp_path / "board.json"
    link.symlink_to(link)
    write_text(link, "whole")
    assert link.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [link]


def test_a_folder_that_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    number = owned_name().split("@")[1]
    for name in (f".winner.{owned_name().replace(f'@{number}@', '@999999999@')}.partial", ".winner.mine.partial"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(b"half")
    with folder_beside(tmp_path / "winner") as folder:
        assert folder.parent == tmp_path
        assert {path.name for path in tmp_path.iterdir()} == {folder.name, ".winner.mine.partial"}
    assert [path.name for path in tmp_path.iterdir()] == [".winner.mine.partial"]
