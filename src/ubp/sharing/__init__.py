"""A model handed on: to a folder, a web server or the Hugging Face hub, and back, with a card and checked files."""
