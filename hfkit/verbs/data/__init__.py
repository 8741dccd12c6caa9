"""`hfkit data check | show`: what is wrong with a data set before training, and what the model will see of a row."""
