"""The artifact as files: their names, and the checksums that tell a released file from another.

artifact.json        task, kind, labels, input lengths, thresholds, inputs of the graph, forms
model.xml, model.bin the network in INT8, for OpenVINO
model.onnx           the same for ONNX Runtime, where `quantize.forms` names it
tensorrt/model.onnx  the float network for TensorRT, where `quantize.forms` names it
tokenizer.json
cascade.*            the first stage, where there is one
features/<name>/     TF-IDF or word vectors, where modules read them
licences.json        what data and base model are licensed under
manifest.json        what it was made from, sizes, checksums of all other files
README.md            place of the model card, which is written later: under no checksum
"""

import hashlib
import json
from pathlib import Path

from vertical_assets.store.versions import MANIFEST

DESCRIPTION, TOKENIZER, LICENCES, CARD = (
    "artifact.json",
    "tokenizer.json",
    "licences.json",
    "README.md",
)
OPENVINO, OPENVINO_WEIGHTS, ONNX, TENSORRT = (
    "model.xml",
    "model.bin",
    "model.onnx",
    "tensorrt/model.onnx",
)
FORMAT = 2  # of artifact.json
FEATURES, PROJECTION = "features", "projection.safetensors"
WEIGHTS = {
    "openvino": (OPENVINO, OPENVINO_WEIGHTS),
    "onnx": (ONNX,),
    "tensorrt": (TENSORRT,),
}  # files of each form


class DamagedArtifactError(Exception):
    """A file of the artifact is not the one that was released, or is of another version's format;
    the message names it.
    """


def checksums(directory: Path) -> dict[str, str]:
    """SHA-256 of every file of an artifact but its manifest and its card, by relative path."""
    found = {}
    for file in sorted(directory.rglob("*")):
        name = file.relative_to(directory).as_posix()
        if file.is_file() and name not in (MANIFEST, CARD):
            with file.open("rb") as opened:
                found[name] = hashlib.file_digest(opened, "sha256").hexdigest()
    return found


def verify(directory: Path) -> None:
    """Compares an artifact's files with the checksums of its manifest.

    Raises:
        DamagedArtifactError: a file is missing, was added or was changed, or there is no manifest.
    """
    try:
        expected = json.loads((directory / MANIFEST).read_text())["checksums"]
    except (FileNotFoundError, ValueError, KeyError) as error:
        raise DamagedArtifactError(
            f"{directory / MANIFEST} is gone or holds no checksums; "
            "build the artifact again or restore the release"
        ) from error
    found = checksums(directory)
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise DamagedArtifactError(
                f"{directory / name} is not the file that was released; "
                "build the artifact again or restore the release"
            )


def size_of(directory: Path, form: str) -> int:
    """Bytes of one form's model files."""
    return sum((directory / name).stat().st_size for name in WEIGHTS[form])
