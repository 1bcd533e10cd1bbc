"""On Daft, alone or on a Ray cluster, the clusters are those of the local engine."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from vertical_assets.corpus import dedup
from vertical_assets.spec import VerticalSpec
from vertical_assets_tests.corpus.test_dedup import WORDS, documents, with_dedup

daft = pytest.importorskip("daft", reason="daft (extra 'scale') is not installed")


def copied(originals: int, copies: int) -> pa.Table:
    """Random texts, and copies of them and of copies, none to three characters apart."""
    chance = random.Random(1)
    texts = ["".join(chance.choices(WORDS, k=chance.randint(0, 40))) for _ in range(originals)]
    for _ in range(copies):
        text = chance.choice(texts)
        place = chance.randint(0, len(text))
        texts.append(text[:place] + text[place + chance.randrange(4) :])
    dates = [f"2024-01-{1 + number % 28:02d}" for number in range(len(texts))]
    return documents(texts, published_at=dates)


def check(spec: VerticalSpec, partitions: int = 1) -> None:
    """Both engines on the same rows."""
    from vertical_assets.corpus.dedup_daft import find_duplicates

    table = copied(150, 150)
    local = dedup.find_duplicates(table.to_batches(), spec)
    frame = daft.from_arrow(table)
    found = find_duplicates(frame.into_partitions(partitions) if partitions > 1 else frame, spec)
    assert found.kept.tolist() == local.kept.tolist()
    assert found.table().equals(local.table())
    assert {"exact", "near"} == set(found.table()["method"].to_pylist())


@pytest.mark.parametrize(("threshold", "keep"), [(0.5, "newest"), (0.8, "first")])
def test_clusters_on_one_machine(threshold: float, keep: str) -> None:
    check(with_dedup(threshold=threshold, keep=keep))


def test_clusters_on_a_ray_cluster_of_two_nodes() -> None:
    """In a process of its own: Daft's runner is chosen once per process."""
    pytest.importorskip("ray", reason="ray (extra 'scale') is not installed")
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "RAY_USAGE_STATS_ENABLED": "0"}
    result = subprocess.run(
        [sys.executable, __file__],
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
        cwd=root,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "2 nodes" in result.stdout


if __name__ == "__main__":
    import ray
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    cluster.add_node(**node)
    ray.init(address=cluster.address, log_to_driver=False)
    daft.set_runner_ray()
    check(with_dedup(threshold=0.6), partitions=2)
    print(f"{sum(node['Alive'] for node in ray.nodes())} nodes")
    ray.shutdown()
    cluster.shutdown()
