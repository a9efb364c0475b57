"""Where the rows of a batch go, and how none of them is lost.

    job.py       what a run is, so that only the same run is resumed or merged; shards; records
    place.py     the files beside an output; whether it may be there; one run per output
    formats.py   CSV, JSON lines and Parquet by the file's ending; rows on standard output
    staging.py   rows kept chunk by chunk, resumed after any interruption, made an output at the end
    pictures.py  activation maps and sorted chips, in marked folders

Worker processes import single modules of it, so nothing is imported here.
"""
