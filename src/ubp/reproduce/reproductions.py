"""The paper's tables and figures by name."""

from collections.abc import Callable
from dataclasses import dataclass

from ubp.reproduce import (
    figure3,
    figure6,
    figure7,
    figure8,
    retrieval,
    table1,
    table2,
    table3,
    table4,
)
from ubp.reproduce.models import Models
from ubp.reproduce.output import Output, Plan
from ubp.reproduce.setup import Setup


@dataclass(frozen=True)
class Reproduction:
    """A table or figure that can be made anew.

    Parameters
    ----------
    title : str
    plan : callable
        What it trains with a setup.
    make : callable
        Trains that, evaluates, and gives the output.
    meg : bool
        It is of the MEG study.
    """

    title: str
    plan: Callable[[Setup], Plan]
    make: Callable[[Models, Plan], Output]
    meg: bool = False


REPRODUCTIONS = {
    "table1": Reproduction(table1.TITLE, retrieval.plan_retrieval, table1.make),
    "table2": Reproduction(table2.TITLE, table2.plan, table2.make, meg=True),
    "table3": Reproduction(table3.TITLE, table3.plan, table3.make),
    "table4": Reproduction(table4.TITLE, table4.plan, table4.make),
    "figure3": Reproduction(figure3.TITLE, figure3.plan, figure3.make),
    "figure6": Reproduction(figure6.TITLE, figure6.plan, figure6.make),
    "figure7": Reproduction(figure7.TITLE, figure7.plan, figure7.make),
    "figure8": Reproduction(figure8.TITLE, figure8.plan, figure8.make),
}
