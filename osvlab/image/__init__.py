"""Images: a directory, or another source, becomes a disk that boots.

One trip, each step taking the last one's value: source → `recipe` →
`preflight` → `build` → `image`.
"""

from __future__ import annotations

from osvlab.image.image import Image
from osvlab.image.preflight import PreflightError
from osvlab.image.recipe import Filesystem, Recipe, RecipeError

# The functions build() and preflight() stay in their modules: here they would hide the modules.
__all__ = ["Filesystem", "Image", "PreflightError", "Recipe", "RecipeError"]
