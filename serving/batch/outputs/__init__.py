"""Where the rows of a batch go, and how none of them is lost.

    job.py       what a run is, so that only the same run is resumed or merged; shards; records
    place.py     the files beside an output; folders of pictures; whether an output may be there
    formats.py   CSV, JSON lines and Parquet by the file's ending: rows out, and rows back in
    staging.py   rows kept chunk by chunk, resumed after any interruption, made an output at the end
    merge.py     the outputs of all shards -> one output
    locks.py     one run per output; atomic writes under the lock
    pipe.py      rows on standard output
    scores.py    the score table of labelled chips
    pictures.py  activation maps and sorted chips, in folders

Worker processes import single modules of it, so nothing is imported here.
"""
