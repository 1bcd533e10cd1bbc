"""`vertical-assets keys`, `ablate` and `status`, as a user runs them."""

from vertical_assets_tests.conftest import Project, write_tiny


def test_a_key_is_made_once_and_rotated(project: Project) -> None:
    made = project.command("keys", "create")
    assert made.returncode == 0, made.stderr
    file = project.root / "data" / "keys" / "encryption.key"
    assert file.stat().st_mode & 0o777 == 0o600
    again = project.command("keys", "create")
    assert again.returncode == 1
    assert "exists already" in again.stderr
    rotated = project.command("keys", "rotate")
    assert rotated.returncode == 0, rotated.stderr
    assert rotated.stdout.count("file") == 2  # the new key, and the one it retires


def test_an_unknown_switch_is_answered_with_those_there_are(project: Project) -> None:
    result = project.command("ablate", "tiny", "--switch", "wrong")
    assert result.returncode == 1
    assert "there is no switch 'wrong'; there are: all, augmentation" in result.stderr


def test_an_instance_whose_making_was_killed_is_made_whole(project: Project) -> None:
    """As a kill between its creation and its first table left Dagster's database."""
    write_tiny(project)
    database = project.root / "data" / "dagster" / "history" / "runs" / "index.db"
    database.parent.mkdir(parents=True)
    database.touch()
    result = project.command("status", "tiny")
    assert result.returncode == 0, result.stderr
    assert "raw_corpus" in result.stdout
