"""A network of a jail's own with a way out: made before the jail, and gone with it. docs/decisions/0012-network.md."""

from jailkit._network.annex import Annex, Beside

__all__ = ["Annex", "Beside"]
