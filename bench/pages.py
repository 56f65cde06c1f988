"""Pages that people read in a browser: one file each, that needs no network. Templates are in `templates/`.

Whatever comes from data (names, messages, numbers) is escaped by jinja2; only `data_uri` and templates make markup.
"""

from __future__ import annotations

import base64
from io import BytesIO
from typing import TYPE_CHECKING, Any

from .errors import BenchError

if TYPE_CHECKING:
    import numpy as np
    from jinja2 import Environment
    from numpy.typing import NDArray


def environment() -> Environment:
    """jinja2 over `bench/templates`, escaping everything; a name that a template misspells is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("bench", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["thousands"] = lambda number: f"{number:,}"
    made.filters["two"] = lambda number: f"{number:.2f}".replace("-0.00", "0.00")
    return made


def render(template: str, **values: Any) -> bytes:
    """The page of `templates/TEMPLATE`, UTF-8; what cannot be (lone surrogates of odd file names) as \\udcXX."""
    return environment().get_template(template).render(**values).encode("utf-8", "backslashreplace")


def data_uri(pixels: NDArray[np.uint8], width: int | None = None) -> str:
    """An image (H, W, 3) uint8 as a `data:` address of a PNG; `width`: enlarged to it in whole, hard-edged pixels."""
    from PIL import Image

    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype.name != "uint8":
        raise BenchError(f"a picture is {pixels.dtype} {pixels.shape}; expected uint8 (H, W, 3)")
    image = Image.fromarray(pixels)
    factor = max(1, (width or image.width) // image.width)
    image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    file = BytesIO()
    image.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
