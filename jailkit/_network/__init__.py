"""A network of a jail's own with a way out: made before the jail, and gone with it. docs/decisions/0012-network.md."""

from jailkit._network.annex import Annex, Beside
from jailkit._network.names import names_file

__all__ = ["Annex", "Beside", "names_file"]
