"""What a training is: hyper-parameters, architecture, identity, live networks."""
