"""Where the rows of a batch go, and how none of them is lost.

    job.py       what a run is, so that only the same run is resumed or merged; shards
    place.py     the files beside an output; whether an output may be where it was asked for
    whole.py     files that are there whole or not at all; locks
    formats.py   CSV, JSON lines, Parquet by the file's ending: rows out, and rows back in
    parquet.py   the Parquet of them; pyarrow is imported only here, and only when asked for
    staging.py   rows kept as they come, resumed after any end, made an output at last
    record.py    what a finished output says of itself
    pipe.py      rows on standard output
    merge.py     the outputs of all shards -> one output
    scores.py    the score table of labelled chips
    pictures.py  activation maps and sorted chips, in folders
    marker.py    the mark of such folders, so that no later run takes what is in them for chips

Worker processes import single modules of it: nothing is imported here.
"""
