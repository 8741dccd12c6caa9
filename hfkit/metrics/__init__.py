"""Scores as pure functions on plain rows and numpy columns: numpy and the standard library only.

`measure_...` turns one prediction and its row into sufficient statistics {name: number}; `reduce_...` turns columns
(one array per statistic) into metrics, on all rows, on a slice or on a bootstrap resample alike.
"""
