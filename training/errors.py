"""The errors of training, each with a stable `code`; messages are one line.

ShipchipError
└── TrainingError
    ├── DataMissing     data_missing      no data where data was expected
    ├── DataInvalid     data_invalid      data that is there but cannot be used
    ├── ConfigInvalid   config_invalid    an unknown key or an impossible value
    ├── Leak            leak              one ship is on both sides of a split
    ├── WeightsMissing  weights_missing   the pre-trained weights asked for are missing
    ├── WeightsInvalid  weights_invalid   a file of weights of another network
    ├── Diverged        diverged          a loss is no longer finite
    ├── RunBusy         run_busy          another process works in the run's folder
    ├── RunChanged      run_changed       other code, torch or device began the folder's run
    └── ExportMismatch  export_mismatch   the exported file and the model disagree
"""

from shipchip.errors import ShipchipError


class TrainingError(ShipchipError):
    code = "training"


class DataMissing(TrainingError):
    """No data where data was expected. Check the path; the message names what to download."""

    code = "data_missing"


class DataInvalid(TrainingError):
    """The data is there but cannot be used. The message names the file and the reason."""

    code = "data_invalid"


class ConfigInvalid(TrainingError):
    """An unknown key or an impossible value. Correct the option or the config file."""

    code = "config_invalid"


class Leak(TrainingError):
    """One ship is on both sides of a split. Correct the groups that the message names."""

    code = "leak"


class Diverged(TrainingError):
    """A loss is no longer a finite number. Lower the learning rate."""

    code = "diverged"


class RunBusy(TrainingError):
    """Another process is working in the run's folder. Wait for it to end."""

    code = "run_busy"


class RunChanged(TrainingError):
    """Other code, torch, device or process count began this run. Restore it, or pass
    `--accept-changes`.
    """

    code = "run_changed"


class ExportMismatch(TrainingError):
    """The exported file does not give the model's answers. Report it."""

    code = "export_mismatch"


class WeightsMissing(TrainingError):
    """The pre-trained weights are not there. Fetch them, or name their folder or file."""

    code = "weights_missing"


class WeightsInvalid(TrainingError):
    """The file does not hold usable weights for this network and input. The message says why."""

    code = "weights_invalid"
