"""The paper's tables and figures: one file each, and the table in `reproductions.py` that names them."""
