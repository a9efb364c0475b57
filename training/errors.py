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
    code = "data_missing"


class DataInvalid(TrainingError):
    code = "data_invalid"


class ConfigInvalid(TrainingError):
    code = "config_invalid"


class Leak(TrainingError):
    code = "leak"


class Diverged(TrainingError):
    code = "diverged"


class RunBusy(TrainingError):
    code = "run_busy"


class RunChanged(TrainingError):
    code = "run_changed"


class ExportMismatch(TrainingError):
    code = "export_mismatch"


class WeightsMissing(TrainingError):
    code = "weights_missing"


class WeightsInvalid(TrainingError):
    code = "weights_invalid"
