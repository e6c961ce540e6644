"""Pictures of the documentation are what their scripts draw."""

from __future__ import annotations

import runpy
from pathlib import Path
from xml.etree import ElementTree as ET

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"


def test_the_pictures_are_drawn_by_their_scripts() -> None:
    """A script without its picture, or one that was changed since, is a mistake; each is an XML document."""
    scripts = sorted(FOLDER.glob("*.py"))
    assert scripts
    for script in scripts:
        drawn = runpy.run_path(str(script))["picture"]()
        assert drawn == script.with_suffix(".svg").read_text()
        assert ET.fromstring(drawn).tag.endswith("svg")
