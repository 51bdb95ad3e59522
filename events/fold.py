"""Pure folds over the log: what live views, metrics and restart know, and nothing else counts."""
