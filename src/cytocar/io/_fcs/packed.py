"""FCS files that are packed: `.fcs.gz`, and one FCS file inside a zip file."""

from __future__ import annotations

import gzip
import os
import tempfile
import weakref
import zipfile
import zlib
from collections import OrderedDict
from io import FileIO
from pathlib import Path
from typing import IO, Final

from cytocar._core.errors import FcsError

_GZIP: Final = b"\x1f\x8b"
_ZIP: Final = b"PK\x03\x04"
_EMPTY_ZIP: Final = b"PK\x05\x06"
# Events pack to a third or a tenth. What grows more is no measurement, and may fill the disk.
LARGEST_RATIO: Final = 200
ALWAYS_UNPACKED: Final = 1 << 28
_PIECE: Final = 1 << 20
# The file that is read, and one beside it.
_KEPT: Final = 2


class _Unpacked:
    """A temporary file with the bytes of a packed one; it goes with this object."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._end = weakref.finalize(self, _remove, name, os.getpid())

    def remove(self) -> None:
        self._end()


_cache: OrderedDict[tuple[object, ...], _Unpacked] = OrderedDict()


def open_fcs(path: str | os.PathLike[str]) -> FileIO:
    """Open an FCS file to read its bytes; of a packed one, those that it holds.

    A packed file is unpacked once, into a temporary file that goes when the process ends or two others were read.
    What a file is, its first bytes say, not its name.

    Raises
    ------
    FcsError
        The packed file is damaged or encrypted, holds no FCS file or several, or would grow more than 200 times
        (and beyond 256 MB).
    OSError
        As `open` raises it.
    """
    stream = FileIO(os.fspath(path), "rb")
    begin = stream.read(4) or b""
    stream.seek(0)
    if begin[:2] != _GZIP and begin not in (_ZIP, _EMPTY_ZIP):
        return stream
    stream.close()
    status = os.stat(path)
    # A process that was forked has files of its own: its parent removes those that it was born with.
    key = (os.getpid(), os.path.realpath(path), status.st_size, status.st_mtime_ns)
    if key not in _cache or not os.path.exists(_cache[key].name):
        _cache[key] = _unpack(Path(path), is_gzip=begin[:2] == _GZIP, largest=_largest(status.st_size))
    _cache.move_to_end(key)
    while len(_cache) > _KEPT:
        _cache.popitem(last=False)[1].remove()
    return FileIO(_cache[key].name, "rb")


def holds_fcs(path: Path) -> bool:
    """Whether a file is a zip file with at least one FCS file in it."""
    if path.suffix.casefold() != ".zip" or not path.is_file():
        return False
    try:
        with zipfile.ZipFile(path) as packed:
            return bool(_members(packed))
    except (zipfile.BadZipFile, OSError):
        return False


def _largest(packed: int) -> int:
    return max(ALWAYS_UNPACKED, LARGEST_RATIO * packed)


def _remove(name: str, owner: int) -> None:
    if os.getpid() == owner:
        Path(name).unlink(missing_ok=True)


def _members(packed: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """Return the FCS files in a zip file, without what macOS puts beside them."""
    return [
        entry
        for entry in packed.infolist()
        if entry.filename.casefold().endswith((".fcs", ".lmd"))
        and not entry.is_dir()
        and not entry.filename.startswith("__MACOSX/")
        and not Path(entry.filename).name.startswith("._")
    ]


def _unpack(path: Path, *, is_gzip: bool, largest: int) -> _Unpacked:
    kind = "gzip" if is_gzip else "zip"
    try:
        if is_gzip:
            with gzip.open(path, "rb") as source:
                return _copied(source, path, largest)
        with zipfile.ZipFile(path) as packed:
            entry = _only_member(packed, path)
            with packed.open(entry) as source:
                return _copied(source, path, largest)
    except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, NotImplementedError) as error:
        raise FcsError(
            f"the {kind} file is damaged: {error or type(error).__name__}",
            where=str(path),
            fix="copy it again, or unpack it",
        ) from None


def _only_member(packed: zipfile.ZipFile, path: Path) -> zipfile.ZipInfo:
    members = _members(packed)
    if not members:
        raise FcsError("the zip file holds no FCS file", where=str(path))
    if len(members) > 1:
        names = ", ".join(entry.filename for entry in members[:5])
        more = f" and {len(members) - 5} more" if len(members) > 5 else ""
        raise FcsError(
            f"the zip file holds {len(members)} FCS files ({names}{more}), and which one is meant is not said",
            where=str(path),
            fix="unpack it, and name the files one by one",
        )
    if members[0].flag_bits & 1:
        raise FcsError("the zip file is encrypted", where=str(path), fix="unpack it with its password")
    return members[0]


def _copied(source: IO[bytes] | gzip.GzipFile, path: Path, largest: int) -> _Unpacked:
    """Copy what is unpacked into a temporary file, and stop where it grows too large."""
    handle, name = tempfile.mkstemp(prefix="cytocar.", suffix=".fcs")
    unpacked = _Unpacked(name)
    with os.fdopen(handle, "wb") as target:
        written = 0
        while piece := source.read(_PIECE):
            written += len(piece)
            if written > largest:
                unpacked.remove()
                raise FcsError(
                    f"unpacked, the file has more than {largest} bytes, over {LARGEST_RATIO} times its size: it is not "
                    "read",
                    where=str(path),
                    fix="unpack it, and look at what it holds",
                )
            target.write(piece)
    return unpacked
