"""How faithful, how useful and how safe a model is: attacks, figures, and the paid forms that a gate may use.

The room and the public function ``ps.validate(model, split, ledger=ledger)`` have one name, and
importing anything from here binds that name to the room. So the room itself can be called.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Room(ModuleType):
    def __call__(self, *args: Any, **options: Any) -> Any:
        from privsynth.validate.report import validate

        return validate(*args, **options)


sys.modules[__name__].__class__ = _Room
