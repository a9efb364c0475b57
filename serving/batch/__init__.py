"""Chips in folders, archives and lists -> one row a chip: `python -m serving.batch`.

    ending.py    the first thing that runs: signals, standard error, uncaught errors
    command.py   the command line: what is asked, what is said at the end, the exit status
    job.py       what run it is: all that its rows depend on
    work.py      what is done with a chunk of entries, whoever does it
    local.py     chunks over the processes of this machine
    cluster.py   chunks over a Ray cluster
    progress.py  how far it is; the summary by label

What is read is in serving.inputs, what is written in serving.outputs.
"""
