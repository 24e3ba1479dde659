"""The part of a page that a command writes, between two lines that say so."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pointseg.files import written_whole


@dataclass(frozen=True)
class Markers:
    """Two lines of a page.

    Attributes:
        begin, end: the lines.
        empty_page: what a page that is not there begins as.
    """

    begin: str
    end: str
    empty_page: str

    def check_page(self, path: Path) -> None:
        """ValueError if `path` is there and does not have both markers, once each, in order."""
        if path.exists():
            self._split(path.read_text(encoding="utf-8"), path)

    def write(self, path: Path, text: str) -> None:
        """Replace what stands between the markers; a page that is not there is begun."""
        page = path.read_text(encoding="utf-8") if path.exists() else self.empty_page
        before, after = self._split(page, path)
        with written_whole(path, overwrite=True) as temporary:
            temporary.write_text(f"{before}\n{text}\n\n{self.end}{after}", encoding="utf-8")

    def _split(self, page: str, path: Path) -> tuple[str, str]:
        """All up to and with the line of the first marker, and all after the second."""
        begin, end = page.find(f"{self.begin}\n"), page.find(self.end)
        if page.count(self.begin) != 1 or page.count(self.end) != 1 or not 0 <= begin < end:
            raise ValueError(
                f"{path}: expected the lines\n{self.begin}\n{self.end}\nonce each, in this order, "
                "around the part that may be replaced; add them, or choose another --out"
            )
        return page[: begin + len(self.begin) + 1], page[end + len(self.end) :]
