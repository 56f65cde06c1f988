"""Pages that people read in a browser: one file each, that needs no network. Templates are in `templates/`.

Whatever comes from data (names, messages, numbers) is escaped by jinja2; only `data_uri` and templates make markup.
"""

from __future__ import annotations

import base64
import functools
from io import BytesIO
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.records.redact import one_line

if TYPE_CHECKING:
    import numpy as np
    from jinja2 import Environment
    from numpy.typing import NDArray


def plain(value: Any) -> Any:
    """A copy of JSON-able `value` whose texts, keys included, are each on one line, without control characters."""
    if isinstance(value, dict):
        return {plain(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return one_line(value) if isinstance(value, str) else value


@functools.cache  # a site has hundreds of pages of one template
def environment() -> Environment:
    """jinja2 over `templates`, escaping everything; a name that a template misspells is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("bench.report", "templates"),
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


def heated(pixels: NDArray[np.uint8], values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A map (S, S) in matplotlib's inferno over the grey image (S, S, 3): black is least, yellow most."""
    import numpy as np
    from matplotlib import colormaps

    low, high = float(values.min()), float(values.max())
    level = (values - low) / (high - low) if high > low else np.zeros_like(values)
    mixed = 0.75 * 255 * colormaps["inferno"](level)[..., :3] + 0.25 * pixels.mean(-1, keepdims=True)
    found: NDArray[np.uint8] = mixed.round().astype(np.uint8)
    return found


def data_uri(pixels: NDArray[np.uint8]) -> str:
    """An image (H, W, 3) uint8 as a `data:` address of a PNG."""
    from PIL import Image

    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype.name != "uint8":
        raise BenchError(f"a picture is {pixels.dtype} {pixels.shape}; expected uint8 (H, W, 3)")
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
