"""Keep of a cell's outputs what is harmless to look at, and no more than a page of it, while they stream in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from yolotrt_lab.grading.execution.channels import Message
from yolotrt_lab.grading.nbgrader.submission import is_base64

__all__ = ["CellOutputs", "OutputLimits", "cleaned_output"]

_PICTURES = ("image/png", "image/jpeg")
_LEFT_OUT = "The outputs that followed were too much, and are left out."


@dataclass(frozen=True, kw_only=True)
class OutputLimits:
    """How much is kept.

    Attributes:
        characters: Of one output.
        outputs: Of one cell.
        picture_bytes: Of one picture, in base64.
        cell_bytes: What one cell may send before the rest is dropped unread.
        notebook_bytes: What is kept of all cells.
    """

    characters: int = 20_000
    outputs: int = 50
    picture_bytes: int = 2_000_000
    cell_bytes: int = 50_000_000
    notebook_bytes: int = 50_000_000


@dataclass
class _Text:
    """The beginning and the end of what a stream says."""

    name: str
    half: int
    head: str = ""
    tail: str = ""
    dropped: int = 0

    def add(self, text: str) -> None:
        room = self.half - len(self.head)
        self.head += text[:room]
        tail = self.tail + text[room:]
        self.tail = tail[-self.half :]
        self.dropped += len(tail) - len(self.tail)

    def output(self) -> dict[str, Any]:
        text = self.head + self.tail
        if self.dropped:
            text = f"{self.head}\n… {self.dropped} characters left out …\n{self.tail}"
        return {"output_type": "stream", "name": self.name, "text": text}


@dataclass
class CellOutputs:
    """Collects the outputs of one cell.

    Attributes:
        limits: How much is kept.
        count: The cell's number in its kernel.
        flooded: Whether something was dropped because it was too much.
    """

    limits: OutputLimits = field(default_factory=OutputLimits)
    count: int = 0
    flooded: bool = False
    _kept: list[dict[str, Any] | _Text] = field(default_factory=list)
    _places: dict[str, int] = field(default_factory=dict)  # display id -> place
    _received: int = 0
    _clear_first: bool = False

    def take(self, message: Message) -> None:
        """Take a message of the kernel's about the cell; what is no output is passed over."""
        self._received += message.size
        if self._received > self.limits.cell_bytes or not message.whole:
            self.flooded = self.flooded or message.type not in ("status", "execute_input")
            return
        content = message.content
        if message.type == "clear_output":
            if content.get("wait") is True:
                self._clear_first = True
            else:
                self._clear()
        elif message.type == "stream":
            self._stream(content)
        elif message.type in ("display_data", "execute_result", "error"):
            self._put(cleaned_output({**content, "output_type": message.type}, self.limits), _display_id(content))
        elif message.type == "update_display_data" and _display_id(content) in self._places:
            output = cleaned_output({**content, "output_type": "display_data"}, self.limits)
            if output is not None:
                self._kept[self._places[_display_id(content)]] = output

    def add_error(self, name: str, text: str) -> None:
        """Add an error of the grader's own making, whatever the number of outputs."""
        self._kept.append({"output_type": "error", "ename": name, "evalue": text, "traceback": [text or name]})

    def finished(self) -> tuple[dict[str, Any], ...]:
        """Return the outputs in the notebook format."""
        found = [item.output() if isinstance(item, _Text) else item for item in self._kept]
        if self.flooded:
            found.append({"output_type": "stream", "name": "stderr", "text": _LEFT_OUT})
        return tuple(found)

    def _stream(self, content: Mapping[str, Any]) -> None:
        name = "stderr" if content.get("name") == "stderr" else "stdout"
        last = self._kept[-1] if self._kept and not self._clear_first else None
        if not isinstance(last, _Text) or last.name != name:
            last = _Text(name, self.limits.characters // 2)
            if not self._append(last):
                return
        last.add(_plain(content.get("text")))

    def _put(self, output: dict[str, Any] | None, display_id: str) -> None:
        if output is not None and self._append(output) and display_id:
            self._places[display_id] = len(self._kept) - 1

    def _append(self, output: dict[str, Any] | _Text) -> bool:
        if self._clear_first:
            self._clear()
        if len(self._kept) >= self.limits.outputs - 2:  # what the grader adds has a place too
            self.flooded = True
            return False
        self._kept.append(output)
        return True

    def _clear(self) -> None:
        self._kept, self._places, self._clear_first = [], {}, False


def cleaned_output(output: Mapping[str, Any], limits: OutputLimits) -> dict[str, Any] | None:
    """Return an output without what could run in an instructor's browser or be taken for a score, or None.

    Args:
        output: In the notebook format, or anything.
        limits: How much is kept.
    """
    kind = output.get("output_type")
    if kind == "stream":
        text = _Text("stderr" if output.get("name") == "stderr" else "stdout", limits.characters // 2)
        text.add(_plain(output.get("text")))
        return text.output()
    if kind == "error":
        lines = output.get("traceback")
        traceback = "\n".join(str(line) for line in lines) if isinstance(lines, list) else ""
        return {
            "output_type": "error",
            "ename": _short(output.get("ename"), limits)[:200],
            "evalue": _short(output.get("evalue"), limits),
            "traceback": _short(traceback, limits).split("\n"),
        }
    data = output.get("data")
    if kind not in ("display_data", "execute_result") or not isinstance(data, dict):
        return None
    kept = {"text/plain": _short(data["text/plain"], limits)} if "text/plain" in data else {}
    for name in _PICTURES:
        if is_base64(data.get(name)) and len(data[name]) <= limits.picture_bytes:
            kept[name] = data[name]
    return {"output_type": "display_data", "data": kept, "metadata": {}} if kept else None


def _short(text: object, limits: OutputLimits) -> str:
    shortened = _Text("", limits.characters // 2)
    shortened.add(_plain(text))
    return str(shortened.output()["text"])


def _plain(text: object) -> str:
    """Return text, or a list of lines, as text that can be written as UTF-8."""
    text = "".join(str(line) for line in text) if isinstance(text, list) else str(text or "")
    return text.encode("utf-8", "replace").decode("utf-8")


def _display_id(content: Mapping[str, Any]) -> str:
    transient = content.get("transient")
    return str(transient.get("display_id") or "")[:200] if isinstance(transient, dict) else ""
