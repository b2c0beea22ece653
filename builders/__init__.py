"""Everything that makes trainings: plans, image sources, the fleet trainer, engines and the export."""
