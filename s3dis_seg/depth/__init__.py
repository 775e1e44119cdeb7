"""A laboratory for depth: why deep graph networks fail, and which measures help.

Nothing but the command line imports it.

    systems.py     the networks of a grid, and their names
    measures.py    what is measured of the features of a layer
    laboratory.py  one network: measured, trained, measured again, validated
    results.py     the files of the runs, and the tables of all of them
    findings.py    the page of conclusions
    plots.py       the pictures
"""
