"""What windows of time and channels are worth to the decoder of a study."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ubp.ablate import EVERYTHING, SPLITS, Ablation, Scored, Source, score_parts
from ubp.ablation import PERMUTE, WAYS, WINDOW_WAYS, check_way
from ubp.ablation_plan import Asked, all_channels, check_gallery, held_out, plan
from ubp.commands.figures import save_figure
from ubp.commands.images import build_store
from ubp.commands.training import plan_jobs
from ubp.config import Common, unknown
from ubp.data.sensors import Sensors, find_sensors
from ubp.data.study import Study
from ubp.device import pick_device
from ubp.errors import InputError
from ubp.experiment import train
from ubp.files import write_json, write_text
from ubp.job import Job
from ubp.measures import Measure, measure
from ubp.progress import console, progress, say
from ubp.tables import table
from ubp.trainer import BaseTrainer

MODELS = "models"
SHOWN = 10


def ablate(
    path: Path,
    *,
    out: Path = Path("ablation"),
    asked: Asked = Asked(),
    encoder: str = "gabor",
    preset: str = "ubp",
    method: str | None = None,
    width: int = 51,
    step: int = 6,
    subjects: Sequence[str] | None = None,
    setting: str = "intra-subject",
    seeds: Sequence[int] = (0,),
    picks: Sequence[str] | None = None,
    window: tuple[float, float] | None = None,
    split: str = "validation",
    metric: str = "top1",
    repeats: int = 10,
    changes: Mapping[str, Any] | None = None,
    common: Common = Common(),
) -> dict[str, Scored]:
    """Ablate windows of time and channels; write tables and figures to `out`, and models below it.

    Returns
    -------
    dict of str to Scored
        By `windows` and `channels`, as far as they were asked for.

    Raises
    ------
    InputError
        When the study, or an option, does not allow it; nothing is trained then.
    """
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    if repeats < 1:
        raise InputError(f"{repeats} permutations were asked for; expected 1 or more.")
    chosen = measure(metric)
    check_way(asked.windows_by, WINDOW_WAYS, "windows")
    check_way(asked.channels or PERMUTE, WAYS, "channels")
    study = Study.open(path, common.allow_shared_concepts)
    names = tuple(subjects or study.subjects)
    picked = tuple(picks) if picks else all_channels(study, names, setting)
    held = held_out(study, split, dict(changes or {}), names, setting)
    jobs = plan_jobs(
        study,
        encoder=encoder,
        presets=() if method else (preset,),
        methods=(method,) if method else (),
        width=width,
        step=step,
        subjects=names,
        setting=setting,
        seeds=seeds,
        channels=picked,
        window=window,
        changes=held,
    )
    ablations = plan(study, jobs, asked)
    source = Source(study, build_store(study, encoder, jobs[0].preset.ladder, common), split)
    check_gallery(source, jobs, chosen)
    where = str(pick_device(common.device))
    train_models(study, source, ablations, out / MODELS, where, common)
    found = {}
    with progress(common.quiet) as bar:
        task = bar.add_task("scoring", total=sum(len(one.parts) * len(jobs) for one in ablations.values()))
        for what, one in ablations.items():
            found[what] = score_parts(
                one, source, out / MODELS, chosen, repeats, where, lambda: bar.update(task, advance=1)
            )
    about = describe(study, jobs, source, chosen, repeats, ablations)
    for what, scored in found.items():
        show(what, scored, ablations[what], chosen, about["queries"])
    write(out, study, found, ablations, chosen, about)
    return found


def train_models(
    study: Study, source: Source, ablations: Mapping[str, Ablation], models: Path, device: str, common: Common
) -> None:
    """Train the models that are not there yet, each continued where it was stopped."""
    wanted = {
        folder / job.folder: (part, job, folder) for one in ablations.values() for part, job, folder in one.models()
    }
    finished = 0
    with progress(common.quiet) as bar:
        task = bar.add_task("training", total=sum(job.options.epochs for _, job, _ in wanted.values()))

        def after_epoch(trainer: BaseTrainer) -> None:
            bar.update(task, completed=finished + trainer.epoch)

        for number, (part, job, folder) in enumerate(wanted.values(), start=1):
            name = part.name if part is not EVERYTHING else "all channels and samples"
            bar.update(task, description=f"model {number} of {len(wanted)}: {job.subject}, {name}")
            train(study, source.vectors, job, models / folder, device, after_epoch=after_epoch)
            finished += job.options.epochs
            bar.update(task, completed=finished)


def describe(
    study: Study, jobs: Sequence[Job], source: Source, chosen: Measure, repeats: int, ablations: Mapping[str, Ablation]
) -> dict[str, Any]:
    """Everything that says what the scores are, for the JSON file."""
    job = jobs[0]
    sizes = sorted({len(source.images(one)) for one in jobs})
    size = "/".join(map(str, sizes))
    return {
        "study": study.info.name,
        "setting": job.setting,
        "subjects": sorted({one.subject for one in jobs}),
        "seeds": sorted({one.seed for one in jobs}),
        "method": job.preset.name,
        "vision_encoder": job.vision_encoder,
        "options": dataclasses.asdict(job.options),
        "channels": list(job.channels or ()),
        "split": source.split,
        "queries": f"{size} {SPLITS[source.split]}, mean of repetitions",
        "gallery_level": job.preset.base.name,
        "protocol": "inductive",
        "metric": chosen.name,
        "ways": {what: one.by for what, one in ablations.items()},
        "permutations": repeats,
    }


def show(what: str, scored: Scored, ablation: Ablation, chosen: Measure, queries: str) -> None:
    """Print the parts: windows in their order, channels from the best on."""
    summary = scored.summary if what == "windows" else scored.summary.sort_values("score", ascending=False)
    rows = [
        (str(row["part"]), chosen.shown(row["score"]), f"{chosen.shown(row['low'])} to {chosen.shown(row['high'])}")
        for _, row in (summary if what == "windows" else summary.head(SHOWN)).iterrows()
    ]
    reference = chosen.shown(float(summary["reference"].iloc[0]))
    caption = f"{queries}; " + (
        f"with everything {chosen.shown(float(summary['with_everything'].iloc[0]))}."
        if ablation.way.loss
        else f"chance {reference}."
    )
    title = ablation.label(chosen.heading)
    header = (ablation.kind, chosen.heading, "95 % interval")
    console.print(table(f"{title[0].upper()}{title[1:]}", header, rows, caption))


def write(
    out: Path,
    study: Study,
    found: Mapping[str, Scored],
    ablations: Mapping[str, Ablation],
    chosen: Measure,
    about: dict[str, Any],
) -> None:
    """Write tables and figures, and what they are."""
    from ubp.plots.ablation import channels_figure, windows_figure

    files: list[str] = []
    for what, scored in found.items():
        label, note = ablations[what].label(chosen.label), about["queries"]
        if what == "windows":
            figure = windows_figure(scored.summary, label, chosen.percent, note)
        else:
            where = sensors_of(study, about["subjects"][0], about["channels"])
            if isinstance(where, str):
                say(f"No map of the head: {where}; a bar chart takes its place.")
            sensors = None if isinstance(where, str) else where
            members = {part.name: part.channels for part in ablations[what].parts}
            figure = channels_figure(scored.summary, members, about["channels"], sensors, label, chosen.percent, note)
        write_text(out / f"{what}.csv", scored.summary.to_csv(index=False))
        write_text(out / f"{what}_runs.csv", scored.runs.to_csv(index=False))
        for ending in (".png", ".svg"):
            save_figure(figure, out / f"{what}{ending}")
        files += [f"{what}{ending}" for ending in (".csv", "_runs.csv", ".png", ".svg")]
    results = {what: scored.summary.to_dict("records") for what, scored in found.items()}
    write_json(out / "ablation.json", {**about, "results": results})
    say(f"Written to {out}: {', '.join([*files, 'ablation.json'])}.")


def sensors_of(study: Study, subject: str, channels: Sequence[str]) -> Sensors | str:
    """Where the channels are on the head of a subject, or why that is not known."""
    known = study.recording(subject).channels.set_index("name", drop=False)
    return find_sensors(known.loc[list(channels)].reset_index(drop=True))
