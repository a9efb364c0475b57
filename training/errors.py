"""What training refuses, each with a stable `code`; messages are one line for the terminal.

ShipchipError
└── TrainingError
    ├── DataMissing     data_missing      no data where data was expected
    ├── DataInvalid     data_invalid      data that is there but cannot be used
    ├── ConfigInvalid   config_invalid    an unknown key or an impossible value
    ├── Leak            leak              one ship stands on both sides of a split
    ├── WeightsMissing  weights_missing   pre-trained weights that are asked for are not there
    ├── WeightsInvalid  weights_invalid   a file of weights that are not this network's
    ├── Diverged        diverged          a loss is no number any more
    ├── RunBusy         run_busy          another process is at work in the run's folder
    ├── RunChanged      run_changed       other code, torch or device began the folder's run
    └── ExportMismatch  export_mismatch   the exported file does not say what the model says
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
