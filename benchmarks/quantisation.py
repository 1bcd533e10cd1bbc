"""INT8 beside its peers: size, latency, throughput, and what it changes in the answers.

    python benchmarks/quantisation.py            reviews and medical; about ten minutes on two cores
    python benchmarks/quantisation.py --quick    one of them, fewer rounds; about 45 seconds
    python benchmarks/quantisation.py --store /path/of/data/store

Of a vertical that is built, the fine-tuned model is quantized anew, and asked about its test set.
Of one that is not, its base model is, adapted as the vertical's (every second layer of e5-small,
its vocabulary pruned to the reviews) and with random weights in the head: sizes and speed are the
same, accuracy and agreement mean nothing and are left out, which is said. Nothing is trained here.

    torch float       transformers' model as it is, batches of 32 in the order of the texts
    torch bf16        the same in bfloat16, where the processor computes in it
    ort int8          ONNX Runtime's dynamic INT8 of the same model, the same batches
    ours              the artifact: OpenVINO, INT8 by NNCF; texts of similar length go together,
                      as many as fit 512 tokens, a stream on each core
    ... sorted        a peer with our batches: what the engine alone does

All get the same tokens in their real lengths (tokenizing is not counted), all cores, and take
turns; a ratio is the median over the rounds of ours through theirs in the same round. Latency is
of one batch at a time, 1 or 32 texts as they come.
"""

import argparse
import contextlib
import json
import logging
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

ROWS, MODELS = 32, ("reviews", "medical")
Batch = dict[str, np.ndarray]
Run = Callable[[list[Batch]], list[np.ndarray]]


@dataclass
class Subject:
    """A model to measure.

    Attributes:
        checkpoint: a sequence classifier's directory.
        texts, labels: the test set; no labels where the head is random.
        calibration: Items of other texts.
        base_bytes: float weights of the base as found.
    """

    name: str
    spec: Any
    checkpoint: Path
    texts: list[str]
    labels: list[str] | None
    calibration: Any
    base_bytes: int
    base: str


@dataclass
class Peer:
    """An engine and what was measured of it."""

    name: str
    run: Run  # many batches, for throughput
    one: Run  # one batch at a time, for latency
    size: int
    rates: list[float] = field(default_factory=list)
    cpu_rates: list[float] = field(default_factory=list)
    latency: dict[int, list[float]] = field(default_factory=dict)
    labels: np.ndarray | None = None


def spec_of(name: str) -> Any:
    import yaml

    import vertical_assets
    from vertical_assets.spec import VerticalSpec

    file = Path(vertical_assets.__file__).parent / f"defs/{name}/defs.yaml"
    return VerticalSpec(**yaml.safe_load(file.read_text())["attributes"])


def built(name: str, store: Path) -> Subject | None:
    """The vertical as it was built, if it was."""
    from upath import UPath

    from vertical_assets.labels.splits import TEST, TRAIN, items_of
    from vertical_assets.store.versions import Table

    needed = ("finetuned_ckpt", "pretrained_ckpt", "labeled_set")
    entries = {each: store / name / each for each in needed}
    if not all((entry / "CURRENT.json").exists() for entry in entries.values()):
        return None
    paths = {
        each: entry / json.loads((entry / "CURRENT.json").read_text())["version"]
        for each, entry in entries.items()
    }
    labeled = Table((UPath(paths["labeled_set"]),)).read()
    test = items_of(labeled, TEST)
    manifest = json.loads((paths["pretrained_ckpt"] / "manifest.json").read_text())
    found = manifest["adaptation"][0]
    return Subject(
        name,
        spec_of(name),
        paths["finetuned_ckpt"],
        test.texts,
        [str(label) for label in test.labels],
        items_of(labeled, TRAIN),
        round(1e6 * found["megabytes"]),
        f"{found['layers']} layers, {found['vocabulary']:,} pieces",
    )


def unbuilt(name: str, folder: Path) -> Subject:
    """The vertical's base model, adapted, with a random head."""
    import torch
    from training_start import texts_of
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from vertical_assets.labels.splits import Items
    from vertical_assets.training.adaptation.base_models import prepare_base
    from vertical_assets.training.modules.model import on_base

    texts = texts_of("reviews" if name == "reviews" else "titles")
    spec = spec_of(name)
    base = prepare_base(spec, texts, folder / "base")
    torch.manual_seed(0)
    model: Any
    if spec.model.is_plain(spec.task.kind):
        model = AutoModelForSequenceClassification.from_pretrained(
            base.path, num_labels=len(spec.labels)
        )
    else:
        model = on_base(base.path, spec, {})
    checkpoint = folder / "checkpoint"
    model.save_pretrained(checkpoint)
    AutoTokenizer.from_pretrained(base.path).save_pretrained(checkpoint)
    found = base.sizes[0]
    return Subject(
        name,
        spec,
        checkpoint,
        texts[:5000],
        None,
        Items(texts[5000:], [], []),
        round(1e6 * found["megabytes"]),
        f"{found['layers']} layers, {found['vocabulary']:,} pieces",
    )


def peers_of(subject: Subject, folder: Path, quick: bool) -> tuple[list[Peer], Any, dict[str, int]]:
    """(engines, windows of the texts, sizes of our artifact)."""
    import torch
    from transformers import AutoModel, AutoModelForSequenceClassification

    from vertical_assets.release.engines import OnnxEngine, OpenVinoEngine, cores
    from vertical_assets.release.files import ONNX, OPENVINO
    from vertical_assets.release.predictor import Inputs
    from vertical_assets.release.quantization import quantize
    from vertical_assets.training.answering import is_vertical

    settings = subject.spec.quantize.model_copy(
        update={"forms": ("openvino", "onnx"), **({"calibration_texts": 150} if quick else {})}
    )
    spec = subject.spec.model_copy(update={"quantize": settings})
    sizes = quantize(
        subject.checkpoint, subject.calibration, spec, folder, {}, (), subject.base_bytes
    )
    inputs = Inputs(json.loads((folder / "artifact.json").read_text()), folder)
    windows = inputs.windows(subject.texts)
    float_size = sizes["float_bytes"]
    torch.set_num_threads(cores())

    def of_torch(dtype: torch.dtype) -> Run:
        plain = not is_vertical(subject.checkpoint)
        kind = AutoModelForSequenceClassification if plain else AutoModel
        model = kind.from_pretrained(subject.checkpoint, dtype=dtype).eval()

        def run(batches: list[Batch]) -> list[np.ndarray]:
            with torch.inference_mode():
                return [
                    model(**{name: torch.from_numpy(values) for name, values in batch.items()})
                    .logits.float()
                    .numpy()
                    for batch in batches
                ]

        return run

    exact, int8 = of_torch(torch.float32), OnnxEngine(folder / ONNX).run
    peers = [
        Peer("torch float", exact, exact, float_size),
        Peer("torch float, sorted", exact, exact, float_size),
        Peer("ort int8", int8, int8, sizes["onnx_bytes"]),
        Peer("ort int8, sorted", int8, int8, sizes["onnx_bytes"]),
        Peer(
            "ours",
            OpenVinoEngine(folder / OPENVINO, cores()).run,
            OpenVinoEngine(folder / OPENVINO).run,
            sizes["openvino_bytes"],
        ),
    ]
    if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported():
        half = of_torch(torch.bfloat16)
        peers.insert(2, Peer("torch bf16", half, half, float_size // 2))
    if quick:
        peers = [peer for peer in peers if not peer.name.endswith("sorted")]
    return peers, (inputs, windows), sizes


def measure(peers: list[Peer], made: Any, texts: int, rounds: int, answered: int) -> None:
    """Throughput and latency in turns over some of the texts, answers over more of them or none."""
    inputs, windows = made
    rng = np.random.default_rng(0)
    chosen = np.sort(rng.permutation(len(windows.windows))[:texts])

    def cut(among: np.ndarray, rows: int | None) -> list[np.ndarray]:
        """Batches of so many rows as they come, or of similar length."""
        from vertical_assets.batching import in_order
        from vertical_assets.release.predictor import TOKENS_PER_BATCH

        if rows is not None:
            return [among[start : start + rows] for start in range(0, len(among), rows)]
        return [among[each] for each in in_order(windows.lengths[among], TOKENS_PER_BATCH)]

    def data(batches: list[np.ndarray]) -> list[Batch]:
        return [inputs.batch(windows, {}, rows) for rows in batches]

    def by_length(peer: Peer) -> bool:
        return peer.name == "ours" or peer.name.endswith("sorted")

    work = {p.name: data(cut(chosen, None if by_length(p) else ROWS)) for p in peers}
    # A hundred batches at most of each size.
    single = {n: data(cut(chosen[: n * min(100, texts // 12)], n)) for n in (1, ROWS)}
    for number in range(rounds + 1):
        for peer in peers:
            before, cpu = time.perf_counter(), time.process_time()
            peer.run(work[peer.name])
            if number:  # the first warms up
                peer.rates.append(texts / (time.perf_counter() - before))
                peer.cpu_rates.append(texts / (time.process_time() - cpu))
            if by_length(peer) and peer.name != "ours":
                continue
            for n, batches in single.items():
                times = peer.latency.setdefault(n, [])
                for batch in batches:
                    before = time.perf_counter()
                    peer.one([batch])
                    if number:
                        times.append(time.perf_counter() - before)
    if not answered:
        return
    among = np.sort(rng.permutation(len(windows.windows))[:answered])
    for peer in peers:
        if peer.name in ("torch float", "torch bf16", "ort int8", "ours"):
            batches = cut(among, None)
            peer.labels = np.zeros(len(windows.windows), np.int64) - 1
            for rows, logits in zip(batches, peer.run(data(batches)), strict=True):
                peer.labels[rows] = logits.argmax(axis=1)


def show(
    subject: Subject, peers: list[Peer], sizes: dict[str, int], lengths: np.ndarray
) -> dict[str, float | None]:
    """Prints the table; returns the figures of the closing line."""
    from rich.console import Console
    from rich.table import Table
    from sklearn.metrics import accuracy_score, f1_score

    by_name = {peer.name: peer for peer in peers}
    ours, exact = by_name["ours"], by_name["torch float"]
    size = subject.base_bytes / sizes["openvino_bytes"]
    table = Table(
        title=f"{subject.name}: {len(subject.texts):,} texts, {lengths.mean():.1f} tokens on "
        f"average, {np.percentile(lengths, 95):.0f} at the 95th percentile; base "
        f"{subject.base}, {subject.base_bytes / 1e6:.1f} MB"
    )
    columns = ("", "MB", "1 text: p50 ms", "p99", f"{ROWS}: p50", "p99", "texts/s", "ours through")
    for column in (*columns, "accuracy", "macro F1", "agrees"):
        table.add_column(column, justify="right" if column else "left")

    def ratio(peer: Peer) -> float:
        return median(a / b for a, b in zip(ours.rates, peer.rates, strict=True))

    scored: dict[str, float] = {}
    for peer in peers:
        cells = [peer.name, f"{peer.size / 1e6:.1f}"]
        for n in (1, ROWS):
            times = 1e3 * np.array(peer.latency.get(n) or [np.nan])
            cells += [f"{np.percentile(times, q):.1f}" for q in (50, 99)]
        cells += [f"{median(peer.rates):,.0f}", f"{ratio(peer):.2f}"]
        if subject.labels and peer.labels is not None and exact.labels is not None:
            asked = np.flatnonzero(exact.labels >= 0)
            gold = [subject.labels[row] for row in asked]
            said = [subject.spec.labels[peer.labels[row]] for row in asked]
            scored[peer.name] = f1_score(gold, said, average="macro")
            agreed = (peer.labels == exact.labels)[asked].mean()
            cells += [f"{accuracy_score(gold, said):.4f}", f"{scored[peer.name]:.4f}"]
            cells.append(f"{agreed:.4f}")
            if peer is ours:
                agreement = float(agreed)
        else:
            cells += ["", "", ""]
        table.add_row(*[cell.replace("nan", "") for cell in cells])
    Console(width=140).print(table)
    print(
        f"size: 1/{size:.1f} of the float base as found, 1/"
        f"{sizes['float_bytes'] / sizes['openvino_bytes']:.1f} of the float model"
    )
    if not subject.labels:
        print(
            f"{subject.name} is not built in the store: accuracy, macro F1 and agreement are "
            f"missing (vertical-assets build {subject.name})"
        )
    return {
        "size_ratio_to_float_base": round(size, 2),
        "throughput_vs_torch_float": round(ratio(exact), 2),
        "throughput_vs_ort_int8": round(ratio(by_name["ort int8"]), 2),
        **{
            f"throughput_vs_{name.replace(' ', '_')}_sorted": round(ratio(peer), 2)
            for name in ("torch float", "ort int8")
            if (peer := by_name.get(f"{name}, sorted"))
        },
        "f1_drop": round(scored["torch float"] - scored["ours"], 4) if scored else None,
        "argmax_agreement": round(agreement, 4) if scored else None,
    }


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """NNCF's progress bars and the tracers' warnings are no part of the table."""
    logging.disable(logging.WARNING)
    with Path(os.devnull).open("w") as nothing, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.redirect_stdout(nothing), contextlib.redirect_stderr(nothing):
            yield
    logging.disable(logging.NOTSET)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a first look, about 45 seconds")
    parser.add_argument("--store", type=Path, default=Path("data/store"), help="built verticals")
    parser.add_argument("--model", choices=MODELS, action="append", help="these only")
    options = parser.parse_args()
    names = options.model or list(MODELS)
    if options.quick and not options.model:  # the first that is built; medical needs no conversion
        names = [name for name in MODELS if built(name, options.store)][:1] or ["medical"]
    found: dict[str, dict[str, float | None]] = {}
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            artifact = Path(folder) / "artifact"
            artifact.mkdir()
            with silent():
                subject = built(name, options.store) or unbuilt(name, Path(folder))
                peers, made, sizes = peers_of(subject, artifact, options.quick)
                texts, rounds, asked = (192, 2, 400) if options.quick else (768, 5, 20_000)
                measure(peers, made, texts, rounds, asked if subject.labels else 0)
            found[name] = show(subject, peers, sizes, made[1].lengths)
    keys = next(iter(found.values())).keys()
    # Of the first model that has the figure: that of a 12-layer base before that of a built one.
    headline = {
        key: next((row[key] for row in found.values() if row[key] is not None), None)
        for key in keys
    }
    load = os.getloadavg()[0]
    print(f"load of the machine at the end, this run included: {load:.1f}", file=sys.stderr)
    print(json.dumps({**headline, "by_model": found}))


if __name__ == "__main__":
    main()
