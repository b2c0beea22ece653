"""Reading weights at memory speed: datasets, selections, views, the feature for `datasets`."""
