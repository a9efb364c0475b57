"""python -m serving.batch"""

import sys

if __name__ == "__main__":  # worker processes import this module, too, under another name
    from serving.batch.ending import run_guarded

    sys.exit(run_guarded())
