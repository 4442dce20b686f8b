"""How far running jobs are: samples done, how long that will take, and whether it will fit."""
