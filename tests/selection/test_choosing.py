"""Which candidates a run takes: chosen within bounds where none are named, asked about where named ones exceed them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import modelselect as ms
from modelselect.candidates.candidate import Candidate
from modelselect.candidates.pools import Pool
from modelselect.errors import CandidateError, InvalidInputError
from modelselect.evaluation.request import Request
from modelselect.evaluation.settings import Settings
from modelselect.host.host import Host
from modelselect.host.lookup import POOL_VARIABLE
from modelselect.selection import choosing
from modelselect.selection.choosing import Choice, chosen, guessed_macs, promises

pytestmark = pytest.mark.usefixtures("cache")

MEGABYTE = 1_000_000


class FarZoo(ms.Zoo):
    """A zoo of networks that have to be downloaded: `a0` to `a5` of one family, `b0` to `b5` of another."""

    name = "far"

    def __init__(self) -> None:
        self.here: set[str] = set()
        self.reachable = True
        self.asked: list[str] = []

    def search(self, pattern: str) -> Iterable[Candidate]:
        self.asked.append(pattern)
        for family in "ab":
            for size in range(6):
                name = f"{family}{size}"
                if pattern in ("*", name):
                    yield Candidate(
                        self.name,
                        name,
                        "1",
                        {
                            "modality": "image",
                            "family": family,
                            "architecture": name,
                            "parameters": (size + 1) * MEGABYTE,
                            "size_bytes": 4 * (size + 1) * MEGABYTE,
                            "input_size": (3, 16, 16),
                            "license": "mit" if family == "a" else "apache-2.0",
                            "remote_code": name == "b4",
                        },
                    )

    def is_here(self, candidate: Candidate) -> bool:
        return candidate.name in self.here

    def is_reachable(self) -> bool:
        return self.reachable

    def load(self, candidate: Candidate, *, trust_remote_code: bool = False) -> Any:
        raise CandidateError(f"{candidate.name} is never loaded")


@pytest.fixture
def far(use_host: Callable[[Host], None], monkeypatch: pytest.MonkeyPatch) -> FarZoo:
    """The shipped plugins and a zoo that downloads, with two pools, on a device of a known speed."""
    zoo = FarZoo()

    class Plugin:
        @ms.hookimpl
        def modelselect_register_zoos(self) -> list[ms.Zoo]:
            return [zoo]

        @ms.hookimpl
        def modelselect_register_pools(self) -> list[Pool]:
            return [
                Pool("first", "A.", "image", ("far:a0", "far:a1", "far:a5")),
                Pool("rest", "B.", "image", ("far:b5",)),
            ]

    host = Host.load()
    host.register(Plugin(), "far")
    host.pools = {name: pool for name, pool in host.pools.items() if name in ("first", "rest")}
    use_host(host)
    monkeypatch.setattr(choosing, "macs_per_second", lambda device: 1e9)
    monkeypatch.setattr(choosing, "decode_seconds", lambda probe: 0.0)
    monkeypatch.setattr(choosing, "SLOW_DEVICE", 1e-9)
    monkeypatch.delenv(POOL_VARIABLE, raising=False)
    return zoo


@pytest.fixture
def data() -> tuple[Any, list[int]]:
    return np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), dtype=np.uint8), [0] * 20 + [1] * 20


def choice(data: Any, candidates: Any = None, **settings: Any) -> tuple[list[str], Choice]:
    request, found = chosen(Request.of(Settings(**settings), data, candidates))
    return [candidate.name for candidate in request.pool], found


def test_without_candidates_they_come_from_the_pools_for_the_rows(far: FarZoo, data: Any) -> None:
    names, found = choice(data)
    assert names == ["a0", "a1", "a5", "b5"]
    assert found.statement[0].startswith(
        "Candidates: 4 of 4 from the pools for images (3 of pool:first, 1 of pool:rest); 60 MB to download, "
    )
    assert found.record is not None
    assert found.record["download_bytes"] == 60 * MEGABYTE


def test_what_exceeds_the_bounds_is_left_out_and_the_board_says_so(far: FarZoo, data: Any) -> None:
    names, found = choice(data, max_download="40MB")
    assert sum(4 * (int(name[1]) + 1) for name in names) <= 40
    assert names in (["a0", "a1", "a5"], ["a0", "a1", "b5"])
    assert found.record is not None
    said = found.record["remarks"][-1]
    assert said.startswith("Left out: 1 less promising, or too large for the bounds of 40 MB and 10 min. max_download=")
    (left,) = found.record["left_out"].values()
    assert len(left) == 1
    with pytest.raises(InvalidInputError, match="no candidate fits the bounds of 1 MB and 10 min: far:a0, the"):
        choice(data, max_download="1MB")


def test_what_the_limit_leaves_out_is_said_apart_from_what_is_too_large(far: FarZoo, data: Any) -> None:
    _, found = choice(data, ["far:a0", "far:a1", "far:a2", "far:b5"], limit=2, max_download="23MB")
    assert found.record is not None
    reasons = {reason: len(names) for reason, names in found.record["left_out"].items()}
    assert reasons == {
        "less promising or more costly (limit=2, --limit 2)": 1,
        "too large for the bounds of 23 MB and 10 min": 1,
    }


def test_time_is_a_bound_as_well(far: FarZoo, data: Any) -> None:
    # a1 has 2 million parameters, each used once for each of 40 rows: 0.08 s at 1e9 multiply-accumulates a second
    assert choice(data, max_time=0.15)[0] == ["a0", "a1"]
    assert choice(data, max_time=0.05)[0] == ["a0"]
    assert choice(data, budget="1s")[0] == ["a0", "a1", "a5", "b5"]


def test_what_is_here_costs_no_download(far: FarZoo, data: Any) -> None:
    far.here = {"a5", "b5"}
    names, found = choice(data, max_download="12MB")
    assert names == ["a0", "a1", "a5", "b5"]
    assert "12 MB to download" in found.statement[0]


def test_the_choice_of_a_run_is_that_of_the_next_one(far: FarZoo, data: Any) -> None:
    first = choice(data, max_download="12MB")[0]
    assert first == ["a0", "a1"]
    far.here = set(first)  # and nothing is spent any more
    assert choice(data, max_download="12MB")[0] == first
    assert choice(data, max_download="12MB", top_k=1)[0] == first  # ranked first, and verified later


def test_without_a_network_only_what_is_here_is_offered_and_nothing_else_is_searched(far: FarZoo, data: Any) -> None:
    far.reachable, far.here = False, {"a1"}
    names, found = choice(data)
    assert names == ["a1"]
    assert far.asked == ["a1"]
    assert "3 not on this machine, and far cannot be reached" in found.statement[-1]


def test_without_a_network_and_a_cache_the_error_says_what_to_do(far: FarZoo, data: Any) -> None:
    far.reachable = False
    with pytest.raises(InvalidInputError, match=r"not on this machine") as refused:
        ms.select(data)
    for advice in (POOL_VARIABLE, "'dir:path/to/models/*'", "run once with a network"):
        assert advice in str(refused.value)


def test_the_variable_names_the_candidates(far: FarZoo, data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(POOL_VARIABLE, "pool:rest, embedded:plain*,resnet.letters")
    names, found = choice(data)
    assert names == ["b5", "plain.letters", "plain.random", "resnet.letters"]
    assert "your own pool MODELSELECT_POOL" in found.statement[0]
    monkeypatch.setenv(POOL_VARIABLE, "pool:rets")
    with pytest.raises(InvalidInputError, match="rets"):
        choice(data)


def test_candidates_for_other_rows_are_not_offered(far: FarZoo, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["good", "bad"] * 10, [0, 1] * 10
    with pytest.raises(InvalidInputError, match="no pool holds candidates for text rows"):
        choice(texts)
    monkeypatch.setenv(POOL_VARIABLE, "far:a0")
    with pytest.raises(InvalidInputError, match=r"does not take text rows \(far:a0\)"):
        choice(texts)


def test_limits_and_memory_narrow_the_choice(far: FarZoo, data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    names, found = choice(data, license="mit")
    assert names == ["a0", "a1", "a5"]
    assert "1 not within the limits (license=mit)" in found.statement[-1]
    names, found = choice(data, "far:*", limit=2, max_training_memory="50MB")
    assert set(names) == {"a1", "b1"}  # 24 bytes for each parameter are the least that training takes
    assert "7 not within the limits (max_training_memory=50 MB)" in found.statement[-1]
    monkeypatch.setattr(choosing, "free_memory", lambda device: 30 * MEGABYTE)
    assert choice(data)[0] == ["a0", "a1"]  # 8 bytes for each parameter
    assert choice(data, top_k=1)[0] == ["a0"]  # 28 bytes in training on a CPU


def test_code_that_is_not_trusted_is_no_choice(far: FarZoo, data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(POOL_VARIABLE, "far:b3,far:b4")
    names, found = choice(data)
    assert names == ["b3"]
    assert "1 with code of their own, which could do anything on this computer" in found.statement[-1]
    assert choice(data, trust_remote_code=True)[0] == ["b3", "b4"]
    with pytest.raises(InvalidInputError, match="no candidate can be taken: 1 with code of their own"):
        choice(data, "far:b4", limit=1)


def test_a_limit_keeps_the_most_promising_of_several_families(far: FarZoo, data: Any) -> None:
    names, found = choice(data, "far:*", limit=2)
    assert names == ["a5", "b5"]  # the largest of each: nothing but the size is known of these
    assert found.statement[0].startswith("Candidates: 2 of 12; 48 MB to download")
    names, _ = choice(data, "far:*", limit=3, max_download="17MB")
    assert len(names) == 3
    assert sum(4 * (int(name[1]) + 1) for name in names) <= 17


def test_named_candidates_within_the_bounds_are_taken_without_a_word(far: FarZoo, data: Any) -> None:
    names, found = choice(data, "far:*")
    assert len(names) == 12
    assert found == Choice()


def test_named_candidates_that_exceed_the_bounds_are_a_warning_in_python(far: FarZoo, data: Any) -> None:
    expected = r"12 candidates: 168 MB to download .*bounds are 100 MB and 10 min\..*limit=8 \(--limit 8\)"
    with pytest.warns(UserWarning, match=expected), pytest.raises(ms.errors.NothingRankedError):
        ms.select(data, "far:*", max_download="100MB", history=False)
    assert "168 MB" in ms.plan(data, "far:*", max_download="100MB").remarks[-1]


def test_rounds_take_less_time_than_all_rows_for_all(far: FarZoo) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (400, 16, 16, 3), dtype=np.uint8)
    data = pixels, [0, 1] * 200
    named = ["far:a0", "far:a1", "far:a2", "far:b0", "far:b1", "far:b2"]
    whole = choice(data, named, max_time="1s", estimators="knn")[1].excess
    parts = choice(data, named, max_time="1s", estimators="knn", rounds=True)[1].excess
    seconds = [float(text.split("about ")[1].split(" s ")[0]) for text in (whole, parts)]
    assert seconds[1] == pytest.approx(0.75 * seconds[0], rel=0.2)


def test_recall_counts_for_the_candidates_that_it_keeps(far: FarZoo, data: Any, tmp_path: Path) -> None:
    assert choice(data, "far:*", max_download="100MB")[1].excess
    history = tmp_path / "history.sqlite"
    assert not choice(data, "far:*", max_download="100MB", recall=6, history=history)[1].excess


@pytest.mark.parametrize("agrees", [True, False])
def test_somebody_is_asked_before_anything_is_downloaded(far: FarZoo, data: Any, agrees: bool) -> None:
    asked: list[str] = []

    def confirm(question: str) -> bool:
        asked.append(question)
        return agrees

    settings = {"max_time": "1s", "confirm": confirm, "history": False}
    if agrees:
        with pytest.raises(ms.errors.NothingRankedError, match="never loaded"):
            ms.select(data, "far:*", **settings)
    else:
        with pytest.raises(InvalidInputError, match=r"Nothing was downloaded\. To go on, add --yes"):
            ms.select(data, "far:*", **settings)
    assert len(asked) == 1
    assert "168 MB to download and about" in asked[0]


def test_nothing_is_asked_where_nothing_is_downloaded(far: FarZoo, data: Any) -> None:
    def confirm(question: str) -> bool:
        raise AssertionError(question)

    board = ms.select(data, "embedded:plain*", estimators="logme", max_time=1e-9, max_download=0, confirm=confirm)
    assert len(board.ranked) == 2
    assert board.provenance["choice"] is None


def test_a_run_without_candidates_ranks_and_its_board_says_what_was_taken(
    data: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(POOL_VARIABLE, "embedded:plain*")
    board = ms.select(data, estimators="logme", progress=False)
    assert len(board.ranked) == 2
    said = "Candidates: 2 of 2 from your own pool MODELSELECT_POOL (2 of embedded:plain*); nothing to"
    assert said in " ".join(str(board).split())
    assert not capsys.readouterr().err
    assert ms.select(data, estimators="logme") == board
    assert "2 of 2" in capsys.readouterr().err


@pytest.mark.parametrize("given", [lambda path: path, lambda path: [path], lambda path: (path, "resnet.letters")])
def test_a_path_is_a_folder_of_models(data: Any, tmp_path: Path, given: Callable[[Path], Any]) -> None:
    with pytest.raises(ms.errors.ExpressionError, match=r"there is no folder '.*/nothing' here"):
        choice(data, given(tmp_path / "nothing"))


def test_what_is_known_of_networks_orders_them() -> None:
    better, worse = ms.search("timm:convnext_tiny.in12k_ft_in1k,timm:resnet18.tv_in1k")
    assert promises([better, worse])[0] > promises([better, worse])[1]


@pytest.mark.parametrize(
    ("metadata", "true"),
    [
        ({"parameters": 25_557_032, "input_size": (3, 224, 224), "modality": "image"}, 4.1e9),  # ResNet-50
        ({"parameters": 86_567_656, "input_size": (3, 224, 224), "modality": "image"}, 16.9e9),  # ViT-B/16
        ({"parameters": 5_483_032, "input_size": (3, 224, 224), "modality": "image"}, 0.22e9),  # MobileNetV3-L
    ],
)
def test_guessed_multiply_accumulates_are_right_within_a_factor_of_five(metadata: Any, true: float) -> None:
    assert true / 5 < guessed_macs(Candidate("timm", "any", metadata=metadata)) < 5 * true


def test_a_candidate_of_an_unknown_zoo_costs_one_row(data: Any) -> None:
    board = ms.select(data, ["embedded:plain.letters", Candidate("gone", "a")], estimators="logme", progress=False)
    assert [row.candidate.name for row in board.ranked] == ["plain.letters"]
    assert "unknown zoo 'gone'" in board.rows[-1].status


def test_metadata_of_a_wrong_kind_end_no_run(data: Any) -> None:
    known = ms.search("embedded:plain.letters")[0]
    wrong = Candidate(known.zoo, "plain.random", metadata={"parameters": "many", "download_bytes": "few"})
    board = ms.select(data, [known, wrong], estimators="logme", limit=2, progress=False)
    assert {row.candidate.name for row in board.rows} == {"plain.letters", "plain.random"}


def test_rounds_make_room_for_more_candidates_within_the_same_time(far: FarZoo, data: Any) -> None:
    def taken(rows: int, **settings: Any) -> tuple[list[str], Choice]:
        labels = [0] * (rows // 2) + [1] * (rows // 2)
        pictures = np.random.default_rng(0).integers(0, 256, (rows, 16, 16, 3), dtype=np.uint8)
        return choice((pictures, labels), "far:*", estimators="knn", limit=11, **settings)

    whole, at_once = taken(400, max_time=8)
    more, in_rounds = taken(400, max_time=8, rounds=True)
    assert len(whole) < len(more) <= 11
    assert at_once.record is not None
    assert in_rounds.record is not None
    assert at_once.record["seconds"] <= 8
    assert in_rounds.record["seconds"] <= 8
    # as a plan of the same rounds counts it: 400 rows for some of them, fewer for the others
    passes = sum((int(name[1]) + 1) * 1e6 * 400 / 1e9 for name in more)
    assert in_rounds.record["seconds"] < 0.8 * passes
    assert taken(400, max_time=8)[0] == whole  # the choice with rounds is kept apart


def test_rounds_save_nothing_for_a_few_candidates(far: FarZoo, data: Any) -> None:
    assert choice(data, max_time=0.15, rounds=True)[0] == choice(data, max_time=0.15)[0] == ["a0", "a1"]
