"""Assets beside the trainings, which propose lines of YAML: resource_plan, hyperparameters."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from vertical_assets.spec import Instruct, VerticalSpec
from vertical_assets.spec.modules import FEATURES
from vertical_assets.spec.training import ON_TOP_SECTIONS
from vertical_assets.store import Directory, Table, store_root
from vertical_assets.store.io_managers import ALL_CORES, check, markdown_table, picture, stored

if TYPE_CHECKING:
    from vertical_assets.training.loop.logs import Watch

STAGE, VERSION, PLAN_VERSION = "training", "1", "2"
MEMORY_CHECK = "memory_in_use"


def watching(context: dg.AssetExecutionContext, spec: VerticalSpec, asset: str) -> "Watch":
    """TensorBoard's files, the run's log, and curves on the asset's page while it trains: every
    validation is an observation, whose figures the page draws (SPEC T10, T11).
    """
    from vertical_assets.training.loop.logs import Watch, board_folder

    def live(figures: dict[str, float]) -> None:
        context.log_event(dg.AssetObservation([spec.name, asset], metadata=figures))

    return Watch(
        board=board_folder(spec.name, asset, context.run.run_id[:8]),
        live=live,
        say=context.log.info,
    )


@contextmanager
def for_good(*errors: type[Exception]) -> Iterator[None]:
    """Errors that come back whenever the step is tried again end it with their message."""
    try:
        yield
    except errors as error:
        raise dg.Failure(str(error), allow_retries=False) from error


def planning_assets(spec: VerticalSpec) -> list[dg.AssetsDefinition]:
    """The resource plan and, where the vertical has a section `search`, the search."""

    @dg.asset(
        **spec.asset(
            STAGE,
            "resource_plan",
            version=PLAN_VERSION,
            reads=[
                *(*spec.model.base_sections, *ON_TOP_SECTIONS, "features", "instruct"),
                *("processes", "split", "task", "seed"),
                *(
                    f"{section}.{name}"
                    for section in ("pretrain", "finetune")
                    for name in ("batch_tokens", "dropout", "epochs", "freeze_layers", "precision")
                ),
                *("pretrain.mask", "pretrain.packing", "finetune.privacy"),
            ],
            kinds={"parquet"},
        ),
        ins={"dedup_corpus": dg.AssetIn([spec.name, "dedup_corpus"])},
        check_specs=[
            dg.AssetCheckSpec(
                "fits_in_memory",
                asset=[spec.name, "resource_plan"],
                description="Each training as configured needs at most 80 % of a device's memory "
                "(SPEC T1).",
            )
        ],
    )
    def resource_plan(dedup_corpus: Table):
        """Parameters, operations and memory of the trainings, and how to compute them on the
        devices that are there (SPEC M4). It proposes lines of YAML and changes nothing.
        """
        import pyarrow as pa

        from vertical_assets.store.contracts import RESOURCE_PLAN
        from vertical_assets.store.tables import stage_table
        from vertical_assets.training.adaptation.base_models import BaseModelError
        from vertical_assets.training.generation.instruction import InstructionError
        from vertical_assets.training.planning.choices import found_devices, yaml_of
        from vertical_assets.training.planning.resource_plan import plan
        from vertical_assets.training.runs import corpus_texts

        if spec.model.architecture == "gpt":
            from vertical_assets.training.generation.decoders import prepare_decoder as prepare
        else:
            from vertical_assets.training.adaptation.base_models import prepare_base as prepare

        texts = corpus_texts(dedup_corpus, spec)
        devices = found_devices()
        errors = (BaseModelError, InstructionError, ValueError)
        with tempfile.TemporaryDirectory() as folder, for_good(*errors):
            base = prepare(spec, texts, Path(folder)).path
            found = plan(spec, base, texts, devices)
        peak = max(memory.peak for memory in found.configured)
        needs = [
            f"# {job.name}: {choice.memory.peak / 1e9:.2f} GB, {choice.precision}"
            for job, choice in zip(found.jobs, found.choices, strict=True)
        ]
        proposal = found.unknown or "\n".join(
            ["```yaml", *needs, yaml_of(found.jobs, found.choices), "```"]
        )
        table = pa.Table.from_pylist(found.rows, schema=RESOURCE_PLAN)
        return stored(
            stage_table(store_root(), RESOURCE_PLAN, table.to_batches(), spec.sensitive),
            checks=[
                check(
                    "fits_in_memory",
                    found.fits,
                    f"{peak / 1e9:.2f} GB of {devices.memory / 1e9:.2f} GB on {devices.name}"
                    + (f", without activations: {found.unknown}" if found.unknown else "")
                    + ("" if found.fits else f"; {found.remedy}"),
                    severity=dg.AssetCheckSeverity.WARN,
                    peak_bytes=peak,
                    device_bytes=devices.memory,
                )
            ],
            metadata={
                "devices": f"{devices.count} x {devices.name}, {devices.memory / 1e9:.1f} GB each",
                "plan": dg.MetadataValue.md(markdown_table(found.rows)),
                "proposal": dg.MetadataValue.md(proposal),
            },
        )

    return [resource_plan, *([hyperparameters_asset(spec)] if spec.search else [])]


def hyperparameters_asset(spec: VerticalSpec) -> dg.AssetsDefinition:
    """The optional asset of the section `search`."""
    features = [m.type for m in spec.model.modules_of(spec.task.kind) if m.type in FEATURES]

    @dg.asset(
        **spec.asset(
            STAGE,
            "hyperparameters",
            version=VERSION,
            reads=["search", "finetune", "model.max_tokens", *ON_TOP_SECTIONS, "task", "seed"],
            kinds={"parquet", "optuna"},
        ),
        ins={
            **{name: dg.AssetIn([spec.name, name]) for name in ("pretrained_ckpt", "labeled_set")},
            **{name: dg.AssetIn([spec.name, name], dagster_type=Directory) for name in features},
        },
        pool=ALL_CORES,
    )
    def hyperparameters(pretrained_ckpt: Directory, labeled_set: Table, **vectors: Directory):
        """Trials of fine-tuning with other hyper-parameters, on a sample of the training split;
        judged by the validation split. It proposes lines of YAML and changes nothing.
        """
        import json

        import pyarrow as pa

        from vertical_assets.labels.splits import TRAIN, VALIDATION, items_of
        from vertical_assets.plots import curves
        from vertical_assets.store.contracts import TRIALS
        from vertical_assets.store.tables import stage_table
        from vertical_assets.training.answering import open_features
        from vertical_assets.training.loop.loop import UntrainableError
        from vertical_assets.training.planning.search import best, search, yaml_of

        sources = open_features({name: each.path for name, each in vectors.items()})
        labeled = labeled_set.read()
        train_set, validation_set = items_of(labeled, TRAIN), items_of(labeled, VALIDATION)
        with tempfile.TemporaryDirectory() as folder, for_good(UntrainableError):
            trials = search(
                pretrained_ckpt.path, train_set, validation_set, spec, Path(folder), sources
            )
        rows = [
            {
                "trial": trial.number,
                "state": trial.state,
                "metric": trial.metric,
                "value": trial.value,
                "parameters": json.dumps(trial.parameters, sort_keys=True),
            }
            for trial in trials
        ]
        found = best(trials)
        table = pa.Table.from_pylist(rows, schema=TRIALS)
        numbers = [trial.number for trial in trials]
        return stored(
            stage_table(store_root(), TRIALS, table.to_batches(), spec.sensitive),
            metadata={
                "best": found.value,
                "proposal": dg.MetadataValue.md(f"```yaml\n{yaml_of(found)}\n```"),
                "trials": dg.MetadataValue.md(markdown_table(rows, cell=200)),
                "picture": picture(
                    curves(
                        {found.metric: (numbers, [trial.value for trial in trials])},
                        "trial",
                        found.metric,
                    ),
                    "trials",
                ),
            },
        )

    return hyperparameters


def memory_spec(spec: VerticalSpec, asset: str) -> dg.AssetCheckSpec:
    """The check of `memory_verdict`; where it warns, an alert is raised."""
    return dg.AssetCheckSpec(
        MEMORY_CHECK,
        asset=[spec.name, asset],
        description="The training took at most 80 % of a device's memory (SPEC T1).",
    )


def memory_verdict(work: Path) -> dg.AssetCheckResult:
    """The highest share of memory in use during the training of a work folder."""
    from vertical_assets.training.loop.monitor import usage

    used = usage(work)
    return check(
        MEMORY_CHECK,
        not used["memory_alert"],
        f"{used['memory_share']:.0%} of the memory was in use at most; 80 % may be (SPEC T1)"
        + ("; take over what resource_plan proposes" if used["memory_alert"] else ""),
        severity=dg.AssetCheckSeverity.WARN,
        memory_share=used["memory_share"],
    )


def cost_table(
    spec: VerticalSpec,
    model: Any,
    work: Path,
    *,
    frozen: int = 0,
    instruct: Instruct | None = None,
    predicted: float = 0.0,
    packed_length: float | None = None,
) -> dict[str, Any]:
    """For a checkpoint's page: a step's predicted cost beside its measured one, where the formulas
    know the model.

    Args:
        spec: of the vertical.
        model: that was trained; adapters are merged already.
        work: folder of its training.
        frozen: first layers of an encoder that were not trained.
        instruct: what says with which adapters a decoder was trained.
        predicted: share of the tokens that are predicted, where tokens are.
        packed_length: mean tokens of an encoder's texts, where they lie end to end in one row.
    """
    from vertical_assets.training.loop.monitor import usage
    from vertical_assets.training.planning.comparison import predicted_and_measured
    from vertical_assets.training.planning.networks import (
        UnknownShapeError,
        network_of_decoder,
        network_of_encoder,
    )

    try:
        network = (
            network_of_decoder(model.config, instruct)
            if spec.model.architecture == "gpt"
            else network_of_encoder(model, frozen)
        )
    except UnknownShapeError:
        return {}
    compared = predicted_and_measured(network, usage(work), predicted, packed_length)
    return {
        **({"costs": dg.MetadataValue.md(markdown_table([compared]))} if compared else {}),
        **{name: compared[name] for name in ("bytes_ratio", "flops_ratio") if name in compared},
    }
