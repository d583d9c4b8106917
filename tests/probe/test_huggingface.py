"""Datasets of the Hugging Face library, on disk and on the Hub."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from modelselect.errors import DatasetError
from modelselect.probe.probe import Probe
from tests.probe.material import ENCODINGS, contents, folder_of, noise

# --- datasets --------------------------------------------------------------------------------------------------------


def table(n_rows: int = 12, label: Any = None, first: int = 0) -> Any:
    import datasets

    label = label or datasets.ClassLabel(names=["unused", "cat", "dog"])
    return datasets.Dataset.from_dict(
        {
            "caption": [f"number {i}" for i in range(n_rows)],
            "image": [Image.fromarray(noise(first + i)) for i in range(n_rows)],
            "label": [1 + i % 2 for i in range(n_rows)],
        },
        features=datasets.Features({"caption": datasets.Value("string"), "image": datasets.Image(), "label": label}),
    )


def test_the_columns_of_a_datasets_dataset_are_found_and_its_images_are_equal() -> None:
    data = table()
    probe = Probe.of(data, size=6)
    assert probe.modality == "image"
    assert probe.class_names == ("cat", "dog")
    assert probe.provenance["label_map"] == {"1": 0, "2": 1}
    same = Probe.of((np.stack([np.asarray(image) for image in data[:]["image"]]), data[:]["label"]), size=6)
    assert contents(probe) == contents(same)
    shuffled = data.select([*range(6, 12), *range(6)]).with_format("numpy")
    assert set(contents(Probe.of(shuffled))) == set(contents(Probe.of(data)))


def test_text_columns_are_carried_through_and_minus_one_is_unlabelled() -> None:
    import datasets

    data = datasets.Dataset.from_dict(
        {"id": ["x", "y", "z", "w"], "text": ["a", "b", "c", "d"], "label": [0, 1, -1, None]},
        features=datasets.Features(
            {
                "id": datasets.Value("string"),
                "text": datasets.Value("string"),
                "label": datasets.ClassLabel(names=["no", "yes"]),
            }
        ),
    )
    probe = Probe.of(data)
    assert probe.modality == "text"
    assert probe.labels is not None
    assert probe.labels.tolist() == [0, 1, -1, -1]
    assert [probe.item(i) for i in range(4)] == ["a", "b", "c", "d"]
    assert Probe.of(data, input="id").item(3) == "w"


def test_integer_and_string_label_columns_serve_and_others_are_met_with_the_list_of_columns() -> None:
    import datasets

    assert Probe.of(table(label=datasets.Value("int32"))).class_names == ("1", "2")
    named = datasets.Dataset.from_dict({"text": list("abcd"), "class": ["x", "y"] * 2})
    assert Probe.of(named).class_names == ("x", "y")
    with pytest.raises(DatasetError, match=r"no label column .* caption \(string\), image \(Image\), kind \(int64\)"):
        Probe.of(table(label=datasets.Value("int64")).rename_column("label", "kind"))
    with pytest.raises(DatasetError, match="from arrays, which has no columns"):
        Probe.of((np.eye(2), [0, 1]), label="label")
    with pytest.raises(DatasetError, match=r"'lable' is not a column\. Did you mean 'label'"):
        Probe.of(table(), label="lable")
    numbers = Probe.of(datasets.Dataset.from_dict({"text": ["a", "b"], "label": [0.0, 0.5]}))
    assert (numbers.target_kind, numbers.target_names) == ("numbers", ("label",))
    assert Probe.of(datasets.Dataset.from_dict({"text": ["a", "b"], "label": [0.0, 1.0]})).class_names == ("0", "1")


def test_labels_and_blank_texts_are_those_of_the_rows_in_their_order() -> None:
    import datasets

    stored = datasets.Dataset.from_dict(
        {"text": [*(f"text {i}" for i in range(10)), " ", ""], "label": [f"class {i % 3}" for i in range(12)]}
    )
    chosen = stored.select([11, 3, 7, 5, 1, 2])
    probe = Probe.of(chosen, size=None)
    assert probe.labels is not None
    assert [probe.class_names[label] for label in probe.labels] == chosen["label"][:]
    assert [probe.item(row) for row in range(6)] == chosen["text"][:]
    assert probe.remarks[0] == "1 text is empty or holds only spaces. It is ranked on like the others."
    assert Probe.of(stored.shuffle(seed=1), size=None).remarks[0].startswith("2 texts are empty")


def test_a_saved_dataset_and_its_splits_are_read_from_disk(tmp_path: Path) -> None:
    import datasets

    parts = datasets.DatasetDict({"train": table(), "validation": table(6, first=50), "test": table(8, first=90)})
    parts.save_to_disk(tmp_path / "saved")
    probe, direct = Probe.of(tmp_path / "saved", holdout=0.1), Probe.of(parts, holdout=0.1)
    assert probe.fingerprint == direct.fingerprint
    assert probe.holdout is not None
    assert len(probe.holdout) == 6
    assert len(pickle.dumps(probe)) < 20_000  # the file is referred to, not copied
    state = tmp_path / "saved" / "train" / "state.json"
    state.write_text(state.read_text().replace("data-00000", "../../../data-00000"))
    with pytest.raises(DatasetError, match="outside that folder"):
        Probe.of(tmp_path / "saved")


def test_an_images_path_does_not_leave_a_saved_dataset(tmp_path: Path) -> None:
    import datasets

    outside = folder_of(tmp_path / "private", {"a": 1})
    images = [{"bytes": ENCODINGS["png"], "path": None} for i in range(19)] + [
        {"bytes": None, "path": str(outside / "a" / "0.png")}
    ]
    data = datasets.Dataset.from_dict({"image": images, "label": [0, 1] * 10})
    data.save_to_disk(tmp_path / "saved")  # as plain columns, so that the path is not embedded
    info = tmp_path / "saved" / "dataset_info.json"
    description = json.loads(info.read_text())
    description["features"]["image"] = {"_type": "Image"}
    info.write_text(json.dumps(description))
    assert Probe.of(tmp_path / "saved").skipped == (("row 19", "the image's path leaves the dataset's folder"),)


def test_the_hub_is_asked_for_owner_and_name_unless_a_folder_has_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    asked = []

    class Builder(SimpleNamespace):
        cache_dir = tmp_path

        def download_and_prepare(self) -> None:
            pass

        def as_dataset(self, split: str | None) -> Any:
            asked.append((self.path, self.config, split))
            return table() if split else datasets.DatasetDict({"train": table(), "test": table(8)})

    monkeypatch.setattr(datasets, "load_dataset_builder", lambda path, config: Builder(path=path, config=config))
    monkeypatch.chdir(tmp_path)
    assert Probe.of("owner/pets:small").name == "owner/pets:small"
    assert len(Probe.of("owner/pets", split="train[:10%]")) == 12
    assert asked == [("owner/pets", "small", None), ("owner/pets", None, "train[:10%]")]
    folder_of(tmp_path / "owner" / "pets", {"a": 1, "b": 1})
    assert len(Probe.of("owner/pets")) == 2
    assert len(asked) == 2


def test_a_hub_dataset_out_of_reach_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def load(*_: Any, **__: Any) -> Any:
        raise ConnectionError("Couldn't reach 'owner/pets' on the Hub\nmore")

    monkeypatch.setattr(datasets, "load_dataset_builder", load)
    with pytest.raises(DatasetError, match=r"'owner/pets' is not a folder .* Couldn't reach .*save_to_disk"):
        Probe.of("owner/pets")


def test_a_dataset_marked_as_test_or_streamed_is_refused() -> None:
    import datasets

    data = table()
    marked = datasets.Dataset(data.data, info=data.info, split=datasets.Split.TEST)
    with pytest.raises(DatasetError, match="test split"):
        Probe.of(marked)
    assert len(Probe.of({"train": marked})) == 12  # renaming the split says that it is not a test set
    with pytest.raises(DatasetError, match="IterableDataset"):
        Probe.of(data.to_iterable_dataset())


# --- labels and splits -----------------------------------------------------------------------------------------------


def test_lists_of_one_label_are_classes_and_lists_of_several_are_sets_of_labels() -> None:
    import datasets

    texts = [f"text {i}" for i in range(8)]
    names = datasets.Sequence(datasets.ClassLabel(names=["cat", "dog"]))
    features = datasets.Features({"text": datasets.Value("string"), "labels": names})
    single = datasets.Dataset.from_dict({"text": texts, "labels": [[i % 2] for i in range(8)]}, features=features)
    assert Probe.of(single).class_names == ("cat", "dog")
    several = datasets.Dataset.from_dict({"text": texts, "labels": [[0, 1], *[[i % 2] for i in range(7)]]})
    assert Probe.of(several).target_kind == "label_sets"
    with pytest.raises(
        DatasetError, match=r"hold 2 values in row 0 .* To rank for several classes of one row, give task='multi-label'"
    ):
        Probe.of(several, targets="classes")


def test_the_test_split_of_a_saved_dataset_is_refused(tmp_path: Path) -> None:
    table().train_test_split(0.25, seed=0).save_to_disk(tmp_path / "saved")
    with pytest.raises(DatasetError, match="rows of a test split must not be used"):
        Probe.of(tmp_path / "saved" / "test")
    assert len(Probe.of(tmp_path / "saved" / "train")) == len(Probe.of(tmp_path / "saved")) == 9


def test_nothing_is_written_next_to_a_saved_dataset(tmp_path: Path) -> None:
    import datasets
    import pyarrow as pa

    given = [f"a text {row}" for row in range(12)]
    texts = pa.array(given, pa.string_view())
    datasets.Dataset(pa.table({"text": texts, "label": ["a", "b"] * 6})).save_to_disk(str(tmp_path / "saved"))
    before = sorted(tmp_path.rglob("*"))
    probe = Probe.of(datasets.load_from_disk(str(tmp_path / "saved")), input="text", label="label")
    assert {probe.item(row) for row in range(len(probe))} == set(given)
    assert sorted(tmp_path.rglob("*")) == before


def test_remarks_are_fit_for_a_terminal() -> None:
    probe = Probe.of(([f"text {row}" for row in range(9)], ["a"] * 4 + ["b"] * 4 + ["\x1b[31m"]))
    assert "(\ufffd[31m)" in probe.remarks[0]
