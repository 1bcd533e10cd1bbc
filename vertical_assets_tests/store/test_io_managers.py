"""What is on record of checks, on an instance in memory."""

import dagster as dg

from vertical_assets.spec import VerticalSpec
from vertical_assets.store.io_managers import recorded_failures, texts_table
from vertical_assets_tests.conftest import tiny

PARTS = dg.DynamicPartitionsDefinition(name="batches")
KEY = dg.AssetKey("annotations")
CHECK = dg.AssetCheckKey(KEY, "rows_conserved")


def of_batches(broken: str) -> dg.AssetsDefinition:
    """An asset whose check fails for one partition."""

    @dg.asset(
        key=KEY,
        partitions_def=PARTS,
        check_specs=[dg.AssetCheckSpec("rows_conserved", asset=KEY, blocking=True)],
    )
    def annotations(context: dg.AssetExecutionContext):  # type: ignore[no-untyped-def]
        verdict = dg.AssetCheckResult(
            check_name="rows_conserved",
            passed=context.partition_key != broken,
            description=f"batch {context.partition_key}",
        )
        return dg.MaterializeResult(check_results=[verdict])

    return annotations


def test_every_partition_that_is_left_has_a_latest_verdict() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("batches", ["one", "two"])

        def made(batch: str, broken: str) -> dict[dg.AssetCheckKey, str]:
            dg.materialize(
                [of_batches(broken)], partition_key=batch, instance=instance, raise_on_error=False
            )
            return recorded_failures(instance, [CHECK], {KEY: PARTS})

        assert made("one", broken="one") == {CHECK: "batch one"}
        assert made("two", broken="one") == {CHECK: "batch one"}  # a sound one hides no other
        assert made("one", broken="none") == {}
        made("one", broken="one")
        made("two", broken="none")
        instance.delete_dynamic_partition("batches", "one")  # withdrawn
        assert recorded_failures(instance, [CHECK], {KEY: PARTS}) == {}


def test_what_was_never_judged_did_not_fail() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        assert recorded_failures(instance, [CHECK], {}) == {}
        assert recorded_failures(instance, [], {}) == {}


def test_texts_of_a_sensitive_vertical_are_on_no_page() -> None:
    """Metadata of an asset lie in Dagster's own storage, which nothing encrypts."""
    rows = [{"text": "a cough since Monday"}]
    assert "a cough" in texts_table(VerticalSpec(**tiny()), rows).value
    assert "a cough" not in texts_table(VerticalSpec(**tiny(sensitive=True)), rows).value
