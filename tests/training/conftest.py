from pathlib import Path

import pytest
from training_job import Job

from tinygrad_mnist.utils.data import DataLoader


@pytest.fixture
def reference(tmp_path: Path) -> Job:
    """An uninterrupted run with validation."""
    (tmp_path / "reference").mkdir()
    job = Job(tmp_path / "reference")
    job.fit(valid_loader=DataLoader(job.set, 50))
    return job
