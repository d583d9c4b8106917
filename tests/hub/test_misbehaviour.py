"""Whatever a Hub does wrong costs one row that says what happened, or a retry that nobody notices."""

from __future__ import annotations

import json
import os
import pickle
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import modelselect as ms
from modelselect.errors import CandidateError, ModelSelectError, NothingRankedError, SearchError
from modelselect_plugins.zoos._hub import client
from modelselect_plugins.zoos.hub import HubZoo
from tests.hub import models
from tests.hub.server import DATE, Hub

ZOO = HubZoo()
IMAGES = np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3), dtype=np.uint8)
LABELS = [0, 1] * 12
WEIGHTS = "model.safetensors"


def row(expression: str, **settings: Any) -> ms.leaderboard.Row:
    """The row of the only candidate of a selection."""
    try:
        board = ms.select((IMAGES, LABELS), expression, estimators="centroid", progress=False, **settings)
    except NothingRankedError as error:
        board = error.leaderboard  # type: ignore[assignment]
    (only,) = board.rows
    return only


@pytest.fixture(autouse=True)
def fresh_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELSELECT_CACHE", str(tmp_path / "store"))


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that would have been slept, by us or by the Hub's client; nobody sleeps."""
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    return slept


@pytest.fixture
def vit(hub: Hub) -> Hub:
    """A Hub with one good model, `me/vit`."""
    hub.model("me/vit", models.image_files("vit"), library_name="transformers", pipeline_tag="image-classification")
    return hub


def cached(name: str) -> list[Path]:
    """What the client's cache holds of files of that name."""
    from huggingface_hub import constants

    return list(Path(constants.HF_HUB_CACHE).rglob(name))


# --- who may see what ------------------------------------------------------------------------------------------------


def test_a_model_that_is_not_there_costs_a_row_that_says_so(vit: Hub) -> None:
    board = ms.select((IMAGES, LABELS), ["hub:me/vit", "hub:me/vlt"], estimators="centroid", progress=False)
    assert [r.status.split(":")[0] for r in board.rows] == ["ok", "failed"]
    status = board.rows[1].status
    assert f"no model 'me/vlt', or the model is private: check the spelling at {vit.url}/me/vlt" in status
    assert "`hf auth login`" in status


def test_a_private_model_is_for_those_who_may_see_it(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.model("me/vit", models.image_files("vit"), private=True, readers={"hf_friend"})
    for token in ("", "hf_unknown"):
        monkeypatch.setenv("HF_TOKEN", token)
        assert "if you have access, log in with `hf auth login`" in row("hub:me/vit").status
    monkeypatch.setenv("HF_TOKEN", "hf_friend")
    assert row("hub:me/vit").status == "ok"


@pytest.mark.parametrize("token", ["", "hf_not_let_in"])  # the Hub answers 401 to one, 403 to the other
def test_a_gated_model_names_the_page_to_visit(hub: Hub, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    hub.model("me/vit", models.image_files("vit"), gated="manual", readers={"hf_friend"})
    gated = row("hub:me/vit")
    assert gated.status == (
        f"failed: the files are gated: ask for access at {hub.url}/me/vit, then log in with `hf auth login`"
    )
    assert gated.candidate.metadata["gated"] is True
    monkeypatch.setenv("HF_TOKEN", "hf_friend")
    assert row("hub:me/vit").status == "ok"


@pytest.mark.parametrize(
    "config",
    [
        {"architectures": 5, "model_type": ["vit"], "auto_map": {}},
        {"architectures": {"a": 1}, "architecture": 3, "model_type": {"a": 1}},
        {"architectures": [[]], "auto_map": 7},
        [],
    ],
)
def test_one_damaged_repository_does_not_end_the_search_of_others(vit: Hub, config: Any) -> None:
    vit.model("me/odd", models.image_files("vit"), config=config, tags=[5, None, "vit"])
    found = {candidate.name: candidate.metadata for candidate in ms.search("hub:?author=me")}
    assert set(found) == {"me/vit", "me/odd"}
    assert not {"architecture", "family"} & set(found["me/odd"])


def test_half_a_surrogate_pair_in_an_answer_is_in_no_message(vit: Hub) -> None:
    vit.misbehave("GET /api/models/me/vit", rewrite=lambda body: body.replace(DATE.encode(), b"\\ud800"))
    with pytest.raises(ModelSelectError, match="could not be looked up") as caught:
        ms.search("hub:me/vit")
    str(caught.value).encode()


def changed_info(**facts: Any) -> Any:
    return lambda body: json.dumps({**json.loads(body), **facts}).encode()


@pytest.mark.parametrize(
    "rewrite",
    [
        lambda body: b"",
        lambda body: b"null",
        lambda body: b"[]",
        lambda body: b"5",
        lambda body: body[:-20],
        lambda body: b"<html>maintenance</html>",
        lambda body: b"[" * 100_000,
        changed_info(id="../../../elsewhere"),
        changed_info(id=5),
        changed_info(id=None),
        changed_info(sha=None),
        changed_info(sha="main/../.."),
        changed_info(sha=7),
        changed_info(siblings=5),
        changed_info(siblings=[{"rfilename": 5}, {}, None]),
        changed_info(tags=5),
        changed_info(safetensors={"total": "many"}),
        changed_info(securityRepoStatus={"filesWithIssues": [5]}),
        changed_info(cardData={"language": {"a": 1}}),
    ],
)
def test_whatever_the_hub_says_of_a_model_costs_at_most_its_row(vit: Hub, rewrite: Any, waits: list[float]) -> None:
    vit.model("me/good", models.timm_files())
    vit.misbehave(STEPS["look up"], rewrite=rewrite)
    board = ms.select((IMAGES, LABELS), ["hub:me/vit", "hub:me/good"], estimators="centroid", progress=False)
    good, other = sorted(board.rows, key=lambda each: each.candidate.name)
    assert good.status == "ok"
    assert other.status == "ok" or other.status.startswith("failed: ")
    assert other.candidate.name == "me/vit"
    assert [path for path in cached("*") if "elsewhere" in str(path)] == []


def test_an_answer_that_makes_no_sense_when_a_model_is_loaded_is_told(vit: Hub) -> None:
    vit.misbehave("GET /api/models/me/vit/revision", rewrite=lambda _: b"{}")
    assert (
        f"the answer of {vit.url} cannot be understood (KeyError: 'id'): check HF_ENDPOINT" in row("hub:me/vit").status
    )


# --- faults that pass ------------------------------------------------------------------------------------------------

STEPS = {
    "search": r"GET /api/models\?",
    "look up": r"GET /api/models/me/vit",
    "head": rf"HEAD .*{WEIGHTS}",
    "fetch": rf"GET .*/resolve/.*{WEIGHTS}",
}


@pytest.mark.parametrize("step", STEPS)
def test_a_rate_limit_is_waited_for_as_long_as_the_hub_asks(vit: Hub, step: str, waits: list[float]) -> None:
    fault = vit.misbehave(STEPS[step], times=1, status=429, headers={"Retry-After": "7"})
    assert row("hub:?author=me").status == "ok"
    assert fault.times == 0
    assert waits in ([7], [8])  # the client adds one


def test_a_rate_limit_too_long_to_wait_for_is_told(vit: Hub, waits: list[float]) -> None:
    vit.misbehave(STEPS["look up"], status=429, headers={"Retry-After": "3600"})
    assert "limits the rate of requests for 3600 s: try later, or log in" in row("hub:me/vit").status
    assert waits == []


@pytest.mark.parametrize("step", STEPS)
def test_one_server_error_is_not_noticed(vit: Hub, step: str, waits: list[float]) -> None:
    fault = vit.misbehave(STEPS[step], times=1, status=500)
    assert row("hub:?author=me").status == "ok"
    assert fault.times == 0


def test_a_connection_cut_in_the_middle_of_a_file_goes_on_where_it_was_cut(vit: Hub, waits: list[float]) -> None:
    size = len(models.image_files("vit")[WEIGHTS])
    vit.misbehave(STEPS["fetch"], times=1, cut=size // 3)
    before = len(vit.requests)
    assert row("hub:me/vit").status == "ok"
    assert sum("GET" in r and WEIGHTS in r for r in vit.requests[before:]) == 2
    assert cached(WEIGHTS)[0].read_bytes() == models.image_files("vit")[WEIGHTS]


def test_a_stalled_read_is_taken_up_again(vit: Hub, waits: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 0.3)
    vit.misbehave(STEPS["fetch"], times=1, stall=60)
    assert row("hub:me/vit").status == "ok"


def test_a_size_announced_wrongly_once_is_not_noticed(vit: Hub, waits: list[float]) -> None:
    vit.misbehave(STEPS["head"], times=1, replace={"X-Linked-Size": "1000000"})
    assert row("hub:me/vit").status == "ok"


# --- faults that stay ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", STEPS)
def test_server_errors_for_ever_end_soon_and_say_so(vit: Hub, step: str, waits: list[float]) -> None:
    vit.misbehave(STEPS[step], status=500)
    assert "the Hub fails with 500" in row("hub:?author=me").status
    assert sum(waits) < 60
    assert vit.count(STEPS[step]) < 10


def test_connections_that_are_always_cut_end_soon(vit: Hub, waits: list[float]) -> None:
    vit.misbehave(STEPS["fetch"], cut=0)
    assert "the Hub cannot be reached" in row("hub:me/vit").status
    assert sum(waits) < 60


@pytest.mark.parametrize("step", STEPS)
def test_silence_ends_in_bounded_time(vit: Hub, step: str, waits: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 0.1)
    monkeypatch.setattr(client, "ANSWER_SECONDS", 0.1)
    monkeypatch.setattr(client, "PAGE_SECONDS", 0.3)
    vit.misbehave(STEPS[step], silent=60)
    begun = time.monotonic()
    status = row("hub:?author=me").status
    assert "the Hub cannot be reached" in status
    assert time.monotonic() - begun < 15
    assert sum(waits) < 60


def test_a_hub_that_asks_the_client_to_wait_for_hours_is_not_waited_for(
    vit: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelselect.utils.downloads.STILL_SECONDS", 1.0)
    vit.misbehave(STEPS["fetch"], status=429, headers={"Retry-After": "36000"})
    assert f"no more of {WEIGHTS} has arrived for 1 s" in row("hub:me/vit").status


@pytest.fixture
def nowhere(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> str:
    """The Hub's address, where nothing is."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(client, "_without_connection", {})
    monkeypatch.setattr(client, "_warned", set())
    return "http://127.0.0.1:9"


@pytest.mark.filterwarnings("ignore:the Hub cannot be reached")
@pytest.mark.parametrize("expression", ["hub:me/vit", "hub:?author=me", "hub:me/*"])
def test_a_hub_that_is_not_there_is_told_soon(nowhere: str, expression: str, waits: list[float]) -> None:
    assert f"the Hub cannot be reached at {nowhere}" in row(expression).status
    assert waits == [client.FIRST_WAIT]


@pytest.mark.filterwarnings("ignore:the Hub cannot be reached")
def test_advice_for_a_query_without_a_network_downloads_no_query(nowhere: str, waits: list[float]) -> None:
    status = row("hub:?author=me").status
    assert "A query needs the Hub. Name models from the cache instead: `hf cache ls` lists them" in status
    assert "hf download" not in status


def test_many_models_of_a_hub_that_is_not_there_wait_once_and_warn_once(nowhere: str, waits: list[float]) -> None:
    names = [f"hub:me/model-{number}" for number in range(20)]
    with pytest.warns(UserWarning, match="the Hub cannot be reached") as caught, pytest.raises(NothingRankedError) as e:
        ms.select((IMAGES, LABELS), names, estimators="centroid", progress=False)
    assert len([w for w in caught if "cannot be reached" in str(w.message)]) == 1
    assert waits == [client.FIRST_WAIT]
    board: Any = e.value.leaderboard
    assert len(board.rows) == 20
    assert all(f"the Hub cannot be reached at {nowhere}" in r.status for r in board.rows)


def test_a_hub_that_is_back_is_asked_again(vit: Hub, waits: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_without_connection", {vit.url: (time.monotonic(), ConnectionError("gone"))})
    with pytest.raises(SearchError, match="gone"):
        ms.search("hub:me/vit")
    monkeypatch.setattr(client, "NOT_ASKED_SECONDS", 0.0)
    assert len(ms.search("hub:me/vit")) == 1


def test_silence_before_the_first_byte_ends_in_bounded_time(vit: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = ms.search("hub:me/vit")
    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", lambda *_, **__: None)  # answers; then comes silence
    monkeypatch.setattr(client, "STALL_SECONDS", 0.5)
    vit.misbehave(STEPS["head"], silent=60)
    begun = time.monotonic()
    with pytest.raises(CandidateError, match=f"the Hub has not begun to send {WEIGHTS}"):
        ZOO.load(found)
    assert time.monotonic() - begun < 15


# --- content that is not what it should be ---------------------------------------------------------------------------


def test_a_wrong_etag_does_no_harm_where_the_content_is_right(vit: Hub) -> None:
    vit.misbehave(STEPS["head"], replace={"ETag": '"0"', "X-Linked-Etag": f'"{"0" * 64}"'})
    assert row("hub:me/vit").status == "ok"


def test_content_that_is_not_what_the_hub_lists_is_refused_and_not_kept(vit: Hub) -> None:
    vit.misbehave(STEPS["fetch"], times=1, rewrite=lambda body: body[:-1] + bytes([body[-1] ^ 1]))
    status = row("hub:me/vit").status
    assert f"the {WEIGHTS} arrived damaged" in status
    assert cached(WEIGHTS) == []
    assert row("hub:me/vit").status == "ok"


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_a_small_file_that_is_not_what_the_hub_lists_is_not_kept(vit: Hub, name: str) -> None:
    fault = vit.misbehave(f"GET .*/{name}", rewrite=lambda body: body.replace(b"32", b"16"))
    assert f"the {name} arrived damaged" in row("hub:me/vit").status
    assert cached(name) == []
    vit.faults.remove(fault)
    assert row("hub:me/vit").status == "ok"


def test_what_a_killed_run_downloaded_is_checked_before_it_is_believed(
    vit: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(path: Path, like: str) -> str:
        raise Killed

    (found,) = ms.search("hub:me/vit")
    vit.misbehave(STEPS["fetch"], times=1, rewrite=lambda body: body[:-1] + bytes([body[-1] ^ 1]))
    with monkeypatch.context() as context:
        context.setattr(client, "digest_of", killed)
        with pytest.raises(Killed):
            ZOO.load(found)
    assert len(cached(WEIGHTS)) == 1
    assert f"the {WEIGHTS} arrived damaged" in row(found.id).status
    assert cached(WEIGHTS) == []
    assert row(found.id).status == "ok"
    requests = vit.count(STEPS["fetch"])
    assert ZOO.load(found).candidate == found
    assert vit.count(STEPS["fetch"]) == requests


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_a_description_without_bounds_is_not_downloaded(hub: Hub, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    files = models.image_files("vit")
    hub.model("me/large", {**files, name: files[name] + b" " * 200_000})
    monkeypatch.setattr(client, "LARGEST_DESCRIPTION", 100_000)
    assert (
        f"the {name} has {len(files[name]) + 200_000:,} bytes; expected at most 100,000" in row("hub:me/large").status
    )
    assert cached(name) == []


def test_a_size_that_never_agrees_is_told(vit: Hub, waits: list[float]) -> None:
    vit.misbehave(STEPS["head"], replace={"X-Linked-Size": "1000000"})
    assert "should be of size 1000000" in row("hub:me/vit").status


@pytest.mark.parametrize("files", [models.timm_files, lambda: models.image_files("vit")], ids=["timm", "transformers"])
def test_truncated_weights_cost_one_row(hub: Hub, files: Any) -> None:
    good = files()
    hub.model("me/short", {**good, WEIGHTS: good[WEIGHTS][:-1000]})
    assert "a file is truncated or damaged" in row("hub:me/short").status


class Harm:
    """Unpickling it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("library", ["timm", "transformers"])
def test_a_pickle_that_would_run_code_is_refused(hub: Hub, tmp_path: Path, library: str) -> None:
    files = models.timm_files() if library == "timm" else models.image_files("vit")
    good = models.pickled(files)
    marker = tmp_path / "harmed"
    hub.model("me/good", good)
    hub.model("me/bad", {**good, "pytorch_model.bin": pickle.dumps({"weight": Harm(marker)}, protocol=2)})
    status = row("hub:me/bad").status
    assert "the pytorch_model.bin is a pickle of more than tensors" in status
    assert not marker.exists()
    assert row("hub:me/good").status == "ok"


def test_no_file_leaves_its_folder(hub: Hub) -> None:
    files = models.image_files("vit")
    outside = {"../escaped.json": b"{}", "../../escaped.safetensors": b"x", "/escaped.bin": b"x"}
    hub.model("me/odd", {**files, **outside})
    assert row("hub:me/odd").status == "ok"
    assert [path for path in cached("*") if "escaped" in path.name] == []
    assert hub.count("escaped") == 0


def test_an_index_that_names_files_outside_is_refused(hub: Hub, tmp_path: Path) -> None:
    files = models.sharded(models.image_files("vit"))
    index = json.loads(files["model.safetensors.index.json"])
    index["weight_map"] = dict.fromkeys(index["weight_map"], "../../../../elsewhere.safetensors")
    hub.model("me/odd", {**files, "model.safetensors.index.json": json.dumps(index).encode()})
    assert "names '../../../../elsewhere.safetensors', which is not a file of weights" in row("hub:me/odd").status


CONFIGURATION = """
from transformers import PretrainedConfig

class OddConfig(PretrainedConfig):
    model_type = "odd-one"
    def __init__(self, width=6, **more):
        self.width = width
        super().__init__(**more)
"""
MODEL = """
import os
import torch
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling
from .configuration_odd import OddConfig

open(os.environ["ODD_MARKER"], "w").close()

class OddModel(PreTrainedModel):
    config_class = OddConfig
    def __init__(self, config):
        super().__init__(config)
        self.body = torch.nn.Conv2d(3, config.width, 4, 4)
        self.post_init()
    def forward(self, pixel_values):
        hidden = self.body(pixel_values)
        return BaseModelOutputWithPooling(last_hidden_state=hidden, pooler_output=hidden.mean((2, 3)))
"""


def test_code_of_a_repository_runs_only_if_allowed(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from safetensors.torch import save

    marker = tmp_path / "ran"
    monkeypatch.setenv("ODD_MARKER", str(marker))
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    auto = {"AutoConfig": "configuration_odd.OddConfig", "AutoModel": "modeling_odd.OddModel"}
    config = {"model_type": "odd-one", "architectures": ["OddModel"], "auto_map": auto, "width": 6}
    conv = torch.nn.Conv2d(3, 6, 4, 4)
    hub.model(
        "me/odd",
        {
            "config.json": json.dumps(config).encode(),
            "preprocessor_config.json": models.image_files("vit")["preprocessor_config.json"],
            "configuration_odd.py": CONFIGURATION.encode(),
            "modeling_odd.py": MODEL.encode(),
            WEIGHTS: save({f"body.{k}": v.detach() for k, v in conv.state_dict().items()}, {"format": "pt"}),
        },
    )
    assert "trust_remote_code=True" in row("hub:me/odd").status
    assert hub.count(rf"resolve.*(\.py|{WEIGHTS})") == 0
    with pytest.raises(CandidateError, match="trust_remote_code=True"):  # also if the metadata said nothing before
        ZOO.load(ms.Candidate("hub", "me/odd"))
    assert hub.count(rf"resolve.*(\.py|{WEIGHTS})") == 0
    assert not marker.exists()
    allowed = row("hub:me/odd", trust_remote_code=True)
    assert (allowed.status, allowed.feature_dim) == ("ok", 6)
    assert marker.exists()


# --- time passes -----------------------------------------------------------------------------------------------------


def test_what_was_found_is_loaded_whatever_is_pushed_afterwards(hub: Hub) -> None:
    repository = hub.model("me/vit", models.image_files("vit", seed=0))
    (found,) = ms.search("hub:?author=me")
    assert found.revision == repository.sha
    repository.commit(models.image_files("vit", seed=1))
    (newer,) = ms.search("hub:me/vit")
    assert newer.revision == repository.sha != found.revision

    def weight(candidate: ms.Candidate) -> Any:
        return next(ZOO.load(candidate).module.parameters()).detach().numpy()

    from safetensors.numpy import load

    name = "vit.embeddings.cls_token"
    assert np.array_equal(weight(found), load(models.image_files("vit", seed=0)[WEIGHTS])[name])
    assert np.array_equal(weight(newer), load(models.image_files("vit", seed=1)[WEIGHTS])[name])
    assert row("hub:?author=me").candidate.revision == newer.revision


def test_a_commit_that_is_gone_is_told(hub: Hub) -> None:
    repository = hub.model("me/vit", models.image_files("vit", seed=0))
    (found,) = ms.search("hub:me/vit")
    repository.commit(models.image_files("vit", seed=1))
    del repository.commits[0]  # squashed, or pushed with force
    with pytest.raises(CandidateError, match=r"has no such revision of 'me/vit' \(any more\): search again"):
        ZOO.load(found)


def test_offline_what_is_cached_works_and_the_rest_says_why(vit: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    vit.model("me/other", models.timm_files())
    online = row("hub:me/vit")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("MODELSELECT_CACHE", os.environ["MODELSELECT_CACHE"] + "-another")
    offline = row("hub:me/vit")
    assert (offline.status, offline.candidate.id, offline.score) == ("ok", online.candidate.id, online.score)
    assert row(online.candidate.id).status == "ok"
    assert "run `hf download me/other`, then copy its cache (HF_HOME) to this machine" in row("hub:me/other").status
    with pytest.raises(SearchError, match=r"the Hub's client is offline \(HF_HUB_OFFLINE\). A query needs the Hub"):
        ms.search("hub:?task=image-classification")


def test_half_a_download_is_no_model(vit: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = ms.search("hub:me/vit")  # its configuration is here now
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "the files are not all in the local cache" in row(found.id).status


def test_a_hub_that_fails_does_not_take_away_what_is_cached(vit: Hub, waits: list[float]) -> None:
    assert row("hub:me/vit").status == "ok"
    vit.misbehave(".*", status=503)
    (found,) = ms.search("hub:me/vit")
    assert ZOO.load(found).candidate == found


def test_nothing_waits_for_a_search_that_hangs(vit: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PAGE_SECONDS", 0.2)
    vit.misbehave(STEPS["search"], silent=60)
    with pytest.raises(SearchError):
        ms.search("hub:?author=me")
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "hub-search")
