"""Chips in folders, archives and lists -> one row per chip: `python -m serving.batch`.

ending.py       runs first: signals, standard error, uncaught errors, the exit status
request.py      the command line -> a checked request
command.py      a request -> entries, rows, output, summary, exit status
chunks.py       a chunk of entries -> its rows; chunks over the processes of this machine
ray_cluster.py  chunks over a Ray cluster
summary.py      the progress bar; counts by label; the scores of labelled chips
rows.py         the columns
inputs/         what is read: folders, archives, lists
outputs/        where rows go: formats, staging and resume, merging, pictures
"""
