"""Files: written under a temporary name and moved, so that no half-written file has a final name."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cytocar._core.errors import ParameterError


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside `path`; move it to `path` when the block ends well, else delete it.

    The temporary file keeps the ending of `path`, because some writers choose their format by it.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> with replacing(folder / "a.txt") as temporary:
    ...     _ = temporary.write_text("done")
    >>> [p.name for p in folder.iterdir()]
    ['a.txt']
    """
    final = Path(path)
    handle, name = tempfile.mkstemp(prefix=f".{final.stem[:40]}.", suffix=final.suffix, dir=final.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes files only their owner can read; give them what a plain open() would have given.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(final)
    finally:
        temporary.unlink(missing_ok=True)


def is_fcs_name(name: str) -> bool:
    """Whether a file is an FCS file by its name, plain or packed.

    Examples
    --------
    >>> is_fcs_name("a.FCS"), is_fcs_name("a.fcs.gz"), is_fcs_name("a.gz")
    (True, True, False)
    """
    return name.casefold().endswith((".fcs", ".fcs.gz", ".fcs.zip"))


def fcs_stem(path: str | os.PathLike[str]) -> str:
    """Return the name of an FCS file without its endings.

    Examples
    --------
    >>> fcs_stem("runs/P1.d7.fcs"), fcs_stem("P1.fcs.gz"), fcs_stem("P1.zip")
    ('P1.d7', 'P1', 'P1')
    """
    stem = Path(path).stem
    return Path(stem).stem if is_fcs_name(Path(path).name) and is_fcs_name(stem) else stem


def unpacked_name(path: str | os.PathLike[str]) -> str:
    """Return the name of an FCS file as it is; of a packed one, that which it has unpacked.

    Examples
    --------
    >>> unpacked_name("runs/P1.FCS"), unpacked_name("P1.fcs.gz")
    ('P1.FCS', 'P1.fcs')
    """
    packed = Path(path).suffix.casefold() in (".gz", ".zip")
    return f"{fcs_stem(path)}.fcs" if packed else Path(path).name


def require_folder(path: str | os.PathLike[str]) -> None:
    """Raise `ParameterError` where a file stands in place of the folder that is to be written to.

    Examples
    --------
    >>> require_folder(tempfile.mkdtemp())
    """
    if os.path.exists(path) and not os.path.isdir(path):
        raise ParameterError(
            "this is a file, not a folder", where=os.fspath(path), fix="name a folder for the new files"
        )


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 text through a temporary file, with line ends as they are in `text`."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
