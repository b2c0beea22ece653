"""The paper's findings on any dataset: one file a figure, see :data:`benchmarks.findings.registry.FIGURES`."""
