"""The version, from the metadata of the installed package: it stands in ``pyproject.toml`` and nowhere else."""

from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("jailkit")
