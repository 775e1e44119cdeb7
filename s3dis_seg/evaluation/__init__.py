"""Scoring: which rooms a checkpoint is scored on, its predictions, and the confusion matrices behind the scores.

rooms.py        the rooms of an evaluation, and warnings where the training saw them
folds.py        runs and the rooms that each kept for testing
predictions.py  predictions kept on disk
scoring.py      the confusion of a room or a scan, and scores by room, area and fold
stress.py       scores of rooms that were altered: turned, thinned, without colours, only in part
"""
