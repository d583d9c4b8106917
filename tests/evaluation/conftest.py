"""What tests of the evaluation share: a folder of images."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.selection.material import stripes


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stripes(tmp_path_factory.mktemp("stripes"))
