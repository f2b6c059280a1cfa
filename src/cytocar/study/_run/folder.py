"""The output folder of a run: built under a hidden name beside it, and moved when it is whole."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cytocar._core.errors import Problem, StudyError


def require_free(out: Path) -> None:
    """Raise `StudyError` when `out` is a file or a folder that holds something."""
    if out.is_dir() and any(out.iterdir()):
        content = sorted(path.name for path in out.iterdir())
        shown = ", ".join(content[:3]) + (", ..." if len(content) > 3 else "")
        raise StudyError(
            [
                Problem(
                    str(out),
                    f"the output folder is not empty (it holds {shown})",
                    "name a new folder, or empty this one",
                )
            ]
        )
    if out.exists() and not out.is_dir():
        raise StudyError(
            [Problem(str(out), "this is a file, not a folder", "name a folder that does not exist yet")]
        )


@contextmanager
def building(out: Path) -> Iterator[Path]:
    """Give an empty hidden folder beside `out`; it becomes `out` when the block ends well, else it is deleted."""
    require_free(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=out.parent))
    except OSError as error:
        raise StudyError(
            [
                Problem(
                    str(out),
                    f"the output folder cannot be made: {error.strerror}",
                    "name a folder you may write to",
                )
            ]
        ) from error
    try:
        yield partial
        partial.chmod(0o755)
        if out.is_dir():
            out.rmdir()
        partial.rename(out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
