"""Where jobs run: worker processes of this machine or of a Ray cluster, progress, the folder of finished trainings."""
