"""The paper's tables and figures: one file each, and the table `REPRODUCTIONS` in `reproductions.py` that names them."""
