import json
import sys

from benchmarks import tables


def row(name: str, ratios: dict[str, float], gflops: float = 190.0):
    seconds = {"ours": [0.001, 0.00123, 0.0015], **{way: [1.0, 1.0, 1.0] for way in ratios}}
    return {
        "part": "kernels", "name": name, "threads": 2, "rounds": 9, "seconds": seconds, "ratios": ratios,
        "of_floor": 0.5, "sgemm_gflops": [200.0, gflops], "copy_gbs": [10.0, 10.0],
    }  # fmt: skip


def test_tables(monkeypatch, tmp_path, capsys) -> None:
    path = tmp_path / "rows.json"
    other = {"part": "startup", "name": "import", "threads": None, "ratios": {"eager": 9.0}}
    rows = [row("relu", {"eager": 1.0, "channels_last": 2.0}), row("SGD", {"eager": 4.0, "fused": 3.0}, 139.0), other]
    path.write_text(json.dumps({"rows": rows}))
    monkeypatch.setattr(sys, "argv", ["tables", str(path)])
    tables.main()
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[0] == "kernels, threads: 2, n = 9; matrix product 139 to 200 GFLOP/s, copy 10.0 to 10.0 GB/s"
    assert lines[2] == "| work | ours, ms (quartiles) | of the floor | eager | channels_last | fused |"
    assert lines[4:] == [
        "| relu | 1.23 (1 to 1.5) | 0.50 | 1.00 | 2.00 | |",
        "| SGD (busy machine) | 1.23 (1 to 1.5) | 0.50 | 4.00 | | 3.00 |",
        "| geometric mean | | | 2.00 | 2.00 | 3.00 |",
    ]
