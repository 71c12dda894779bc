"""Whether a page would run or load something of a student's when somebody opens it."""

from __future__ import annotations

from html.parser import HTMLParser

__all__ = ["dangers_of"]

_ELEMENTS = {"script", "iframe", "object", "embed", "link", "base", "form", "svg", "math", "video", "audio", "applet"}
_ADDRESSES = {"src", "href", "action", "formaction", "data", "srcset", "poster", "background", "xlink:href"}
_POLICY = '<meta http-equiv="Content-Security-Policy" content="default-src \'none\';'
_HARMLESS = ("//", "#", "data:image/png", "data:image/jpeg", "data:image/gif", "https://", "http://", "mailto:")


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.dangers: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _ELEMENTS:
            self.dangers.append(f"an element <{tag}>")
        for name, value in attrs:
            text = (value or "").strip().lower()
            if name.startswith("on"):
                self.dangers.append(f"a handler {name}={text}")
            if name == "http-equiv" and text == "refresh":
                self.dangers.append("another page that is loaded by itself")
            if name in _ADDRESSES and not text.startswith(_HARMLESS):
                self.dangers.append(f"an address {name}={text[:40]}")


def dangers_of(page: str) -> list[str]:
    """Return what a browser would run, empty for a page of text, style and pictures that forbids to load anything."""
    reader = _Reader()
    reader.feed(page)
    if _POLICY not in page.partition("<body")[0]:
        reader.dangers.append("no policy that forbids loading")
    return reader.dangers
