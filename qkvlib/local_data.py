"""The folder of downloaded data, and who may write in it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from platformdirs import user_cache_path

from qkvlib.fetch import FetchError
from qkvlib.records import lock_folder

DATA_FOLDER_VARIABLE: Final = "QKV_DATA"


def data_folder() -> Path:
    """Return the folder of downloaded data.

    It is the folder named in the environment variable ``QKV_DATA``, or ``data`` in the user's cache
    folder for qkvlib; it need not exist.
    """
    named = os.environ.get(DATA_FOLDER_VARIABLE)
    return Path(named) if named else user_cache_path("qkvlib") / "data"


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Make the folder, and keep other fetches out of it.

    Raises:
        FetchError: If another fetch is writing there, or it cannot be written in.
    """
    said = f"another fetch is writing in {folder}. Wait until it has ended, and try again."
    try:
        with lock_folder(folder, FetchError(said)):
            yield
    except (PermissionError, FileExistsError, NotADirectoryError) as error:
        raise FetchError(
            f"the data folder {folder} cannot be used ({error.strerror}). Name one that is yours "
            f"to write in: {DATA_FOLDER_VARIABLE}=FOLDER"
        ) from error
