"""The paper's experiment: base training and fine-tunings of every model and data set."""
