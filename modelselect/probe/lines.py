"""Text files of a dataset, line by line: only what is a file, in UTF-8, with lines of bounded length."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from modelselect.errors import DatasetError

LONGEST = 1 << 24
"""Characters in a line, at most: 16 million, several times those of the longest novel."""


def lines_of(path: Path) -> Iterator[str]:
    """The lines of a file, with their ends.

    Raises:
        DatasetError: there is no such file, it is a folder, a pipe or a device, it cannot be read, it is not in UTF-8,
            or a line is longer than `LONGEST`.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise DatasetError(f"{path} is a folder, a pipe or a device; expected a file.")
        with path.open(encoding="utf-8-sig") as file:
            number = 0
            while line := file.readline(LONGEST + 1):
                number += 1
                if len(line) > LONGEST:
                    raise DatasetError(
                        f"line {number} of {path} has more than {LONGEST:,} characters; expected a text for each line. "
                        "The file is damaged, or of another kind."
                    )
                yield line
    except UnicodeError:
        raise DatasetError(f"the file {path} is not in UTF-8; save it in UTF-8.") from None
    except OSError as error:
        raise DatasetError(f"the file {path} cannot be read ({error.strerror}).") from error
