"""Table 1: retrieval on EEG, every subject, within and across subjects."""

from ubp.reproduce.models import Models
from ubp.reproduce.output import Output, Plan
from ubp.reproduce.retrieval import retrieval

TITLE = "Table 1: retrieval per subject"


def make(models: Models, plan: Plan) -> Output:
    """Retrieval beside the published figures of THINGS-EEG2."""
    return retrieval(models, plan, TITLE, "things-eeg2")
