"""XML as plain nodes with line numbers, read without entities, without network and within limits."""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, TypeVar
from xml.parsers import expat

from cytocar._core.errors import GateError

Built = TypeVar("Built")

MAX_BYTES = 256 * 2**20
MAX_DEPTH = 100
MAX_ELEMENTS = 2_000_000
_NO_CHARACTER = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_AMPERSAND = re.compile(r"&(?:amp|lt|gt|quot|apos);|&#(?P<number>[0-9]{1,7}|[xX][0-9a-fA-F]{1,6});|&")
_DECLARED = re.compile(rb"""(?:\xef\xbb\xbf)?<\?xml[^>]*?encoding=["']([A-Za-z0-9._-]+)["']""")
_UNBOUND = expat.errors.XML_ERROR_UNBOUND_PREFIX
_OF_CHARACTERS = {
    expat.errors.codes[expat.errors.XML_ERROR_BAD_CHAR_REF],
    expat.errors.codes[expat.errors.XML_ERROR_INVALID_TOKEN],
    expat.errors.codes[expat.errors.XML_ERROR_UNDEFINED_ENTITY],
}


class ElementError(GateError):
    """What is wrong with one element: its address has the file, the line and the element."""


@dataclass
class Node:
    """One element.

    Parameters
    ----------
    space, name
        Namespace and local name.
    attributes
        By local name.
    line
        Where it begins in the file, from 1.
    where
        What to call the file in a message.
    children
        Elements within it.
    text
        Characters directly within it.
    """

    space: str
    name: str
    attributes: dict[str, str]
    line: int
    where: str
    children: list[Node] = field(default_factory=list)
    text: str = ""

    @property
    def address(self) -> str:
        """The file, the line and the element."""
        return f"{self.where}, line {self.line}, <{self.name}>"

    def fail(self, what: str, *, fix: str = "", inside: str = "") -> NoReturn:
        """Raise an error that names the file, the line, the element, and what is `inside` of it."""
        raise ElementError(what, where=f"{self.address}, {inside}" if inside else self.address, fix=fix)

    def guarded(self, build: Callable[[Node], Built]) -> Built:
        """Build from this element; what is wrong with its values gets its line."""
        try:
            return build(self)
        except ElementError:
            raise
        except GateError as error:
            self.fail(error.what, fix=error.fix, inside=error.where)

    def all(self, name: str) -> list[Node]:
        """Return the children of a name."""
        return [child for child in self.children if child.name == name]

    def find(self, name: str) -> Node | None:
        """Return the first child of a name, or None."""
        return next((child for child in self.children if child.name == name), None)

    def one(self, name: str) -> Node:
        """Return the only child of a name."""
        children = self.all(name)
        if len(children) != 1:
            self.fail(f"it has {len(children)} <{name}>", fix="expected one")
        return children[0]

    def attribute(self, name: str) -> str:
        """Return an attribute that has to be there."""
        value = self.attributes.get(name, "")
        if not value:
            self.fail(f"attribute {name!r} is missing or empty")
        return value

    def number(self, name: str) -> float:
        """Return an attribute that is a number."""
        return self.to_number(self.attribute(name), f"attribute {name!r}")

    def optional_number(self, name: str) -> float | None:
        """Return an attribute that is a number, or None where there is none."""
        return self.number(name) if name in self.attributes else None

    def flag(self, name: str) -> bool:
        """Return an attribute that is true or false; false where there is none."""
        value = self.attributes.get(name, "false").strip()
        if value not in ("true", "false", "1", "0"):
            self.fail(f"attribute {name!r} is {value!r}", fix="expected 'true' or 'false'")
        return value in ("true", "1")

    def to_number(self, text: str, what: str) -> float:
        """Return text as a finite number, or fail."""
        try:
            # To Python 1_0 is ten; nobody writes a number so.
            value = math.nan if "_" in text else float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            self.fail(f"{what} is {text.strip()[:40]!r}", fix="expected a number")
        return value


def read_xml(path: str | os.PathLike[str], *, what: str) -> Node:
    """Return the root element of a file.

    A document type is refused, since it can define entities that grow without bound or name other files.

    Parameters
    ----------
    path
        The file.
    what
        What it should be, for messages.
    """
    file = Path(path)
    with open(file, "rb") as stream:
        raw = stream.read(MAX_BYTES + 1)
    return parse_xml(raw, where=file.name, what=what)


def parse_xml(raw: bytes, *, where: str, what: str) -> Node:
    """Return the root element of the bytes of a file, as `read_xml` does."""
    if len(raw) > MAX_BYTES:
        raise GateError(
            f"the file has more than {MAX_BYTES // 2**20} MB",
            where=where,
            fix=f"a {what} file is far smaller",
        )
    if not raw.strip():
        raise GateError("the file is empty", where=f"{where}, line 1", fix=f"expected a {what} document")
    builder = _Builder(where)
    try:
        try:
            builder.parse(raw)
        except expat.ExpatError as error:
            readable = _readable(raw)
            if error.code not in _OF_CHARACTERS or readable is None:
                raise
            # One keyword with a character that XML does not have does not take the gates with it.
            builder = _Builder(where)
            try:
                builder.parse(readable, encoding="UTF-8")
            except expat.ExpatError:
                raise error from None
    except expat.ExpatError as error:
        problem = expat.ErrorString(error.code)
        fix = f"expected a {what} document: save it again in the program that wrote it, or correct that line"
        if problem == _UNBOUND:
            problem = "a prefix such as gating: is not declared"
            fix = "the xmlns lines of the root element are missing: save the file again in the program that wrote it"
        raise GateError(
            f"this is not well-formed XML ({problem})", where=f"{where}, line {error.lineno}", fix=fix
        ) from None
    except (LookupError, ValueError) as error:
        raise GateError(
            f"its encoding cannot be read ({error})", where=f"{where}, line 1", fix="write it as UTF-8"
        ) from None
    if builder.root is None:
        raise GateError("there is no element", where=f"{where}, line 1", fix=f"expected a {what} document")
    return builder.root


def _readable(raw: bytes) -> bytes | None:
    """Return the bytes of a file as UTF-8 in which what XML has no place for is the replacement character.

    That is control characters, also as references, bytes that are not of the encoding, and a bare ``&``, which becomes
    one that is written out. What the file says between marks does not change, so that nothing else becomes an element.
    None where the file is in another encoding than Unicode, or nothing of that kind is in it.
    """
    declared = _DECLARED.match(raw)
    wide = raw[:2] in (b"\xff\xfe", b"\xfe\xff")
    if (
        not wide
        and declared is not None
        and declared[1].lower() not in (b"utf-8", b"utf8", b"us-ascii", b"ascii")
    ):
        return None
    text = raw.decode("utf-16" if wide else "utf-8-sig", errors="replace")
    clean = _AMPERSAND.sub(_written_out, _NO_CHARACTER.sub("\ufffd", text)).encode("utf-8")
    return None if clean == raw else clean


def _written_out(match: re.Match[str]) -> str:
    """Return what stands at an ampersand as XML can have it."""
    number = match["number"]
    if number is None:
        return "&amp;" if match[0] == "&" else match[0]
    code = int(number[1:], 16) if number[:1] in "xX" else int(number)
    bad = code > sys.maxunicode or 0xD800 <= code <= 0xDFFF or _NO_CHARACTER.match(chr(code))
    return "\ufffd" if bad else match[0]


class _Builder:
    """Builds nodes from what the parser meets."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.root: Node | None = None
        self.parser: expat.XMLParserType | None = None
        self._open: list[Node] = []
        self._texts: list[list[str]] = []
        self._count = 0

    def parse(self, raw: bytes, *, encoding: str | None = None) -> None:
        """Build the nodes of the bytes of a file; raises `ExpatError` where they are no XML."""
        parser = self.parser = expat.ParserCreate(encoding, namespace_separator=" ")
        parser.buffer_text = True
        parser.StartElementHandler = self.start
        parser.EndElementHandler = self.end
        parser.CharacterDataHandler = self.data
        parser.StartDoctypeDeclHandler = self.doctype
        parser.Parse(raw, True)

    @property
    def _line(self) -> int:
        return self.parser.CurrentLineNumber if self.parser else 0

    @property
    def _address(self) -> str:
        return f"{self.where}, line {self._line}"

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._count += 1
        for what, too_many in (
            (f"{MAX_ELEMENTS:,} elements", self._count > MAX_ELEMENTS),
            (f"{MAX_DEPTH} within one another", len(self._open) >= MAX_DEPTH),
        ):
            if too_many:
                raise GateError(f"there are more than {what}, and no more are read", where=self._address)
        space, _, local = name.rpartition(" ")
        own = {key.rpartition(" ")[2]: value for key, value in attributes.items()}
        node = Node(space, local, own, self._line, self.where)
        if self._open:
            self._open[-1].children.append(node)
        else:
            self.root = node
        self._open.append(node)
        self._texts.append([])

    def end(self, _name: str) -> None:
        self._open.pop().text = "".join(self._texts.pop())

    def data(self, text: str) -> None:
        self._texts[-1].append(text)

    def doctype(self, *_: object) -> None:
        raise GateError(
            "it has a document type (<!DOCTYPE ...>), which is not read because it can name other files and grow "
            "without bound",
            where=self._address,
            fix="remove that declaration",
        )
