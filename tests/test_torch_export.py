"""torch reads what we export, in its safe mode."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinygrad_mnist import torch_export, torch_file

DTYPES = ["float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"]
ARRAYS = st.sampled_from(DTYPES).flatmap(lambda d: hnp.arrays(d, hnp.array_shapes(min_dims=0, min_side=0, max_side=4)))


@given(arrays=st.dictionaries(st.text(min_size=1, max_size=20), ARRAYS, max_size=4))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_torch_and_we_read_what_was_written(tmp_path, arrays) -> None:
    with (tmp_path / "x.pth").open("wb") as file:
        torch_export.write(arrays, file)
    theirs = torch.load(tmp_path / "x.pth", weights_only=True)
    with (tmp_path / "x.pth").open("rb") as file:
        ours = torch_file.read(file)
    assert list(theirs) == list(ours) == list(arrays)
    for name, array in arrays.items():
        assert str(theirs[name].dtype) == f"torch.{array.dtype}"
        np.testing.assert_array_equal(theirs[name].numpy(), array)
        np.testing.assert_array_equal(ours[name], array)


@pytest.mark.parametrize("array", [np.arange(6.0).reshape(2, 3).T, np.arange(6.0)[::-2], np.arange(3, dtype=">f4")])
def test_any_memory_layout(tmp_path, array: np.ndarray) -> None:
    with (tmp_path / "x.pth").open("wb") as file:
        torch_export.write({"x": array}, file)
    np.testing.assert_array_equal(torch.load(tmp_path / "x.pth", weights_only=True)["x"].numpy(), array)


def test_a_dtype_that_torch_lacks_is_named(tmp_path) -> None:
    with (tmp_path / "x.pth").open("wb") as file, pytest.raises(TypeError, match=r"'x\.y': torch has no storage"):
        torch_export.write({"x.y": np.zeros(2, np.complex64)}, file)
