"""A page that explores a trained model.

`session.py` says what is shown, as plain content; `server.py` serves it with the files of `page/`.
"""
