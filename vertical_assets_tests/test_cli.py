"""`vertical-assets keys`, as a user runs it."""

from vertical_assets_tests.conftest import Project


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
