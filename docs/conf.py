"""Sphinx configuration: ``make docs`` builds the pages and runs every example in them."""

from __future__ import annotations

import importlib.metadata
import sys
from typing import Any

from docutils import nodes

import jailkit
from jailkit import aio

project = "jailkit"
author = "The jailkit authors"
project_copyright = "2026, The jailkit authors"
release = version = importlib.metadata.version("jailkit")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.doctest", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"jailkit {release}"

# What `:skipif:` of an example may ask: whether this caller can lend a jail the rights of a directory's owner. Not so
# for root on a file system without idmapped mounts, such as the overlay that is the root of a container. And whether
# control groups can be made, which somebody has to delegate to an ordinary user; and whether Landlock is new enough for
# the tier that stands on it.
doctest_global_setup = """
import jailkit
try:
    jailkit.Jail(mounts=[jailkit.Bind("/var/tmp", "/bound", writable=True)]).plan
    idmapped = True
except jailkit.UnsupportedError:
    idmapped = False
try:
    jailkit.Jail(tier="landlock").plan
    landlock6 = True
except jailkit.UnsupportedError:
    landlock6 = False
cgroups = any(item.name == "limit: memory" and item.state == "enforced" for item in jailkit.Jail().isolation)
"""

myst_heading_anchors = 3
napoleon_numpy_docstring = False
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
# `Jail.run` in a docstring is a link where there is something to link to, see `resolve`.
default_role = "py:obj"
# Names of private modules that annotations of public ones show.
nitpick_ignore_regex = [("py:exc", r"anyio\..*")]  # whoever has the extra has anyio's own pages
nitpick_ignore = [("py:class", "jailkit.plan.plan.Plan"), ("py:class", "jailkit.process.result.Output")]


def run_pycon_blocks(_app: object, doctree: nodes.document) -> None:
    """Make the doctest builder run ``pycon`` fences, which also render well where Markdown is read as it is."""
    for block in doctree.findall(nodes.literal_block):
        if block.get("language") == "pycon":
            block["testnodetype"] = "doctest"
            block["groups"] = ["default"]


def resolve(app: Any, env: Any, node: Any, content: nodes.Node) -> nodes.Node | None:
    """Link public names, wherever they are defined; leave the standard library and plain code as text.

    A class is documented as ``jailkit.Limits``, but annotations name the private module that defines it.
    """
    target = node.get("reftarget", "")
    parts = target.split(".")
    for start, name in enumerate(parts):
        package = aio if parts[:2] == ["jailkit", "aio"] else jailkit
        if name in package.__all__:
            public = ".".join([package.__name__, *parts[start:]])
            python = env.get_domain("py")
            found: nodes.Node | None = python.resolve_xref(
                env, node["refdoc"], app.builder, "obj", public, node, content
            )
            if found is not None:
                return found
    plain = node.get("reftype") == "obj" or parts[0] in sys.stdlib_module_names
    return content if plain and node.get("refdomain") == "py" else None


def keep_colons(_app: object, what: str, _name: str, _thing: object, _options: object, lines: list[str]) -> None:
    """Put an empty comment first: napoleon would take "A view of files: not a boundary" for a type and a text."""
    if what in {"attribute", "data", "property"}:
        lines[:0] = ["..", ""]


def setup(app: Any) -> None:
    """Connect the handlers; `keep_colons` must run before napoleon's own, whose priority is 500."""
    app.connect("autodoc-process-docstring", keep_colons, priority=400)
    app.connect("doctree-read", run_pycon_blocks)
    app.connect("missing-reference", resolve)
