"""A live environment and machine -> what is wrong with it, and the commands that mend it."""
