"""One self-contained HTML page: pictures inside, nothing loaded from elsewhere, light or dark as the reader has it."""

import base64
import html
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

STYLE = """
:root { color-scheme: light dark; --ink: #1d2126; --soft: #5c6670; --line: #d9dee3; --paper: #ffffff;
  --card: #f5f7f9; --bar: #0072b2; --mark: #d55e00; --accent: #005b8f; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ebee; --soft: #9aa5b0; --line: #343b43; --paper: #14171a;
  --card: #1d2125; --bar: #56b4e9; --mark: #e69f00; --accent: #7cc4ee; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1.5rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0.5rem 0 0.5rem; }
h2 { font-size: 1.2rem; margin: 2.75rem 0 0.4rem; padding-top: 0.8rem; border-top: 1px solid var(--line); }
p { margin: 0.3rem 0 0.9rem; max-width: 46rem; }
.soft, figcaption, .note { color: var(--soft); font-size: 0.88rem; }
.lead { font-size: 1.08rem; }
.simulated { display: inline-block; border: 1px solid var(--mark); color: var(--mark); border-radius: 0.3rem;
  padding: 0 0.4rem; font-size: 0.8rem; vertical-align: middle; }
img { display: block; width: 100%; height: auto; }
.pixels img { image-rendering: auto; background: #000; border-radius: 0.3rem; }
.grid { display: grid; gap: 0.9rem; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); }
.sheet { display: grid; gap: 0.5rem; grid-template-columns: repeat(auto-fill, minmax(7.5rem, 1fr)); }
.sheet figure, .grid figure { margin: 0; }
.sheet figcaption { font-size: 0.76rem; line-height: 1.3; margin-top: 0.15rem; }
.short { display: block; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.cards { columns: 20rem; column-gap: 0.9rem; }
.card { background: var(--card); border-radius: 0.5rem; padding: 0.7rem; margin-bottom: 0.9rem; display: grid;
  grid-template-columns: 6.5rem minmax(0, 1fr); gap: 0.75rem; break-inside: avoid; }
.card .path { font-weight: 600; font-size: 0.9rem; line-height: 1.3; margin: 0 0 0.35rem; }
.card .id { color: var(--soft); font-size: 0.75rem; overflow-wrap: anywhere; margin: 0.3rem 0 0; }
.answer { font-size: 0.78rem; line-height: 1.25; margin-bottom: 0.25rem; }
.answer span { float: right; color: var(--soft); }
.track { position: relative; height: 0.4rem; background: var(--line); border-radius: 0.2rem; overflow: hidden; }
.track i { position: absolute; inset: 0 auto 0 0; background: var(--bar); }
.track b { position: absolute; top: 0; bottom: 0; width: 3px; margin-left: -1px; background: var(--mark); }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 2px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.88rem; margin: 0.5rem 0 1rem; }
th, td { text-align: right; padding: 0.28rem 0.8rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
td.text { text-align: left; white-space: normal; overflow-wrap: anywhere; }
.best { font-weight: 700; }
.plot svg { width: 100%; height: auto; display: block; }
.plot { max-width: 46rem; margin: 0.5rem 0 1rem; }
code { font: 0.88em ui-monospace, SFMono-Regular, Menlo, monospace; background: var(--card); padding: 0.1em 0.3em;
  border-radius: 0.25em; overflow-wrap: anywhere; }
pre { background: var(--card); padding: 0.8rem 1rem; border-radius: 0.5rem; overflow-x: auto; margin: 0.5rem 0; }
details { margin: 0.5rem 0 1rem; }
summary { cursor: pointer; color: var(--accent); font-size: 0.9rem; }
pre code { background: none; padding: 0; overflow-wrap: normal; }
.facts { display: flex; flex-wrap: wrap; gap: 0.6rem 2.2rem; margin: 0.8rem 0; padding: 0; list-style: none; }
.facts b { color: var(--ink); display: block; font-size: 1.35rem; line-height: 1.2; }
.facts li { color: var(--soft); font-size: 0.85rem; }
@media (max-width: 34rem) { body { padding: 1rem 0.9rem 3rem; } .card { grid-template-columns: 5rem minmax(0, 1fr); } }
@media print { body { max-width: none; } .card, figure { break-inside: avoid; } }
"""


@dataclass(frozen=True)
class Section:
    """A part of the page; `body` is HTML."""

    title: str
    body: str


def page(title: str, lead: str, sections: Iterable[Section]) -> str:
    """The whole document. `lead` is HTML."""
    parts = "\n".join(f"<section>\n<h2>{escape(s.title)}</h2>\n{s.body}\n</section>" for s in sections)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
{lead}
</header>
{parts}
</body>
</html>
"""


def escape(text: object) -> str:
    return html.escape(str(text))


def short(name: object) -> str:
    """A galaxy's name on a line of its own, cut where it is too long; pointing at it shows all of it."""
    return f'<span class="short" title="{escape(name)}">{escape(name)}</span>'


def picture(pixels: np.ndarray, alt: str, size: int | None = None, quality: int = 88) -> str:
    """An image, uint8 [h, w, 3], inside the page as JPEG; enlarged to `size` pixels where it is smaller."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if size and image.width < size:
        image = image.resize((size, round(size * image.height / image.width)), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode()
    return (
        f'<img src="data:image/jpeg;base64,{data}" alt="{escape(alt)}" width="{image.width}" height="{image.height}">'
    )


def table(header: Sequence[str], rows: Iterable[Sequence[str]], best: Sequence[int | None] = ()) -> str:
    """A table that scrolls sideways on narrow screens.

    `best` names, for each row, the column to print in bold (or None). Cells are text.
    """
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    lines = []
    for i, row in enumerate(rows):
        bold = best[i] if i < len(best) else None
        cells = [f"<td{' class=best' if j == bold else ''}>{escape(cell)}</td>" for j, cell in enumerate(row)]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def pairs_table(rows: Iterable[tuple[str, str]]) -> str:
    """Names and what they stand for, one a line; long texts wrap."""
    lines = "".join(f'<tr><td>{escape(name)}</td><td class="text">{escape(text)}</td></tr>' for name, text in rows)
    return f"<table><tbody>{lines}</tbody></table>"


def facts(items: Iterable[tuple[str, str]]) -> str:
    """A few numbers in large print, each with what it counts."""
    return f'<ul class="facts">{"".join(f"<li><b>{escape(n)}</b>{escape(what)}</li>" for n, what in items)}</ul>'


def commands(lines: Iterable[str]) -> str:
    return f"<pre><code>{escape(chr(10).join(lines))}</code></pre>"


def simulated_mark(simulated: bool) -> str:
    """A label for whatever shows simulated galaxies."""
    return ' <span class="simulated">simulated</span>' if simulated else ""
