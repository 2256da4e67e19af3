"""A folder of checkpoints that survives crashes."""

from __future__ import annotations

import errno
import os
import warnings
from pathlib import Path
from typing import Any

from .. import checkpoint
from ..serialization import CheckpointError, load, save


class CheckpointManager:
    """The checkpoints of one training run in a folder of their own: the last `keep` and the best.

    The folder is made at once, so that a wrong place shows before hours of training. A run that starts anew in the
    folder of an earlier one replaces its checkpoints, each only after a new one is safely on disk.

    Raises OSError if the folder cannot be made or written to, CheckpointError as `latest` says.
    """

    def __init__(self, folder: str | os.PathLike[str], keep: int = 2):
        if keep < 1:
            raise ValueError(f"CheckpointManager: expected keep >= 1, got {keep}")
        self.folder = Path(folder)
        self.keep = keep
        self.kept: list[Path] = []  # oldest first
        self.folder.mkdir(exist_ok=True)
        if not os.access(self.folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "cannot write checkpoints into this folder", str(self.folder))
        with checkpoint.writing_into(self.folder):  # which cleans up after a killed run
            pass

    @property
    def newest(self) -> Path | None:
        """The checkpoint that was saved or loaded last."""
        return self.kept[-1] if self.kept else None

    def save(self, state: Any, step: int, best: bool = False) -> Path:
        """Write `state` as the checkpoint of `step`, and also as `best.safetensors` if it is the best so far."""
        path = self.folder / f"step-{step:09d}.safetensors"
        save(state, path)
        if best:
            save(state, self.folder / "best.safetensors")
        self.kept = [*(old for old in self.kept if old != path), path][-self.keep :]
        for old in self._found():
            if old not in self.kept:
                old.unlink()
        return path

    def latest(self) -> Any:
        """The state of the newest checkpoint that is whole; None if there is no checkpoint.

        Warns about damaged ones that it passed over; raises CheckpointError if all are damaged.
        """
        self.kept = self._found()
        damaged = []
        while self.kept:
            try:
                state = load(self.kept[-1])
            except CheckpointError as error:
                damaged.append(str(error))
                self.kept.pop()
                continue
            for text in damaged:
                warnings.warn(f"{text}; going on from {self.kept[-1]}", stacklevel=2)
            return state
        if damaged:
            raise CheckpointError("no checkpoint is whole: " + "; ".join(damaged))
        return None

    def state(self, name: str | os.PathLike[str] = "") -> Any:
        """What to resume from: the state in the file `name`, or else the latest; FileNotFoundError if there is none."""
        state = load(name) if name else self.latest()
        if state is None:
            raise FileNotFoundError(f"there is no checkpoint in {self.folder}; start without --resume")
        return state

    def _found(self) -> list[Path]:
        return sorted(self.folder.glob("step-*.safetensors"))
