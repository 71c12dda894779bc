"""XML elements that know the line they begin in, parsed safely."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from xml.sax import SAXParseException
from xml.sax.handler import ContentHandler
from xml.sax.xmlreader import AttributesImpl, Locator

from defusedxml import DefusedXmlException
from defusedxml import sax as safe_sax

__all__ = ["Element", "XmlProblem", "parse_xml"]


class XmlProblem(ValueError):
    """A file is not well-formed XML, or tries something only attacks do; carries the line."""

    def __init__(self, message: str, line: int | None) -> None:
        super().__init__(message)
        self.line = line


@dataclass
class Element:
    """One XML element.

    Attributes:
        tag: Its name.
        attributes: Its attributes.
        line: The line of its start tag, from 1.
        text: Its own text, without that of its children.
        children: Its child elements in order.
    """

    tag: str
    attributes: dict[str, str]
    line: int
    text: str = ""
    children: list[Element] = field(default_factory=list)

    def find_all(self, tag: str) -> list[Element]:
        """Return the children with that name."""
        return [child for child in self.children if child.tag == tag]

    def find(self, tag: str) -> Element | None:
        """Return the first child with that name, or None."""
        return next((child for child in self.children if child.tag == tag), None)

    def text_of(self, tag: str) -> str | None:
        """Return the stripped text of the first child with that name, or None if there is none."""
        child = self.find(tag)
        return None if child is None else child.text.strip()


class _TreeHandler(ContentHandler):
    def __init__(self) -> None:
        super().__init__()
        self.root: Element | None = None
        self._open: list[Element] = []
        self._place: Locator | None = None

    def setDocumentLocator(self, locator: Locator) -> None:
        self._place = locator

    def startElement(self, name: str, attrs: AttributesImpl) -> None:
        line = (self._place.getLineNumber() or 0) if self._place else 0
        element = Element(name, dict(attrs.items()), line)
        if self._open:
            self._open[-1].children.append(element)
        elif self.root is None:
            self.root = element
        self._open.append(element)

    def endElement(self, name: str) -> None:
        self._open.pop()

    def characters(self, content: str) -> None:
        if self._open:
            self._open[-1].text += content


def parse_xml(path: Path) -> Element:
    """Return the root element of an XML file; entity declarations are refused.

    Raises:
        XmlProblem: Not well-formed, or not safe.
        OSError: The file cannot be read.
    """
    data, handler = path.read_bytes(), _TreeHandler()
    try:
        safe_sax.parseString(data, handler)
    except DefusedXmlException as error:
        raise XmlProblem(f"refused as unsafe: {type(error).__name__}", None) from error
    except SAXParseException as error:
        raise XmlProblem(f"not well-formed XML: {error.getMessage()}", error.getLineNumber()) from error
    except Exception as error:  # codecs and expat raise different families of errors
        raise XmlProblem(f"not well-formed XML: {error}", None) from error
    if handler.root is None:
        raise XmlProblem("no XML element in it", None)
    return handler.root
