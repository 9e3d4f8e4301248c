"""What a training tells the logs that a person looks at; off unless asked for, and unable to stop or change it."""

from ubp.logging.loggers import LOGGERS, open_loggers
from ubp.logging.training_log import TrainingLog

__all__ = ["LOGGERS", "TrainingLog", "open_loggers"]
