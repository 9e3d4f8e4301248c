"""Table 2: retrieval on MEG, every subject, within and across subjects."""

from ubp.errors import InputError
from ubp.reproduce.models import Models
from ubp.reproduce.output import Output, Plan
from ubp.reproduce.retrieval import plan_retrieval, retrieval
from ubp.reproduce.setup import Setup

TITLE = "Table 2: retrieval per subject, MEG"


def plan(setup: Setup) -> Plan:
    """Every method of the scale in both settings.

    Raises
    ------
    InputError
        When the study is of EEG, spikes or the like.
    """
    info = setup.study.info
    if info.modality not in ("meg", "simulated"):
        raise InputError(
            f"{setup.study.root} is a study of {info.modality}; table2 is of MEG and expects one of MEG, so give that, "
            "or make table1 of this one."
        )
    chosen = plan_retrieval(setup)
    if info.modality == "simulated":
        return Plan(chosen.groups, (SIMULATED, *chosen.notes))
    return chosen


def make(models: Models, plan: Plan) -> Output:
    """Retrieval beside the published figures of THINGS-MEG."""
    return retrieval(models, plan, TITLE, "things-meg")


SIMULATED = (
    "The signals are simulated EEG sensors; what is like MEG is the design: few subjects, one trial of a training "
    "image, many of a test image."
)
