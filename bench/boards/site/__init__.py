"""The leaderboard as a static site: pages that open from the disk and need no network.

    index.html           every table, sortable and filterable, with its plots
    runs/NAME.html       a page per record, as `bench report` makes it; what only the store has where that is at hand
    runs/NAME.json       the record itself, paths reduced to file names
    runs/NAME.csv        a line for each training image, where the store is at hand
    reported/NAME.csv    numbers as a paper prints them

Texts of records are somebody's: jinja2 escapes them all, and a page runs and styles itself only with what its policy
names by hash. Equal records give equal bytes.

build.py: records to pages; folder.py: pages to disk and back; tables.py, plots.py: what the index page shows.
"""

from .build import Stored, site
from .folder import faults, write

__all__ = ["Stored", "faults", "site", "write"]
