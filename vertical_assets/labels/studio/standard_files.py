"""The label standard as files: name -> content."""

import json

from vertical_assets.labels.studio.guideline import guideline
from vertical_assets.labels.studio.interface import labeling_config
from vertical_assets.labels.studio.schema import json_schema
from vertical_assets.spec import VerticalSpec

GUIDELINE, INTERFACE, SCHEMA = "guideline.md", "label_studio.xml", "rows.schema.json"


def standard_files(spec: VerticalSpec) -> dict[str, str]:
    """Guideline for annotators, interface for Label Studio, JSON Schema for label files.

    Args:
        spec: sections `domain`, `language`, `task`, `agreement`; of any kind but generation.
    """
    return {
        GUIDELINE: guideline(spec),
        INTERFACE: labeling_config(spec) + "\n",
        SCHEMA: json.dumps(json_schema(spec), ensure_ascii=False, indent=2) + "\n",
    }
