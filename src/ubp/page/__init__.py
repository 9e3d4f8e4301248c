"""Pages of HTML that need nothing else: tables, figures and text, written by mne.Report."""
