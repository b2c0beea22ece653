"""Pictures of trainings and of their weights; matplotlib comes with the extra ``plot``."""
