"""What a training does, written once: initialization, epochs, optimizers, dropout, early stopping, snapshots."""
