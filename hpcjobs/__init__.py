"""hpcjobs: submit, watch and aggregate language-model evaluations on supercomputers."""

__version__ = "0.1.0"
