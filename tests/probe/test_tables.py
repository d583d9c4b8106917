"""Tables as files, folders and frames: what each holds is read as it is written, and nothing outside is touched."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from modelselect.errors import DatasetError
from modelselect.probe import sizes
from modelselect.probe.probe import Probe
from tests.probe.material import contents, folder_of, noise

TEXTS = [f"text {i}" for i in range(12)]
CODES = ["007", "042"] * 6
CSV = "text,label\n" + "".join(f"{text},{code}\n" for text, code in zip(TEXTS, CODES, strict=True))
HALVES = [0, 1] * 4
TABLE = datasets.Dataset.from_dict({"text": TEXTS, "label": CODES})


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


def written(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def parquet(path: Path, table: Any = TABLE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(str(path))
    return path


def refusal(data: Any) -> str:
    with pytest.raises(DatasetError) as caught:
        Probe.of(data)
    return str(caught.value)


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_pipe_and_a_device_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "zeros.csv").symlink_to("/dev/zero")
    for name in ("pipe.csv", "zeros.csv"):
        assert f"{name}' is a pipe or a device, which may never end" in refusal(tmp_path / name)


def test_every_kind_of_table_gives_the_same_probe_and_keeps_leading_zeros(tmp_path: Path) -> None:
    expected = Probe.of(TABLE)
    assert expected.class_names == ("007", "042")
    lines = "".join(json.dumps({"text": t, "label": c}) + "\n" for t, c in zip(TEXTS, CODES, strict=True))
    files = [
        written(tmp_path / "a.csv", CSV),
        written(tmp_path / "bom.csv", "\ufeff" + CSV),
        written(tmp_path / "wide.csv", CSV.encode("utf-16")),
        written(tmp_path / "packed.csv.gz", gzip.compress(CSV.encode())),
        written(tmp_path / "windows.csv", CSV.replace("\n", "\r\n")),
        written(tmp_path / "b.tsv", CSV.replace(",", "\t")),
        written(tmp_path / "semicolons.csv", CSV.replace(",", ";")),
        written(tmp_path / "c.jsonl", lines),
        written(tmp_path / "d.json", json.dumps(TABLE.to_list())),
        parquet(tmp_path / "e[1].parquet"),
    ]
    for file in files:
        probe = Probe.of(file)
        assert probe.fingerprint == expected.fingerprint, file
        assert probe.class_names == expected.class_names
        assert [probe.item(i) for i in range(len(probe))] == TEXTS
    assert Probe.of(files[0]).name == "a"
    assert len(pickle.loads(pickle.dumps(Probe.of(files[0])))) == 12


def test_the_classes_of_a_csv_file_are_what_is_written_in_it(tmp_path: Path) -> None:
    def classes(*labels: str) -> tuple[str, ...]:
        lines = "".join(f"t{i},{labels[i % len(labels)]}\n" for i in range(12))
        return Probe.of(written(tmp_path / "a.csv", "text,label\n" + lines)).class_names

    assert classes("None", "NA") == ("NA", "None")
    assert classes("2", "10") == ("2", "10")
    assert classes("true", "false") == ("false", "true")
    assert classes("01", "1") == ("01", "1")
    assert classes('"a, ""b"""', '"c\nd"') == ('a, "b"', "c\nd")
    assert classes("1", "0", "NA", "1") == ("0", "1")  # missing among numbers


def test_a_csv_file_that_cannot_be_read_is_one_error(tmp_path: Path) -> None:
    for content, message in (
        ("text,label\na,b,c\n", r"cannot be read \(CSV parse error: Expected 2 columns, got 3"),
        ("text,text,label\na,b,c\n", "several columns named text"),
        ("", "is an empty file"),
        ("\n", "no rows below its first line"),
        ("text,label\n", "no rows below its first line"),
        ("text,label\ncaf\xe9,1\n".encode("latin-1"), "not in UTF-8"),
    ):
        assert re.search(message, refusal(written(tmp_path / "a.csv", content)))
    latin = written(tmp_path / "a.csv", CSV.replace("text 1", "caf\xe9").encode("cp1252"))
    assert "encoding='cp1252'" in refusal(latin)
    assert len(Probe.of(pd.read_csv(latin, encoding="cp1252"))) == 12
    assert "Repair the file" in refusal(written(tmp_path / "a.parquet", "no Parquet"))


@pytest.mark.parametrize(
    ("name", "advice"),
    [("a.zip", "Unpack the archive"), ("a.tar.gz", "Unpack"), ("a.xlsx", "pandas.read_excel"), ("a.bin", "or a table")],
)
def test_other_files_are_met_with_what_to_do(tmp_path: Path, name: str, advice: str) -> None:
    assert advice in refusal(written(tmp_path / name, "content"))


def test_a_test_table_beside_a_training_table_is_refused(tmp_path: Path) -> None:
    written(tmp_path / "train.csv", CSV)
    assert "test split must not be used" in refusal(written(tmp_path / "test.csv", CSV))
    assert Probe.of(written(tmp_path / "reviews" / "data" / "train.csv", CSV)).name == "reviews"
    both = {
        "train": tmp_path / "train.csv",
        "validation": written(tmp_path / "other.csv", CSV.replace("text ", "row ")),
    }
    probe = Probe.of(both, holdout=0.2)
    assert probe.holdout is not None
    assert len(probe.holdout) == 12


def test_a_table_names_images_beside_it_and_anywhere(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "pets", {"cat": 6, "dog": 6})
    rows = [(f"{label}/{i}.png", label) for label in ("cat", "dog") for i in range(6)]
    for start in ("", f"{folder}/"):
        table = written(folder / "labels.csv", "path,label\n" + "".join(f"{start}{p},{c}\n" for p, c in rows))
        assert Probe.of(table).fingerprint == Probe.of(folder).fingerprint


# --- folders ---------------------------------------------------------------------------------------------------------


def test_a_downloaded_dataset_is_read_by_its_splits(tmp_path: Path) -> None:
    other = datasets.Dataset.from_dict({"text": [f"row {i}" for i in range(6)], "label": ["007", "042"] * 3})
    parquet(tmp_path / "data" / "train-00000-of-00002.parquet")
    parquet(tmp_path / "data" / "train-00001-of-00002.parquet", other)
    parquet(tmp_path / "data" / "test-00000-of-00001.parquet")
    probe = Probe.of(tmp_path)
    assert (len(probe), probe.provenance["split"]) == (18, "train")
    assert "test split" in refusal(tmp_path / "data" / "test-00000-of-00001.parquet")
    for split in ("train", "validation", "test"):
        written(tmp_path / "lines" / f"{split}.csv", CSV)
    probe = Probe.of(tmp_path / "lines")
    assert probe.class_names == ("007", "042")
    assert probe.provenance["split"] == "train"
    assert len(Probe.of(written(tmp_path / "one" / "reviews.csv", CSV).parent)) == 12


def readme(folder: Path, **configurations: str) -> None:
    lines = [
        f"- config_name: {name}\n  data_files:\n  - split: train\n    path: {path}"
        for name, path in configurations.items()
    ]
    written(folder / "README.md", "---\nconfigs:\n" + "\n".join(lines) + "\n---\n")


def test_the_configuration_in_the_readme_decides_and_several_are_refused_with_a_way_out(tmp_path: Path) -> None:
    first, _ = parquet(tmp_path / "x" / "a.parquet"), parquet(tmp_path / "y" / "b.parquet")
    readme(tmp_path, default="x/*")
    assert "Tables in the folder that are not read: 1 of 2 (y/b.parquet)." in Probe.of(tmp_path).remarks
    readme(tmp_path, x="x/*", y="y/*")
    message = refusal(tmp_path)
    assert "Give the folder of one of them" in message
    assert f"{{'train': {str(first)!r}}}" in message
    assert len(Probe.of(tmp_path / "x")) == len(Probe.of({"train": str(first)})) == 12


def test_a_datasets_folder_runs_no_code_and_reads_nothing_outside_itself(tmp_path: Path) -> None:
    outside = written(tmp_path / "private.csv", CSV)
    folder = written(tmp_path / "shared" / "a.csv", CSV).parent
    written(folder / "shared.py", "raise SystemExit('this ran')")
    assert "Code of a dataset is not run here" in refusal(folder)
    (folder / "shared.py").unlink()
    readme(folder, default=str(outside))
    assert "names a file outside that folder" in refusal(folder)
    folder_of(tmp_path / "pictures", {"a": 6, "b": 6})
    for path in ("../../pictures/{}/{}.png", f"{tmp_path}/pictures/{{}}/{{}}.png"):
        rows = "".join(f"{path.format(c, i)},{c}\n" for c in "ab" for i in range(6))
        table = written(tmp_path / "listed" / "images" / "labels.csv", "path,label\n" + rows)
        Image.fromarray(noise(0)).save(table.parent / "own.png")
        assert "outside the dataset's folder" in refusal(tmp_path / "listed")
        assert len(Probe.of(table)) == 12  # the user's own table may name any image


def test_a_table_that_is_a_link_is_read_as_in_the_cache_of_the_hub(tmp_path: Path) -> None:
    for name, make in {"train.csv": lambda path: written(path, CSV), "train.parquet": parquet}.items():
        file = make(tmp_path / "blobs" / name)
        (tmp_path / name / "snapshot").mkdir(parents=True)
        (tmp_path / name / "snapshot" / name).symlink_to(file)
        assert Probe.of(tmp_path / name / "snapshot").fingerprint == Probe.of(file).fingerprint


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_an_image_folder_with_metadata_is_as_datasets_reads_it(tmp_path: Path, suffix: str) -> None:
    for split, first in (("train", 0), ("test", 50)):
        folder = folder_of(tmp_path, {split: 12}, first=first) / split
        rows = [{"file_name": f"{i}.png", "label": "ab"[i % 2]} for i in range(12)]
        lines = [json.dumps(row) for row in rows]
        if suffix == "csv":
            lines = ["file_name,label", *(",".join(row.values()) for row in rows)]
        written(folder / f"metadata.{suffix}", "\n".join(lines) + "\n")
    probe = Probe.of(tmp_path)
    reference = datasets.load_dataset("imagefolder", data_dir=str(tmp_path), split="train")
    assert sorted(contents(probe)) == sorted(np.asarray(image.convert("RGB")).tobytes() for image in reference["image"])
    assert (probe.class_names, probe.provenance["split"]) == (("a", "b"), "train")


def test_one_table_for_all_splits_keeps_test_rows_out(tmp_path: Path) -> None:
    folder_of(tmp_path, {"train": 12, "test": 6})
    rows = [f"{split}/{i}.png,{'ab'[i % 2]}\n" for split, n in (("train", 12), ("test", 6)) for i in range(n)]
    written(tmp_path / "metadata.csv", "file_name,label\n" + "".join(rows))
    probe = Probe.of(tmp_path)
    assert len(probe) == 12
    assert "The rows are split by the folders in the column 'file_name' (test: 6, train: 12)." in probe.remarks
    frame = pd.DataFrame({"text": TEXTS, "label": CODES, "split": ["train"] * 8 + ["test"] * 4})
    assert len(Probe.of(frame)) == 8
    assert "test split" in refusal(frame[frame["split"] == "test"])


def test_class_folders_decide_beside_a_table_unless_the_table_says_otherwise(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "pets", {"cat": 6, "dog": 6})
    plain = Probe.of(folder)
    table = folder / "metadata.csv"
    written(
        table, "file_name,label\n" + "".join(f"{c}/{i}.png,{c == 'dog':d}\n" for c in ("cat", "dog") for i in range(6))
    )
    probe = Probe.of(folder)
    assert probe.fingerprint == plain.fingerprint
    assert "tables in the folder are not read (metadata.csv)" in probe.remarks[-1]
    written(
        table, "file_name,label\n" + "".join(f"{c}/{i}.png,{'xyz'[i % 3]}\n" for c in ("cat", "dog") for i in range(6))
    )
    assert f"give the table itself ({str(table)!r})" in refusal(folder)
    assert Probe.of(table).class_names == ("x", "y", "z")
    table.unlink()
    assert Probe.of(folder).remarks == ()


# --- frames ----------------------------------------------------------------------------------------------------------


def test_a_frame_is_a_dataset_and_so_is_a_dict_of_frames_by_split() -> None:
    expected = Probe.of(TABLE).fingerprint
    frame = pd.DataFrame({"text": TEXTS, "label": CODES}, index=range(100, 112))
    for same in (
        frame,
        frame.astype({"label": "category"}),
        frame.astype({"text": "string", "label": "string"}),
        pa.table({"text": TEXTS, "label": CODES}),
        pa.table({"text": pa.array(TEXTS, pa.string_view()), "label": pa.array(CODES).dictionary_encode()}),
        pa.RecordBatch.from_pydict({"text": TEXTS, "label": CODES}),
        {"train": frame, "test": frame},
    ):
        assert Probe.of(same).fingerprint == expected
    nullable = pd.DataFrame({"text": TEXTS, "label": pd.array([0, 1] * 5 + [0, None], dtype="Int64")})
    assert Probe.of(nullable).class_names == ("0", "1")


def test_a_frame_may_hold_categories_even_a_single_one() -> None:
    import pandas as pd

    frame = pd.DataFrame(
        {"text": [f"a text {row}" for row in range(12)], "label": ["a", "b"] * 6, "from": ["web"] * 12}
    )
    plain, categories = Probe.of(frame), Probe.of(frame.astype({"label": "category", "from": "category"}))
    assert categories.class_names == plain.class_names
    assert categories.fingerprint == plain.fingerprint


def test_a_polars_frame_is_a_dataset() -> None:
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"text": TEXTS, "label": CODES})
    assert Probe.of(frame).fingerprint == Probe.of(TABLE).fingerprint
    assert Probe.of((frame[["text"]], CODES)).fingerprint == Probe.of(TABLE).fingerprint


def test_frames_are_inputs() -> None:
    numbers = np.random.default_rng(0).normal(size=(12, 4))
    assert Probe.of((pd.DataFrame(numbers), CODES)).fingerprint == Probe.of((numbers, CODES)).fingerprint
    assert Probe.of((pd.DataFrame({"text": TEXTS}), CODES)).fingerprint == Probe.of((TEXTS, CODES)).fingerprint
    pictures = [Image.fromarray(noise(i)) for i in range(12)]
    assert Probe.of((pd.DataFrame({"image": pictures}), CODES)).fingerprint == Probe.of((pictures, CODES)).fingerprint
    assert contents(Probe.of(pd.DataFrame({"image": pictures, "label": CODES}))) == [p.tobytes() for p in pictures]
    mixed = pd.DataFrame({"text": TEXTS, "length": range(12)})
    assert "Give one column, such as inputs['text']" in refusal((mixed, CODES))
    assert len(Probe.of((mixed["text"], CODES))) == 12
    assert len(Probe.of(mixed.assign(label=CODES), input="text", label="label")) == 12
    arrays = pd.DataFrame({"image": list(np.zeros((12, 2, 2))), "label": CODES})
    assert "list(frame[column])" in refusal(arrays)
    assert len(Probe.of((list(arrays["image"]), arrays["label"]))) == 12


def test_a_data_loader_is_refused_and_its_dataset_is_taken() -> None:
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.eye(4), torch.tensor([0, 1, 0, 1])))
    assert "Give loader.dataset" in refusal(loader)
    assert len(Probe.of(loader.dataset)) == 4


# --- what people's tables hold ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("Usage", ["Training", "PublicTest", "PrivateTest"]),
        ("phase", ["train", "val", "test"]),
        ("split", ["train", "", "test"]),
        ("split", ["train", "unused", "test"]),
        ("is_test", ["0", "1", "1"]),
        ("is_training_image", ["1", "0", "0"]),
        ("in_train", ["True", "False", "False"]),
    ],
)
def test_rows_that_a_column_marks_as_test_or_not_as_training_never_reach_the_probe(
    tmp_path: Path, column: str, values: list[str]
) -> None:
    rows = [f"{kind} {i},{'ab'[i % 2]},{values[kind]}\n" for i in range(4) for kind in range(3)]
    probe = Probe.of(written(tmp_path / "t.csv", f"text,label,{column}\n{''.join(rows)}"))
    assert {probe.item(row)[0] for row in range(len(probe))} == {"0"}
    assert any(f"split by the column {column!r}" in remark for remark in probe.remarks)


@pytest.mark.parametrize(
    "column", ["is_test,0", "fold,train", "group,train", "label,train", "kind,test"], ids=lambda column: str(column)
)
def test_a_column_that_says_one_split_or_labels_splits_nothing(tmp_path: Path, column: str) -> None:
    name, value = column.split(",")
    rows = [f"text {i},{'ab'[i % 2]},{value}\n" for i in range(8)]
    given = written(tmp_path / "t.csv", f"text,class,{name}\n{''.join(rows)}")
    assert len(Probe.of(given, label="class")) == 8


@pytest.mark.parametrize("start", ["\n\n", "sep=;\n", '"sep=;"\n\n'])
def test_lines_above_the_names_of_the_columns_are_skipped(tmp_path: Path, start: str) -> None:
    separator = ";" if "sep" in start else ","
    probe = Probe.of(written(tmp_path / "t.csv", start + CSV.replace(",", separator)))
    assert probe.fingerprint == Probe.of(TABLE).fingerprint


def test_quotation_marks_that_open_a_text_of_a_tsv_swallow_no_rows(tmp_path: Path) -> None:
    texts = [f'"text {i}' if i in (2, 7) else f"text {i}" for i in range(12)]
    for given in (texts, texts[:7]):
        rows = "".join(f"{text}\t{'ab'[i % 2]}\n" for i, text in enumerate(given))
        probe = Probe.of(written(tmp_path / "t.tsv", f"text\tlabel\n{rows}"))
        assert [probe.item(row) for row in range(len(probe))] == given
    quoted = written(tmp_path / "quoted.tsv", 'text\tlabel\n"one\nline"\ta\nb\tb\nc\ta\nd\tb\n')
    assert Probe.of(quoted).item(0) == "one\nline"


def test_a_field_of_a_tsv_may_hold_tabs_and_lines_if_a_program_quoted_it(tmp_path: Path) -> None:
    texts = ["one\ttab\nand a line", 'so\n\t"he" said', "plain", "end"]
    frame = pd.DataFrame({"text": texts, "label": ["a", "b"] * 2})
    for name, above in (("t.tsv", ""), ("u.tsv", "\n"), ("v.tsv", "\ufeff")):
        content = above + frame.to_csv(sep="\t", index=False)
        probe = Probe.of(written(tmp_path / name, content))
        assert [probe.item(row) for row in range(len(probe))] == texts
    damaged = written(tmp_path / "w.tsv", 'text\tlabel\n"one\ta\nb "no" end\tb\tx\n' + "c\ta\nd\tb\n" * 2)
    with pytest.raises(DatasetError, match="cannot be read"):
        Probe.of(damaged)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_table_without_names_of_columns_is_refused_before_its_first_row_is_lost(
    tmp_path: Path, order: tuple[int, int]
) -> None:
    rows = [(f"text {i}", str(i % 2)) for i in range(8)]
    lines = [",".join(row[place] for place in order) + "\n" for row in rows]
    given = written(tmp_path / "t.csv", "".join(lines))
    for arguments in ({}, {"label": "0"}):
        with pytest.raises(DatasetError, match="seems to lack the line with the names of its columns"):
            Probe.of(given, **arguments)
    names = ",".join(("text", "label")[place] for place in order)
    assert len(Probe.of(written(given, names + "\n" + "".join(lines)))) == 8


def test_a_table_of_paths_and_labels_without_names_of_columns_is_refused(tmp_path: Path) -> None:
    given = written(tmp_path / "t.csv", "rose/0.jpg, 0\nrose/1.jpg, 0\ntulip/2.jpg, 1\ntulip/3.jpg, 1\n")
    assert "first line says 'rose/0.jpg', which looks like a value" in refusal(given)


def test_names_of_columns_in_the_middle_of_a_table_are_no_row(tmp_path: Path) -> None:
    given = written(tmp_path / "t.csv", CSV + CSV)
    assert "says the names of its columns again in row 12" in refusal(given)


def test_file_names_with_spaces_in_a_column_of_file_names_are_paths(tmp_path: Path) -> None:
    names = [f"photo of {'test tubes' if i % 2 else 'a train'} {i}.png" for i in range(8)]
    pictures_in(tmp_path, names)
    table = written(
        tmp_path / "metadata.csv", "file_name,label\n" + "".join(f"{n},{i % 2}\n" for i, n in enumerate(names))
    )
    assert len(Probe.of(tmp_path)) == len(Probe.of(table)) == 8
    for name in names:
        (tmp_path / name).unlink()
    assert "no image files with these names" in refusal(table)


def test_names_of_columns_that_are_values_too_are_names_if_others_are_usual(tmp_path: Path) -> None:
    rows = "".join(f"text {i},{['toxic', 'fine'][i % 2]}\n" for i in range(8))
    assert len(Probe.of(written(tmp_path / "t.csv", "text,toxic\n" + rows), label="toxic")) == 8


def test_a_column_called_text_stays_text_and_spaces_beside_numbers_do_not_count(tmp_path: Path) -> None:
    probe = Probe.of(written(tmp_path / "t.csv", "text, label\n1.0, 0\n2.50, 1\n007, 0\n1e5, 1\n"))
    assert [probe.item(row) for row in range(4)] == ["1.0", "2.50", "007", "1e5"]
    assert probe.class_names == ("0", "1")


def test_missing_class_numbers_of_a_table_are_said(tmp_path: Path) -> None:
    probe = Probe.of(written(tmp_path / "t.csv", "text,label\n" + "a,1\nb,0\nc,NA\nd,1\ne,0\n"))
    assert probe.remarks == ("Rows without a label: 1 of 5, the first is row 2.",)


def test_utf_16_without_its_mark_is_said_to_be_no_utf_8(tmp_path: Path) -> None:
    assert "is not in UTF-8" in refusal(written(tmp_path / "t.csv", CSV.encode("utf-16-le")))


# --- names of images -------------------------------------------------------------------------------------------------


def pictures_in(folder: Path, names: list[str], first: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for place, name in enumerate(names):
        Image.fromarray(noise(first + place)).save(folder / name)


@pytest.mark.parametrize("written_as", ["name", "stem", "number"])
@pytest.mark.parametrize("whole_folder", [True, False])
def test_images_that_a_table_names_are_found_in_a_folder_beside_it(
    tmp_path: Path, written_as: str, whole_folder: bool
) -> None:
    stems = [str(i) if written_as == "number" else f"a{i}" for i in range(8)]
    pictures_in(tmp_path / "train_images", [f"{stem}.png" for stem in stems])
    pictures_in(tmp_path / "test_images", [f"{stem}.png" for stem in stems], first=100)
    names = [f"{stem}.png" if written_as == "name" else stem for stem in stems]
    table = written(
        tmp_path / "train.csv", "image_id,label\n" + "".join(f"{name},{i % 2}\n" for i, name in enumerate(names))
    )
    probe = Probe.of(tmp_path if whole_folder else table, input="image_id")
    assert contents(probe) == [noise(i).tobytes() for i in range(8)]
    assert probe.remarks == ("The images that column 'image_id' names are in the folder train_images.",)


def test_images_of_one_name_in_two_folders_are_refused_with_advice_that_works(tmp_path: Path) -> None:
    names = [f"{i}.png" for i in range(8)]
    pictures_in(tmp_path / "small", names)
    pictures_in(tmp_path / "large", names, first=100)
    table = written(tmp_path / "t.csv", "image,label\n" + "".join(f"{n},{i % 2}\n" for i, n in enumerate(names)))
    assert "are in several folders" in refusal(table)
    table.rename(tmp_path / "large" / "t.csv")
    assert contents(Probe.of(tmp_path / "large" / "t.csv"))[0] == noise(100).tobytes()


def test_numbers_that_name_no_image_are_refused(tmp_path: Path) -> None:
    given = written(tmp_path / "t.csv", "size,label\n" + "".join(f"{i},{i % 2}\n" for i in range(8)))
    with pytest.raises(DatasetError, match="no image files with these names"):
        Probe.of(given, input="size")


@pytest.mark.parametrize("name", ["{:016x}", "Train_{}", "ISIC_{:07}", "{:03}"])
def test_identifiers_that_name_no_image_are_not_taken_for_texts(tmp_path: Path, name: str) -> None:
    rows = "".join(f"{name.format(i)},{i % 2}\n" for i in range(8))
    given = written(tmp_path / "t.csv", "id_code,label\n" + rows)
    assert "no image files with these names are in the table's folder" in refusal(given)
    if "{}" in name:
        assert Probe.of(given, input="id_code").item(0) == "Train_0"
    pictures_in(tmp_path / "images", [f"{name.format(i)}.jpg" for i in range(8)])
    assert Probe.of(given).modality == "image"


def test_pixels_written_as_texts_are_refused_with_advice_that_works(tmp_path: Path) -> None:
    given = written(
        tmp_path / "t.csv",
        "label,pixels\n" + "".join(f"{i % 2},{' '.join(map(str, noise(i, (16,))))}\n" for i in range(8)),
    )
    assert "are lists of numbers" in refusal(given)
    frame = pd.read_csv(given)
    inputs = [np.array(text.split(), np.uint8).reshape(4, 4) for text in frame.pixels]
    assert Probe.of((inputs, frame.label)).modality == "image"


@pytest.mark.parametrize("struct", [True, False])
def test_encoded_images_in_a_table_are_images(tmp_path: Path, struct: bool) -> None:
    pictures_in(tmp_path, [f"{i}.png" for i in range(8)])
    encoded = [(tmp_path / f"{i}.png").read_bytes() for i in range(8)]
    cells = [{"bytes": each, "path": None} for each in encoded] if struct else encoded
    frame = pd.DataFrame({"picture": cells, "label": HALVES})
    frame.to_parquet(tmp_path / "t.parquet")
    for given in (frame, tmp_path / "t.parquet"):
        assert contents(Probe.of(given)) == [noise(i).tobytes() for i in range(8)]


def test_a_frame_of_images_may_start_with_a_missing_one() -> None:
    cells = [None, *(Image.fromarray(noise(i)) for i in range(15))]
    assert len(Probe.of(pd.DataFrame({"picture": cells, "label": [0, 1] * 8}))) == 15


# --- one-hot labels in columns ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("one", ["1", "1.0", " 1"])
def test_one_hot_columns_are_labels_with_the_names_of_the_columns(tmp_path: Path, one: str) -> None:
    zero = one.replace("1", "0", 1)
    rows = [f"text number {i},{','.join(one if i % 3 == k else zero for k in range(3))}\n" for i in range(9)]
    probe = Probe.of(written(tmp_path / "t.csv", "text,MEL,NV,BCC\n" + "".join(rows)))
    assert probe.labels is not None
    assert [probe.class_names[label] for label in probe.labels] == ["MEL", "NV", "BCC"] * 3
    assert "are one-hot" in probe.remarks[0]


def test_columns_of_several_labels_are_sets_of_labels_and_not_one_hot(tmp_path: Path) -> None:
    rows = "".join(f"text number {i},{i % 2},{i % 3 == 0:d}\n" for i in range(9))
    given = written(tmp_path / "t.csv", "text,toxic,rude\n" + rows)
    probe = Probe.of(given)
    assert probe.target_kind == "label_sets"
    assert probe.targets is not None
    assert probe.targets.shape == (9, 2)
    assert not any("one-hot" in remark for remark in probe.remarks)
    assert Probe.of(given, label="toxic").target_kind == "classes"


@pytest.mark.parametrize("name", ["data.json", "data.jsonl", "data.jsonl.gz"])
def test_json_that_the_parser_of_arrow_does_not_bear_is_an_error(tmp_path: Path, name: str) -> None:
    for content, said in (
        (b'{"text": "a", "label": 0}\n{"text": ' + 100_000 * b"[", "more than 500 levels of lists and objects"),
        (b'null\n{"text": "a", "label": 0}', "null in the place of a row"),
        (b'[null, {"text": "a", "label": 0}]', "null in the place of a row"),
    ):
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        with pytest.raises(DatasetError, match=f"has {said}"):
            Probe.of(tmp_path / name)


# --- more than fits ---------------------------------------------------------------------------------------------------


def test_a_parquet_file_of_more_rows_than_fit_into_memory_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of 500 KB may hold 100 million equal rows."""
    equal = datasets.Dataset.from_dict({"text": ["good", "bad"] * 50_000, "label": [1, 0] * 50_000})
    path = parquet(tmp_path / "table.parquet", equal)
    assert path.stat().st_size < 10_000
    monkeypatch.setattr(sizes, "available_memory", lambda: 5_000_000)
    monkeypatch.setattr(datasets.DatasetBuilder, "download_and_prepare", None)  # nothing is decoded
    for given in (path, tmp_path, {"train": path}):
        message = refusal(given)
        assert "has 100,000 rows, which take about 11.2 MB of memory, and 5 MB are free" in message
        assert "Give fewer rows" in message


@pytest.mark.parametrize("form", [lambda text: text, lambda text: [text], lambda text: {"a": text, "b": {"c": 1}}])
def test_long_texts_that_a_parquet_file_holds_once_count_in_each_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: Any
) -> None:
    """A file of 1 KB may hold 20 GB."""
    long = [form("x" * 500_000), form("y" * 500_000)]
    table = pa.table({"text": long, "label": [0, 1]}).take(np.arange(1000) % 2)
    pq.write_table(table, tmp_path / "table.parquet", compression="zstd", dictionary_pagesize_limit=1 << 24)
    assert (tmp_path / "table.parquet").stat().st_size < 5_000
    monkeypatch.setattr(sizes, "available_memory", lambda: 400_000_000)
    message = refusal(tmp_path / "table.parquet")
    assert "has 1,000 rows, which take about 501 MB of memory, and 400 MB are free" in message


def test_a_parquet_file_that_does_not_fit_on_the_disk_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = parquet(tmp_path / "table.parquet", TABLE.select([0, 1] * 5000).add_column("number", [0.5] * 10_000))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(sizes.shutil, "disk_usage", lambda _: usage._replace(free=100_000))
    message = refusal(path)
    assert "decoded, it takes at least 160 kB on the disk, and 100 kB are free in" in message
    monkeypatch.undo()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    expected = Probe.of(path, size=20).fingerprint
    monkeypatch.setattr(sizes.shutil, "disk_usage", lambda _: usage._replace(free=0))
    assert Probe.of(path, size=20).fingerprint == expected, "it is decoded already"


def test_any_dataset_of_more_rows_than_fit_into_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "available_memory", lambda: 1000)
    assert "the dataset has 12 rows, which take about 1.2 kB of memory, and 1 kB are free" in refusal(TABLE)


@pytest.mark.parametrize("name", ["table.csv", "table.csv.gz"])
def test_a_csv_file_that_does_not_fit_into_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    content = (CSV + "again,007\n" * 20_000).encode()
    path = written(tmp_path / name, gzip.compress(content) if name.endswith(".gz") else content)
    monkeypatch.setattr(sizes, "available_memory", lambda: 100_000)
    assert "takes more than 100 kB of memory, and no more is free. Give fewer rows" in refusal(path)
    monkeypatch.undo()
    assert len(Probe.of(path, size=20)) == 20


@pytest.mark.parametrize("suffix", ["parquet", "arrow", "json"])
def test_a_table_without_rows_is_said_to_have_none(tmp_path: Path, suffix: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"text": pa.array([], pa.string()), "label": pa.array([], pa.int64())})
    path = tmp_path / f"empty.{suffix}"
    if suffix == "parquet":
        pq.write_table(table, path)
    elif suffix == "arrow":
        with pa.ipc.new_stream(path, table.schema) as stream:
            stream.write_table(table)
    else:
        path.write_text("[]")
    assert "has no rows" in refusal(path)


def test_an_empty_group_of_rows_in_a_parquet_file_is_no_fault(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"text": [f"text {row}" for row in range(12)], "label": [0, 1] * 6})
    with pq.ParquetWriter(tmp_path / "x.parquet", table.schema) as writer:
        writer.write_table(table[:0])
        writer.write_table(table)
    assert len(Probe.of(tmp_path / "x.parquet")) == 12


def test_columns_of_one_name_are_all_read() -> None:
    numbers = np.random.default_rng(0).normal(size=(12, 4))
    expected = Probe.of((numbers, CODES)).fingerprint
    for names in (list("aabb"), ["1", 1, 2, 3]):
        assert Probe.of((pd.DataFrame(numbers, columns=names), CODES)).fingerprint == expected
    table = pa.Table.from_arrays([pa.array(column) for column in numbers.T], list("aabc"))
    assert Probe.of((table, CODES)).fingerprint == expected
    targets = Probe.of((TEXTS, pd.DataFrame(numbers, columns=list("aabb"))), targets="numbers")
    assert targets.target_names == ("a", "a.1", "b", "b.1")


def test_the_rows_of_a_matrix_are_those_of_its_array() -> None:
    numbers = np.random.default_rng(0).normal(size=(12, 4))
    probe = Probe.of((np.asmatrix(numbers), CODES))
    assert probe.item(0).shape == (4,)
    assert probe.fingerprint == Probe.of((numbers, CODES)).fingerprint


def test_a_frame_of_pictures_may_be_of_polars() -> None:
    polars = pytest.importorskip("polars")
    pictures = [Image.fromarray(noise(i)) for i in range(12)]
    frame = polars.DataFrame({"image": polars.Series(pictures, dtype=polars.Object), "label": CODES})
    assert contents(Probe.of(frame)) == [picture.tobytes() for picture in pictures]
    classes = polars.DataFrame({"text": TEXTS, "label": polars.Series(CODES, dtype=polars.Object)})
    assert Probe.of(classes).class_names == ("007", "042")


def test_the_refusal_of_a_frame_names_the_frame_and_its_advice_works() -> None:
    frame = pd.DataFrame({"text": TEXTS, "label": pd.cut(np.arange(12), 3)})
    said = refusal(frame)
    assert said.startswith("the DataFrame cannot be read as a table")
    assert "frame[column].astype(str)" in said
    assert Probe.of(frame.assign(label=frame["label"].astype(str))).n_classes == 3


def test_what_a_spreadsheet_writes_besides_the_table_is_no_column(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("text,label,,\n" + "".join(f"{text},{code},,\n" for text, code in zip(TEXTS, CODES, strict=True)))
    assert Probe.of(path).fingerprint == Probe.of(TABLE).fingerprint


def test_numbers_with_a_comma_are_numbers_between_semicolons(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("text;label\n" + "".join(f"{text};{row},{row}5\n" for row, text in enumerate(TEXTS)))
    probe = Probe.of(path)
    assert probe.target_kind == "numbers"
    assert probe.targets[:3, 0].tolist() == [0.05, 1.15, 2.25]  # type: ignore[index]
    path.write_text("text;label\n" + "".join(f"{text};{row % 2}\n" for row, text in enumerate(TEXTS)))
    assert Probe.of(path).class_names == ("0", "1")
    path.write_text("text\tlabel\n" + "".join(f"{text}\t{row % 2},2\n" for row, text in enumerate(TEXTS)))
    assert Probe.of(path).class_names == ("0,2", "1,2")


def test_a_comma_after_thousands_is_not_read_as_one_before_a_fraction(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("text;label\n" + "".join(f"{text};{1 + row % 2},500\n" for row, text in enumerate(TEXTS)))
    assert Probe.of(path).class_names == ("1,500", "2,500")


def test_a_table_that_was_written_as_one_object_of_lists_is_no_sentence(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    path.write_text(json.dumps({"text": TEXTS, "label": CODES}))
    assert "give pandas.DataFrame(columns)" in refusal(path)
    assert Probe.of(pd.DataFrame(json.loads(path.read_text()))).fingerprint == Probe.of(TABLE).fingerprint


@pytest.mark.parametrize("name", ["table.csv", "table.jsonl", "table.parquet"])
def test_empty_files_and_pointers_of_git_are_called_what_they_are(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 123\n")
    assert "a pointer of Git LFS" in refusal(path)
    path.write_text("")
    assert "is an empty file" in refusal(path)


def test_what_a_library_writes_of_a_damaged_file_is_not_shown(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "table\x1b[31m.jsonl"
    path.write_text('{"text": "one", "label": "a"}\n{"text": "two", "lab')
    assert "cannot be read" in refusal(path)
    assert "Failed" not in capfd.readouterr().err


def test_long_whole_numbers_lose_no_digit_in_a_csv_file(tmp_path: Path) -> None:
    ids = ["4611686018427387904", "4611686018427387905", "9007199254740993"]
    rows = "".join(f"text {row},{ids[row % 3]}\n" for row in range(12))
    assert set(Probe.of(written(tmp_path / "a.csv", f"text,label\n{rows}")).class_names) == set(ids)


@pytest.mark.parametrize("library", ["pyarrow", "polars"])
@pytest.mark.parametrize("kind", ["f4", "f8", "i8", "u1", "bool"])
@pytest.mark.parametrize("width", [1, 4])
def test_tables_of_numbers_are_their_arrays(library: str, kind: str, width: int) -> None:
    numbers = (np.random.default_rng(0).normal(size=(12, width)) * 50 + 100).astype(kind)
    columns = {f"c{place}": column for place, column in enumerate(numbers.T)}
    table = pa.table(columns) if library == "pyarrow" else pytest.importorskip("polars").DataFrame(columns)
    probe = Probe.of((table, CODES))
    assert probe.item(0).dtype == numbers.dtype
    assert probe.fingerprint == Probe.of((numbers, CODES)).fingerprint


@pytest.mark.parametrize("library", ["pyarrow", "polars"])
def test_one_hot_tables_of_any_library_are_classes(library: str) -> None:
    codes = np.eye(3)[np.arange(12) % 3]
    columns = {f"c{place}": column for place, column in enumerate(codes.T)}
    table = pa.table(columns) if library == "pyarrow" else pytest.importorskip("polars").DataFrame(columns)
    assert Probe.of((TEXTS, table)).class_names == ("c0", "c1", "c2")
