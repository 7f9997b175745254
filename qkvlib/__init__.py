"""Transformers whose query, key and value projections are tied: models, cache, training, lessons.

Every public name is importable from here, ``from qkvlib import ModelConfig``; ``__init__.pyi``
lists them. Modules load when a name is first used, so that ``qkv --help`` need not wait for torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
