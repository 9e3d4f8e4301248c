"""Metrics and parameters for MLflow: a database file, or a tracking server."""

import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ubp.described import plain
from ubp.logging.base import LoggedRun, Logger

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT, KEY = "ubp", "ubp.key"
DATABASE, ARTIFACTS = "mlflow.db", "mlflow-artifacts"
LONGEST = 500  # characters of a parameter, which older servers bound
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # or a server that is away holds training up for minutes
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
}


class MLflow(Logger):
    """One MLflow run a training, found again by its key while it is not finished."""

    name = "mlflow"
    uri_schemes = ("http", "https", "sqlite", "postgresql", "mysql", "databricks", "file")
    client: "MlflowClient"
    run_id: str

    def load(self) -> None:
        """Import the library, quiet unless the user's own environment says otherwise."""
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        import mlflow

        if self.uri is None:
            import alembic  # noqa: F401  (a database needs both)
            import sqlalchemy  # noqa: F401
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        self._connect = mlflow.MlflowClient

    def begin(self, run: LoggedRun) -> int:
        """Find the run or create it; tells which epoch its history lacks."""
        if self.uri is None:
            self.folder.mkdir(parents=True, exist_ok=True)
        self.client = self._connect(self.uri or f"sqlite:///{(self.folder / DATABASE).resolve()}")
        experiment = self._experiment()
        found = self.client.search_runs([experiment], f"tags.`{KEY}` = '{run.key}' and attributes.status != 'FINISHED'")
        if found:
            self.run_id = found[0].info.run_id
            self.client.update_run(self.run_id, status="RUNNING")
            told = self.client.get_metric_history(self.run_id, "loss")
            return max((point.step for point in told), default=0) + 1
        from mlflow.entities import Param

        self.run_id = self.client.create_run(experiment, tags={KEY: run.key}, run_name=run.name).info.run_id
        texts = {key: plain(value) for key, value in run.settings.items()}
        shown = [Param(key, text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…") for key, text in texts.items()]
        self.client.log_batch(self.run_id, params=shown)
        return 1

    def _experiment(self) -> str:
        found = self.client.get_experiment_by_name(EXPERIMENT)
        if found is not None:
            return str(found.experiment_id)
        place = None if self.uri else (self.folder / ARTIFACTS).resolve().as_uri()
        return str(self.client.create_experiment(EXPERIMENT, artifact_location=place))

    def __call__(self, epoch: int, values: Mapping[str, float]) -> None:
        """Write all metrics of the epoch at once."""
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        self.client.log_batch(self.run_id, [Metric(name, value, now, epoch) for name, value in values.items()])

    def end(self, model: Path | None) -> None:
        """Note the model's folder, and say how the run ended."""
        if model is not None:
            self.client.set_tag(self.run_id, "ubp.model", str(model))
        self.client.set_terminated(self.run_id, "KILLED" if model is None else "FINISHED")
