"""VerticalComponent: a vertical's YAML becomes its assets, checks, jobs and sensors."""

from typing import Self

import dagster as dg
from pydantic import BaseModel

from vertical_assets import automation
from vertical_assets.alerting import alert_sensor
from vertical_assets.corpus import assets as corpus
from vertical_assets.evaluation import assets as evaluation
from vertical_assets.features import assets as features
from vertical_assets.labels import assets as labels
from vertical_assets.labels.batches.automation import batch_sensor
from vertical_assets.labels.monthly.automation import review_sensor
from vertical_assets.labels.studio.automation import label_studio_sensor
from vertical_assets.policies import automated, loop_sensor
from vertical_assets.release import assets as release
from vertical_assets.spec import VerticalSpec
from vertical_assets.training import assets as training

STAGES = (corpus, labels, features, training, evaluation, release)  # in the order that data flows


class VerticalComponent(dg.Component):
    """One vertical; its attributes are a `VerticalSpec`."""

    def __init__(self, spec: VerticalSpec) -> None:
        self.spec = spec

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        return VerticalSpec

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> Self:
        if not isinstance(attributes, VerticalSpec):
            raise dg.DagsterInvalidDefinitionError(
                f"{context.path}: 'attributes' is missing; a vertical needs at least name, domain, "
                "language, sources, task, annotation and model"
            )
        return cls(attributes)

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        return build_definitions(self.spec)


def build_definitions(spec: VerticalSpec) -> dg.Definitions:
    """All definitions of one vertical, without resources."""
    assets = [asset for stage in STAGES[:-1] for asset in stage.build_assets(spec)]
    assets += release.build_assets(spec, assets)
    sensors = [automation.source_sensor(spec), alert_sensor(spec)]
    if spec.task.kind != "generation":  # else nobody labels
        sensors += [batch_sensor(spec), review_sensor(spec), loop_sensor(spec)]
    if spec.annotation.label_studio is not None:
        sensors.append(label_studio_sensor(spec))
    return dg.Definitions(
        assets=automated(assets, spec),
        jobs=automation.jobs(spec),
        sensors=sensors,
        schedules=automation.schedules(spec),
    )
