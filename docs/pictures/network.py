"""Draw ``network.svg`` (the way of a packet, a lane for each means): ``python docs/pictures/network.py``."""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

BOX, HEIGHT, GAP, LEFT, LANE = 118, 46, 22, 30, 168
STYLE = """
text { font: 13px sans-serif; fill: #1b1f24; text-anchor: middle }
.title { font-weight: bold; text-anchor: start; font-size: 15px }
.note { font-size: 11.5px; fill: #57606a }
.place { fill: #eef4fb; stroke: #8fb1d6; stroke-dasharray: 5 3 }
.jail { fill: #fdebd3; stroke: #d79a43 }
.guard { fill: #f9d9d9; stroke: #c56b6b }
.wire { fill: #fff; stroke: #57606a }
.out { fill: #e3e6ea; stroke: #8b949e }
path { stroke: #1b1f24; stroke-width: 1.4; fill: none; marker-end: url(#tip) }
"""
# A box is its kind and its two lines; a place is its words and the boxes that are in it.
Box = tuple[str, str, str]
Place = tuple[str, tuple[Box, ...]]
JAIL: Box = ("jail", "program", "in the jail")
FILTER: Box = ("guard", "jail's filter", "allow, deny")
BUCKET: Box = ("guard", "bucket", "bandwidth")
OWN = "network namespace of the jail, owned by the host"
LANES: tuple[tuple[str, tuple[Place, ...]], ...] = (
    (
        "net=True, Network(…) as root",
        (
            (OWN, (JAIL, FILTER, BUCKET, ("wire", "eth0", "one end"))),
            (
                "the host's network",
                (
                    ("wire", "jk00042", "the other end"),
                    ("guard", "host's filter", "and NAT"),
                    ("wire", "eth0", "the host's"),
                ),
            ),
            ("", (("out", "Internet", "sees the host"),)),
        ),
    ),
    (
        "net=True, Network(…) as an ordinary user",
        (
            (
                "the same, owned by a user namespace beside the jail",
                (JAIL, FILTER, BUCKET, ("wire", "eth0", "of a tap")),
            ),
            (
                "the host's network",
                (("wire", "pasta", "your process"), ("wire", "sockets", "of yours"), ("wire", "eth0", "the host's")),
            ),
            ("", (("out", "Internet", "sees the host"),)),
        ),
    ),
    (
        "Network(interface=…) as root",
        (
            (OWN, (JAIL, FILTER, BUCKET, ("wire", "eth7", "the host's, lent"))),
            ("", (("out", "its network", "sees the jail"),)),
        ),
    ),
)


def lane(top: int, title: str, places: tuple[Place, ...]) -> list[str]:
    """Return the elements of one lane, from left to right."""
    ground, lines = [], [f'<text class="title" x="{LEFT}" y="{top + 18}">{escape(title)}</text>']
    x, middle = LEFT, top + 92
    for number, (words, boxes) in enumerate(places):
        width = len(boxes) * (BOX + GAP) - GAP + 24
        if words:
            ground.append(f'<rect class="place" x="{x}" y="{top + 34}" width="{width}" height="98" rx="8"/>')
            lines.append(f'<text class="note" x="{x + width / 2}" y="{top + 52}">{escape(words)}</text>')
        for at, (kind, first, second) in enumerate(boxes):
            left = x + 12 + at * (BOX + GAP)
            lines.append(f'<rect class="{kind}" x="{left}" y="{middle - 23}" width="{BOX}" height="{HEIGHT}" rx="5"/>')
            lines.append(f'<text x="{left + BOX / 2}" y="{middle - 4}">{escape(first)}</text>')
            lines.append(f'<text class="note" x="{left + BOX / 2}" y="{middle + 13}">{escape(second)}</text>')
            last = at + 1 == len(boxes)
            if not (last and number + 1 == len(places)):
                lines.append(f'<path d="M{left + BOX},{middle} h{(GAP + 24 if last else GAP) - 3}"/>')
        x += width + GAP
    return ground + lines


def picture() -> str:
    """Return the whole picture."""
    widest = max(sum(len(boxes) * (BOX + GAP) + 24 for _, boxes in places) for _, places in LANES)
    width, height = widest + 2 * LEFT, len(LANES) * LANE + 4
    tip = '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
        "<title>The way of a packet out of a jail</title>",
        f"<style>{STYLE}</style>",
        f'<defs>{tip}<polygon points="0,0 8,4 0,8" fill="#1b1f24"/></marker></defs>',
        f'<rect width="{width}" height="{height}" rx="10" fill="#fff"/>',
    ]
    for number, (title, places) in enumerate(LANES):
        lines += lane(number * LANE + 8, title, places)
    return "\n".join([*lines, "</svg>\n"])


if __name__ == "__main__":
    Path(__file__).with_suffix(".svg").write_text(picture())
